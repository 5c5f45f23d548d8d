"""How a project's settings look at every door, and the bounds within which they are taken."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared.domain import ProjectSettings, RoundMode
from shared.errors import Conflict, Invalid
from shared.learning.config import MIN_IMAGE_SIZE, LearnConfig
from shared.selection import catalog

MeasureName = Literal["least_confidence", "margin", "largest_margin", "entropy"]
MAX_PACK_BYTES = 2 * 1024**3
_DEFAULTS = ProjectSettings()


def _known_strategy(name: str) -> str:
    try:
        catalog.entry(name)
    except Invalid as unknown:
        raise ValueError(str(unknown)) from unknown
    return name


def _no_boolean(value: object) -> object:
    """Python takes True for 1."""
    if isinstance(value, bool):
        raise ValueError("it is not a number")
    return value


class Settings(BaseModel):
    """How a project learns and chooses. Whatever is left out has its default; unknown names are refused."""

    # Strict: JSON has numbers and booleans, so a text or the other kind in their place is a mistake.
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    arch: Annotated[
        str,
        Field(
            pattern=r"^(timm/)?[a-z][a-z0-9_.]{0,99}$",
            description="`cnn`, `cnn_mnist`, `cnn_fruits`, a torchvision name, or `timm/` and a name of timm's. "
            "`winnow archs` lists them.",
        ),
    ] = _DEFAULTS.arch
    train_mode: Annotated[
        Literal["scratch", "finetune", "head", "ridge"],
        Field(
            description="`scratch` trains every weight from random ones, `finetune` from pretrained ones; `head` fits "
            "a softmax head and `ridge` a ridge regression on the features of a frozen, pretrained network."
        ),
    ] = "scratch"
    image_size: Annotated[
        int, Field(ge=MIN_IMAGE_SIZE, le=1024, description="Side in pixels of the square that the model sees.")
    ] = _DEFAULTS.image_size
    channels: Annotated[Literal[1, 3], BeforeValidator(_no_boolean), Field(description="1: grey, 3: colour.")] = 3
    epochs: Annotated[int | None, Field(ge=1, le=1000, description="Null: chosen by how much is labelled.")] = None
    learning_rate: Annotated[float | None, Field(gt=0, le=1, description="Null: chosen.")] = None
    batch_norm: bool = _DEFAULTS.batch_norm
    dropout: Annotated[float, Field(ge=0, lt=1)] = _DEFAULTS.dropout
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = _DEFAULTS.seed
    recipe: Annotated[
        dict[str, str | bool | int | float | None],
        Field(
            description="What to train with instead of what is chosen by the data: the names and values are described "
            "in docs/learning.md.",
            examples=[{"augment": "rand", "mixup": 0.2, "committee": 3}],
        ),
    ] = {}

    strategy: Annotated[
        str,
        AfterValidator(_known_strategy),
        Field(
            description="How images to label are chosen; docs/strategies.md describes each.",
            json_schema_extra={"enum": list(catalog.names())},
        ),
    ] = _DEFAULTS.strategy
    measure: Annotated[MeasureName, Field(description="Uncertainty measure, of strategies that have one.")] = "margin"
    alpha: Annotated[float, Field(ge=0, le=1, description="Hybrid: share of the batch taken by uncertainty alone.")] = (
        _DEFAULTS.alpha
    )
    clusters: Annotated[int, Field(ge=1, le=10_000, description="Hybrid: number of k-means clusters.")] = (
        _DEFAULTS.clusters
    )
    strategy_options: Annotated[
        dict[str, str | bool | int | float],
        Field(description="Further options of the strategy: the names and values are in docs/strategies.md."),
    ] = {}
    stream_rate: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Of the images that arrive once there is a model, the share that is asked as soon as they are "
            "scored, by `measure`; 0: they wait for the next selection.",
        ),
    ] = _DEFAULTS.stream_rate
    cold_start: Annotated[
        str,
        Field(
            description="How the first images are chosen. `auto`: the most typical ones where a frozen network gives "
            "features before there is a model, else random ones.",
            json_schema_extra={"enum": list(catalog.cold_starts())},
        ),
    ] = _DEFAULTS.cold_start
    cold_labels_per_class: Annotated[
        int, Field(ge=0, le=1000, description="Labels per class, on average, up to which the cold start goes on.")
    ] = _DEFAULTS.cold_labels_per_class

    mode: Annotated[
        RoundMode,
        Field(
            strict=False, description="`rolling`: people label while the model trains. `strict`: a round waits for all."
        ),
    ] = _DEFAULTS.mode
    initial: Annotated[int, Field(ge=1, le=1_000_000, description="Labels asked for before the first model.")] = (
        _DEFAULTS.initial
    )
    batch_size: Annotated[int, Field(ge=1, le=1_000_000, description="K, the labels that make a round.")] = (
        _DEFAULTS.batch_size
    )
    queue_factor: Annotated[
        float, Field(ge=1, le=10, description="In rolling mode a selection holds this many times K tasks.")
    ] = _DEFAULTS.queue_factor
    holdout_size: Annotated[
        int | None,
        Field(
            ge=0,
            le=1_000_000,
            description="Random images, drawn at the start, that only measure. Null: a tenth of the images, at most "
            "200, unless some were uploaded as holdout.",
        ),
    ] = _DEFAULTS.holdout_size
    label_budget: Annotated[
        int | None, Field(ge=1, le=2**31 - 1, description="Human labels after which the project is finished.")
    ] = None
    target_accuracy: Annotated[
        float | None, Field(gt=0, le=1, description="Finished when the holdout accuracy is surely this high.")
    ] = None
    max_rounds: Annotated[int | None, Field(ge=1, le=100_000, description="Finished after this many trainings.")] = None
    stop_unsure_share: Annotated[
        float | None,
        Field(
            gt=0,
            le=1,
            description="Finished when less than this share of the images that no person has labelled is predicted "
            "with a confidence below `unsure_below`.",
        ),
    ] = None
    unsure_below: Annotated[float, Field(gt=0, lt=1)] = _DEFAULTS.unsure_below
    stop_plateau: Annotated[
        float | None,
        Field(
            ge=0,
            lt=1,
            description="Finished when the best holdout accuracy of the last `plateau_rounds` models exceeds that of "
            "all before by no more than this.",
        ),
    ] = None
    plateau_rounds: Annotated[int, Field(ge=1, le=1000)] = _DEFAULTS.plateau_rounds
    stop_training_error: Annotated[
        float | None,
        Field(ge=0, lt=1, description="Finished when the newest model gets no larger share of its own labels wrong."),
    ] = None
    stop_agreement: Annotated[
        float | None,
        Field(
            gt=0,
            le=1,
            description="Finished when successive models agree on the pool: the mean of Cohen's kappa over "
            "`agreement_rounds` comparisons is this high.",
        ),
    ] = None
    agreement_rounds: Annotated[int, Field(ge=1, le=1000)] = _DEFAULTS.agreement_rounds

    auto_label: Annotated[bool, Field(description="Whether the model labels what it is sure enough of.")] = False
    auto_label_precision: Annotated[
        float, Field(gt=0.5, lt=1, description="The share of the model's labels that must be right.")
    ] = _DEFAULTS.auto_label_precision
    auto_label_audit: Annotated[
        float,
        Field(gt=0, le=1, description="Share of the model's labels that people are asked about without being told."),
    ] = _DEFAULTS.auto_label_audit
    auto_label_random: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="With `auto_label`: share of each batch that is drawn at random, until there are enough such "
            "labels to find the threshold by.",
        ),
    ] = _DEFAULTS.auto_label_random
    shard_size: Annotated[int, Field(ge=1, le=65_536, description="Images in a unit of work.")] = _DEFAULTS.shard_size
    label_price: Annotated[
        float | None, Field(ge=0, le=1_000_000, description="What an answer by a person costs; only shown.")
    ] = None
    currency: Annotated[
        str, Field(pattern=r"^[A-Z]{3}$", description="Of `label_price`, by ISO 4217.", examples=["EUR"])
    ] = _DEFAULTS.currency
    lease_seconds: Annotated[
        int, Field(ge=10, le=86_400, description="How long an annotator may hold a task without a sign of life.")
    ] = _DEFAULTS.lease_seconds
    suggestions: Annotated[
        bool,
        Field(
            description="Whether annotators may reveal the model's suggestion. It sways them; who saw it is recorded."
        ),
    ] = _DEFAULTS.suggestions
    map_each_round: Annotated[
        bool,
        Field(description="Whether a map of the pool is drawn with every round's model; else when it is asked for."),
    ] = _DEFAULTS.map_each_round

    overlap: Annotated[int, Field(ge=1, le=100, description="People that each image is asked of.")] = _DEFAULTS.overlap
    agreement: Annotated[
        bool,
        Field(
            description="Whether images on which people disagree are asked of more of them, one by one, until "
            "`overlap` agree."
        ),
    ] = _DEFAULTS.agreement
    overlap_max: Annotated[
        int,
        Field(ge=2, le=100, description="With `agreement`: people that an image is asked of at the very most."),
    ] = _DEFAULTS.overlap_max
    consensus: Annotated[
        Literal["majority", "dawid_skene"],
        Field(
            description="How several answers make a label. `majority`: the answer of most, else a reviewer's. "
            "`dawid_skene`: before each training, all answers are weighed anew by how well those who gave them agree "
            "with the others; docs/quality.md describes it."
        ),
    ] = "majority"
    gold_rate: Annotated[
        float,
        Field(ge=0, le=0.5, description="Share of the questions whose answer is known, mixed in unseen."),
    ] = _DEFAULTS.gold_rate
    quality_floor: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="Who is surely right on a smaller share of the questions with a known answer is paused, and "
            "their labels are asked again. Null: nobody is paused.",
        ),
    ] = None
    quality_golds: Annotated[
        int, Field(ge=1, le=10_000, description="Answers to such questions before anybody is paused.")
    ] = _DEFAULTS.quality_golds
    weigh_labels: Annotated[
        bool, Field(description="Whether labels count in training by how good those who gave them are.")
    ] = _DEFAULTS.weigh_labels


def new_settings(given: Settings) -> ProjectSettings:
    """Settings for a new project. Raises ``Invalid`` for values that don't go together."""
    return _checked(ProjectSettings(**given.model_dump()))


