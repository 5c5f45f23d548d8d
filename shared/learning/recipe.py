"""How a model is trained, chosen by how much there is to learn from and by what kind of images it is. No torch.

Every choice can be overridden by name (the project setting ``recipe``). What was chosen is stored with the checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_type_hints

from shared.errors import Invalid

PHOTOS = "photos"
"""Colour pictures of things: mirrored, cropped and recoloured they stay what they are."""
SIGNS = "signs"
"""Digits, letters, symbols: a mirrored one is another sign."""
SCANS = "scans"
"""Grey pictures such as X-rays: the side that something is on can matter."""
KINDS = (PHOTOS, SIGNS, SCANS)

CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimizer": ("adamw", "sgd"),
    "schedule": ("one_cycle", "cosine", "constant"),
    "augment": ("none", "geometry", "photo", "rand"),
    "norm_policy": ("train", "frozen"),
    "start": ("fresh", "warm", "shrink_perturb"),
    "imbalance": ("none", "weighted", "balanced", "undersample"),
    "committee_by": ("seeds", "bootstrap"),
    "precision": ("auto", "float32", "bfloat16"),
    "head": ("linear", "mlp"),
}
"""The words that the settings of this name may take."""
_SHARES = ("label_smoothing", "ema", "unfreeze", "trunk_rate", "pseudo_labels", "consistency_threshold", "erase")
_WORDS = frozenset({"digit", "letter", "number", "sign", "class", "char", "character"})
_NUMERALS = frozenset(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that ``fit`` may be told. What ``choose`` leaves alone has the default that stands here."""

    epochs: int = 30
    min_steps: int = 250
    """A training has at least so many optimiser steps, however few the labels: epochs are added."""
    batch_size: int = 32
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    """Peak, of the last layers."""
    schedule: str = "one_cycle"
    """``one_cycle``: up for a quarter of the steps, then down as a cosine. ``cosine``: down only."""
    weight_decay: float = 0.01
    """Decoupled from the gradient (AdamW), or of SGD."""
    label_smoothing: float = 0.0
    mixup: float = 0.0
    """Parameter of the Beta distribution by which pairs of images are mixed (Zhang et al. 2018); 0: not at all."""
    ema: float = 0.0
    """Decay of the moving average of the weights that is kept as the model; 0: the last weights are."""
    augment: str = "geometry"
    """``geometry``: small shifts, turns and zooms. ``photo``: crops and colours as well. ``rand``: RandAugment too."""
    flip: bool = False
    """Mirror half the images left to right."""
    erase: float = 0.0
    """Share of the images in which a random rectangle is blanked (Zhong et al. 2020)."""

    trunk_rate: float = 0.1
    """``finetune``: the learning rate of the first stage as a share of the classifier's; those between in steps."""
    unfreeze: float = 0.0
    """``finetune``: the share of the training by which, stage after stage from the top, all are trained. 0: at once."""
    norm_policy: str = "train"
    """``finetune``: batch norms follow the data (``train``) or keep the statistics of the pretraining (``frozen``)."""

    start: str = "fresh"
    """Where each round's training begins: at new weights (pretrained ones in ``finetune``), at the last model's
    (``warm``), or at those shrunk by half with noise added (``shrink_perturb``, Ash and Adams 2020)."""
    imbalance: str = "none"
    """Rare classes weigh more in the loss (``weighted``), are drawn as often as others (``balanced``), or the others
    are drawn no more often than the rarest (``undersample``)."""

    head: str = "linear"
    """``head``: ``linear``, or ``mlp`` with one hidden layer of 128."""
    head_decay: float | None = None
    """``head``: weight decay; None: found by cross-validation."""

    committee: int = 1
    """Models trained; their probabilities are averaged, and kept apart for query by committee."""
    committee_by: str = "seeds"
    """What sets them apart: only the ``seeds``, or also ``bootstrap`` samples of the labels. Heads always bootstrap."""
    mc_dropout: int = 0
    """Passes with dropout for query by committee (Gal and Ghahramani 2016); 0: none."""

    folds: int = 1
    """How many fifths of the labels are predicted by a model trained on the rest, to fit the temperature on. 0: the
    model is left uncalibrated. Heads and ridge do all five, or better, for next to nothing."""

    pseudo_labels: float = 0.0
    """Calibrated confidence from which the unlabelled pool's own predictions are learned from as well; 0: never."""
    pseudo_weight: float = 0.5
    """What a pseudo-label counts for beside a person's."""
    consistency: float = 0.0
    """Weight of FixMatch's loss on the unlabelled pool (Sohn et al. 2020); 0: none. A step takes some times as long."""
    consistency_threshold: float = 0.95
    consistency_ratio: int = 3
    """Unlabelled images per labelled one in a step of FixMatch."""

    precision: str = "auto"
    """``auto``: bfloat16 autocast on GPUs that have it."""
    compile: bool = False
    """Compile the network with ``torch.compile``: some minutes at first, then faster steps on large GPUs."""

    def __post_init__(self) -> None:
        for name, words in CHOICES.items():
            if getattr(self, name) not in words:
                raise Invalid(f"recipe: {name} is {getattr(self, name)!r}; it must be one of {', '.join(words)}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise Invalid(f"recipe: {name} is {getattr(self, name)}; it must be from 0 to 1")
        least = {"epochs": 1, "min_steps": 1, "batch_size": 2, "committee": 1, "consistency_ratio": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise Invalid(f"recipe: {name} is {getattr(self, name)}; it must be at least {low}")
        for name in ("weight_decay", "mixup", "pseudo_weight", "consistency", "mc_dropout"):
            if not 0 <= getattr(self, name) < math.inf:
                raise Invalid(f"recipe: {name} is {getattr(self, name)}; it must not be below 0")
        if not 0 < self.learning_rate < math.inf or (self.head_decay is not None and not self.head_decay >= 0):
            raise Invalid("recipe: learning_rate must be above 0, and head_decay not below 0")
        if not 0 <= self.folds <= 5:
            raise Invalid(f"recipe: folds is {self.folds}; it must be from 0 to 5")
        if self.ema == 1:
            raise Invalid("recipe: with ema 1 the model would never change")

    @property
    def reads_unlabelled(self) -> bool:
        """Whether it learns from images of the pool that have no label."""
        return bool(self.pseudo_labels or self.consistency)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def overridden(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """``recipe`` with ``changes`` in place. Raises ``Invalid`` for names that there aren't, types or values amiss."""
    unknown = sorted(set(changes) - _TYPES.keys())
    if unknown:
        raise Invalid(f"recipe: there is no {', '.join(unknown)}; there are {', '.join(_TYPES)}")
    for name, value in changes.items():
        if isinstance(value, bool) != (_TYPES[name] is bool) or not isinstance(value, _accepted(name)):
            raise Invalid(f"recipe: {name} is {value!r}, which is not {_TYPES[name]}")
    return replace(recipe, **changes)


def _accepted(name: str) -> tuple[type, ...]:
    wanted = _TYPES[name]
    if wanted is float:
        return (int, float)
    return (int, float, type(None)) if wanted == (float | None) else (wanted,)


_TYPES: dict[str, Any] = {field.name: get_type_hints(Recipe)[field.name] for field in fields(Recipe)}


def kind_of(class_names: tuple[str, ...], *, grey: bool) -> str:
    """What the images are likely to be: signs if classes are named by numbers or letters, else scans if ``grey``."""
    if class_names and all(_names_a_sign(name) for name in class_names):
        return SIGNS
    return SCANS if grey else PHOTOS


def _names_a_sign(name: str) -> bool:
    words = [word for word in name.lower().replace("_", " ").replace("-", " ").split() if word not in _WORDS]
    return len(words) == 1 and (len(words[0]) == 1 or words[0].isdigit() or words[0] in _NUMERALS)


def choose(mode: str, *, labels: int, kind: str, gpu: bool = False, small: bool = False) -> Recipe:
    """The recipe for ``labels`` labelled images of a ``kind``. Measurements behind the figures: docs/learning.md.

    ``gpu``: whether one trains. Networks then take more steps than a processor would in bearable time. ``small``:
    whether it is a network of Winnow's own, whose steps take milliseconds there. From scratch these take many more, and
    learn signs from the unlabelled pool as well.
    """
    seen = {
        PHOTOS: Recipe(augment="photo", flip=True),
        SIGNS: Recipe(augment="geometry"),
        SCANS: Recipe(augment="geometry"),
    }[kind]
    if mode == "finetune":
        return replace(
            seen,
            epochs=12,
            min_steps=600 if gpu else 120,
            learning_rate=1e-3,
            weight_decay=0.05,
            label_smoothing=0.1,
            trunk_rate=0.1,
            norm_policy="frozen" if labels < 5000 else "train",
        )
    if mode == "scratch":
        quick, steps = gpu and small, 4000 if kind == PHOTOS else 2000
        return replace(
            seen,
            epochs=30 if labels < 2000 else 40,
            min_steps=steps if quick else seen.min_steps,
            label_smoothing=0.0 if kind == SIGNS else 0.1,
            consistency=1.0 if quick and kind == SIGNS else 0.0,
        )
    return seen
