"""What a training run may be told, as one frozen record. No torch, so that HTTP edges can check settings with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from shared.domain import ProjectSettings
from shared.errors import Invalid

SCRATCH = "scratch"
HEAD = "head"
CNN = "cnn"
MODES = (SCRATCH, HEAD)
MIN_IMAGE_SIZE = 8


@dataclass(frozen=True, kw_only=True)
class LearnConfig:
    """How a model is built and trained.

    ``scratch`` trains every weight of the small ``cnn``; ``head`` fits a linear softmax head on the features of a
    frozen torchvision backbone, and then ``epochs``, ``batch_size``, ``learning_rate``, ``batch_norm`` and
    ``dropout`` play no part. Raises ``Invalid`` for values that can't work, so that a wrong setting is refused where
    it is made and not in a worker at night.
    """

    arch: str = CNN
    mode: str = SCRATCH
    image_size: int = 32
    channels: int = 3
    epochs: int = 30
    learning_rate: float = 1e-3
    batch_norm: bool = True
    dropout: float = 0.2
    seed: int = 0
    batch_size: int = 32
    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW (``scratch``)."""
    head_decay: float = 0.1
    """Weight of half the squared norm of a head's weights beside the mean loss (``head``)."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise Invalid(f"train_mode is {self.mode!r}; it must be one of {', '.join(MODES)}")
        if self.mode == SCRATCH and self.arch != CNN:
            raise Invalid(f"train_mode 'scratch' trains the arch 'cnn' only; for {self.arch!r} use 'head'")
        if self.mode == HEAD and self.arch == CNN:
            raise Invalid("train_mode 'head' needs a pretrained torchvision arch, such as 'mobilenet_v2', not 'cnn'")
        if self.channels not in (1, 3):
            raise Invalid(f"channels is {self.channels}; it must be 1 (grey) or 3 (colour)")
        if self.image_size < MIN_IMAGE_SIZE:
            raise Invalid(f"image_size is {self.image_size}; it must be at least {MIN_IMAGE_SIZE}")
        if self.epochs < 1 or self.batch_size < 2:
            raise Invalid("epochs must be at least 1 and batch_size at least 2")
        if not self.learning_rate > 0 or not min(self.weight_decay, self.head_decay) >= 0:
            raise Invalid("learning_rate must be above 0, weight_decay and head_decay not below 0")
        if not 0 <= self.dropout < 1:
            raise Invalid(f"dropout is {self.dropout}; it must be at least 0 and below 1")

    @classmethod
    def from_settings(cls, settings: ProjectSettings) -> LearnConfig:
        """The part of a project's settings that training needs. Raises ``Invalid``."""
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