def changed_settings(present: ProjectSettings, given: Settings, *, sealed: bool) -> ProjectSettings:
    """The present settings with those that were given in place of theirs.

    Raises ``Invalid`` for values that don't go together, ``Conflict`` for one that is fixed because images are
    ``sealed`` into shards already.
    """
    changes: dict[str, Any] = {name: getattr(given, name) for name in given.model_fields_set}
    changed = replace(present, **changes)
    before, after = _prepared(present), _prepared(changed)
    fixed = [name for name in before if before[name] != after[name]]
    if sealed and fixed:
        raise Conflict(f"{', '.join(fixed)} can't change any more: images were prepared with the present value")
    return _checked(changed)


def fixed(settings: ProjectSettings) -> frozenset[str]:
    """The settings that can't change once images are sealed; of ``train_mode``, whether it reads features."""
    made_of_arch = {"arch"} if settings.on_features else set()
    return frozenset(_prepared(settings).keys() - {"arch", "train_mode"} | made_of_arch)


def _prepared(settings: ProjectSettings) -> dict[str, Any]:
    """What the pixels and features that are made of sealed shards depend on, by the setting that decides it."""
    return {
        "arch": settings.arch if settings.on_features else None,
        "train_mode": settings.on_features,
        "image_size": settings.image_size,
        "channels": settings.channels,
        "shard_size": settings.shard_size,
    }


def shown(settings: ProjectSettings) -> Settings:
    """Settings as stored, for an answer. They passed the bounds when they were made, and are not checked again."""
    names = {f.name for f in fields(ProjectSettings)}
    return Settings.model_construct(_fields_set=names, **asdict(settings))


def _checked(settings: ProjectSettings) -> ProjectSettings:
    LearnConfig.from_settings(settings)
    catalog.complete(settings.strategy, catalog.options_of(settings))
    if settings.cold_start not in catalog.cold_starts():
        raise Invalid(f"cold_start is {settings.cold_start!r}; it must be one of {', '.join(catalog.cold_starts())}")
    if settings.agreement and not 1 < settings.overlap < settings.overlap_max:
        raise Invalid(
            f"with agreement, overlap must be at least 2 and overlap_max more than that; they are {settings.overlap} "
            f"and {settings.overlap_max}"
        )
    pack = settings.shard_size * settings.image_size**2 * settings.channels
    if pack > MAX_PACK_BYTES:
        raise Invalid(
            f"a shard of {settings.shard_size} images of {settings.pixels_variant} takes {pack / 2**30:.1f} GiB of "
            f"memory; the limit is {MAX_PACK_BYTES // 2**30} GiB: lower shard_size or image_size"
        )
    return settings
