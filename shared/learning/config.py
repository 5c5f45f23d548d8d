"""What a training run may be told, as frozen records. No torch, so that HTTP edges can check settings with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from shared.domain import ProjectSettings
from shared.errors import Invalid
from shared.learning.recipe import Recipe, choose, kind_of, overridden

SCRATCH = "scratch"
FINETUNE = "finetune"
HEAD = "head"
RIDGE = "ridge"
MODES = (SCRATCH, FINETUNE, HEAD, RIDGE)
ON_FEATURES = (HEAD, RIDGE)
"""The modes that train on the features of a frozen backbone, the others on pixels."""
CNN = "cnn"
CNNS = (CNN, "cnn_mnist", "cnn_fruits")
"""Winnow's own networks; every other architecture is torchvision's, or timm's where its name begins with ``timm/``."""
MIN_IMAGE_SIZE = 8


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """What is needed to build a network again, before its weights are filled in. Stored with every checkpoint."""

    arch: str
    mode: str
    n_classes: int
    image_size: int = 32
    channels: int = 3
    batch_norm: bool = True
    dropout: float = 0.2
    head: str = "linear"
    """``linear`` or ``mlp``, in mode ``head``."""
    dim: int = 0
    """Width of the backbone's features, in the modes that are trained on them."""

    @property
    def reads_features(self) -> bool:
        """Whether the network is fed a frozen backbone's features (n, dim); else pixels."""
        return self.mode in ON_FEATURES

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkSpec:
        """The inverse of ``to_dict``. Raises ``Invalid`` for keys that this version doesn't know, or lacks."""
        names = {one.name for one in fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            raise Invalid(f"the network is described in words of a newer version: {', '.join(unknown)}")
        try:
            return cls(**values)
        except TypeError as error:
            raise Invalid(f"the network's description is incomplete: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class LearnConfig:
    """What a model is and how it is trained.

    ``scratch`` trains every weight from random ones; ``finetune`` every weight of a pretrained network; ``head`` a
    softmax head on the features of a frozen one; ``ridge`` solves a ridge regression on such features. ``epochs``,
    ``learning_rate`` and all that is in ``recipe`` override what is otherwise chosen by the data, see
    ``shared.learning.recipe``. Raises ``Invalid`` for values that can't work, so that a wrong setting is refused
    where it is made and not in a worker at night.
    """

    arch: str = CNN
    mode: str = SCRATCH
    image_size: int = 32
    channels: int = 3
    epochs: int | None = None
    learning_rate: float | None = None
    batch_norm: bool = True
    dropout: float = 0.2
    seed: int = 0
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Names of ``Recipe`` and the values to use instead of the chosen ones."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise Invalid(f"train_mode is {self.mode!r}; it must be one of {', '.join(MODES)}")
        if self.mode != SCRATCH and self.arch in CNNS:
            raise Invalid(
                f"train_mode {self.mode!r} needs a pretrained architecture, such as 'mobilenet_v2': {self.arch!r} has "
                "no published weights"
            )
        if self.channels not in (1, 3):
            raise Invalid(f"channels is {self.channels}; it must be 1 (grey) or 3 (colour)")
        if self.image_size < MIN_IMAGE_SIZE:
            raise Invalid(f"image_size is {self.image_size}; it must be at least {MIN_IMAGE_SIZE}")
        if not 0 <= self.dropout < 1:
            raise Invalid(f"dropout is {self.dropout}; it must be at least 0 and below 1")
        overridden(Recipe(), self.overrides)

    @property
    def overrides(self) -> dict[str, Any]:
        """What takes the place of chosen values, ``epochs`` and ``learning_rate`` included."""
        own = {"epochs": self.epochs, "learning_rate": self.learning_rate}
        return {name: value for name, value in own.items() if value is not None} | dict(self.recipe)

    def recipe_for(self, labels: int, class_names: Sequence[str] | None, *, grey: bool = False, gpu: bool) -> Recipe:
        """What so many labels of classes with these names are trained by; ``gpu``: whether one trains.

        ``grey``: whether the images have no colour. Where that isn't known yet it matters for augmentation alone.
        """
        kind = kind_of(tuple(class_names or ()), grey=grey)
        chosen = choose(self.mode, labels=labels, kind=kind, gpu=gpu, small=self.arch in CNNS)
        return overridden(chosen, self.overrides)

    def spec(self, n_classes: int, dim: int = 0) -> NetworkSpec:
        """The network that this trains, for so many classes; ``dim`` is the width of a backbone's features."""
        return NetworkSpec(
            arch=self.arch,
            mode=self.mode,
            n_classes=n_classes,
            image_size=self.image_size,
            channels=self.channels,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
            head=self.recipe.get("head", "linear") if self.mode == HEAD else "linear",
            dim=dim,
        )

    @classmethod
    def from_settings(cls, settings: ProjectSettings) -> LearnConfig:
        """The part of a project's settings that training needs. Raises ``Invalid``.

        Where the model may label, every label is predicted out of fold, unless the recipe says otherwise.
        """
        folds = {"folds": 5} if settings.auto_label else {}
        return cls(
            arch=settings.arch,
            mode=settings.train_mode,
            image_size=settings.image_size,
            channels=settings.channels,
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            batch_norm=settings.batch_norm,
            dropout=settings.dropout,
            seed=settings.seed,
            recipe=folds | dict(settings.recipe),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LearnConfig:
        """The inverse of ``to_dict``; keys that this version doesn't know are refused with ``Invalid``."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise Invalid(f"unknown training settings: {', '.join(unknown)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
