"""What a simulation is told: one project, the pool that it meets, and how it is measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shared.domain import ProjectSettings
from shared.errors import Invalid
from shared.learning import archs
from shared.learning.config import CNNS, LearnConfig
from shared.selection import catalog, registry

_DEFAULTS = ProjectSettings()
DEFAULT = "default"
"""In place of a strategy: what a project does that says nothing of how to choose, its cold start included."""


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """One simulated project. ``rounds`` trainings: the first on ``initial`` labels, each next on ``batch`` more; or one
    at each number of labels in ``budgets``.

    ``cold_start`` chooses the first labels and goes on up to ``cold_labels_per_class``, on average; so that strategies
    can be compared, all begin at random unless it says otherwise.
    ``image_size`` None: a project's default for the CNN, the size it was trained on for a backbone. ``pool``,
    ``imbalance`` and ``duplicates``: see ``winnow.variants``; drawn by ``data_seed``, so that all ``seed`` meet the
    same pool. ``validation``: measure on this share of the training images, and leave the test set alone.
    ``until_unsure``: end once less than this share of the unlabelled is predicted with less confidence than a project's
    ``unsure_below``.
    """

    data: Path
    arch: str = _DEFAULTS.arch
    mode: str = _DEFAULTS.train_mode
    strategy: str = _DEFAULTS.strategy
    strategy_options: Mapping[str, Any] = field(default_factory=dict)
    cold_start: str = registry.COLD_START
    cold_labels_per_class: int = 0
    initial: int = _DEFAULTS.initial
    batch: int = _DEFAULTS.batch_size
    rounds: int = 6
    budgets: tuple[int, ...] | None = None
    seed: int = 0
    image_size: int | None = None
    channels: int = _DEFAULTS.channels
    epochs: int | None = None
    learning_rate: float | None = None
    batch_norm: bool = _DEFAULTS.batch_norm
    dropout: float = _DEFAULTS.dropout
    recipe: Mapping[str, Any] = field(default_factory=dict)
    until_unsure: float | None = None
    shard_size: int = _DEFAULTS.shard_size
    pool: int | None = None
    imbalance: float = 1.0
    duplicates: int = 1
    data_seed: int = 0
    validation: float = 0.0
    weights: Path | None = None
    weights_dir: Path | None = None
    device: str | None = None

    def learn_config(self) -> LearnConfig:
        """What the trainer of such a project would be told. Raises ``Invalid``."""
        size = self.image_size
        if size is None:
            size = _DEFAULTS.image_size if self.arch in CNNS else archs.info(self.arch).input_size
        return LearnConfig(
            arch=self.arch,
            mode=self.mode,
            image_size=size,
            channels=self.channels,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
            seed=self.seed,
            recipe=self.recipe,
        )

    def schedule(self) -> tuple[int, ...]:
        """Labels at which a model is trained, ascending. Raises ``Invalid``."""
        if self.budgets is None:
            if min(self.initial, self.batch, self.rounds) < 1:
                raise Invalid("initial, batch and rounds must each be at least 1")
            return tuple(self.initial + self.batch * number for number in range(self.rounds))
        if not self.budgets or self.budgets[0] < 1 or any(np.diff(self.budgets) < 1):
            raise Invalid("budgets are numbers of labels from 1 on, each above the one before it")
        return self.budgets

    def settings(self) -> ProjectSettings:
        """What decides how images are chosen, as a project has it; those of a new project for ``DEFAULT``."""
        if self.strategy == DEFAULT:
            if self.strategy_options:
                raise Invalid(
                    f"{DEFAULT} takes no options: name the strategy to set {', '.join(self.strategy_options)}"
                )
            return ProjectSettings(train_mode=self.mode)
        return ProjectSettings(
            train_mode=self.mode,
            strategy=self.strategy,
            strategy_options=self.strategy_options,
            cold_start=self.cold_start,
            cold_labels_per_class=self.cold_labels_per_class,
        )


def own_options(strategy: str) -> Collection[str]:
    """Names of the options that a strategy has; ``DEFAULT`` has none. Raises ``Invalid`` for one that isn't there."""
    return () if strategy == DEFAULT else catalog.entry(strategy).options
