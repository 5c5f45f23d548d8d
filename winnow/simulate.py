"""The active-learning loop in one process, with the data set's own labels as an oracle.

It runs the code that the workers run (``shared.learning``, ``shared.selection``, ``shared.imaging``), so what is
measured here is what a project would do in strict mode. The test set plays the holdout: it is only measured on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.domain import ProjectSettings
from shared.errors import Invalid
from shared.imaging import to_pixels
from shared.learning import archs, backbones
from shared.learning.config import CNNS, ON_FEATURES, SCRATCH, LearnConfig
from shared.learning.metrics import evaluate
from shared.learning.model import Model
from shared.learning.predict import embed, pick_device, predict, predict_members
from shared.learning.train import Extras, Fitted, fit
from shared.selection import registry
from shared.selection.base import Labelled, Needs, Selection, ShardScores, Strategy
from shared.weights import find_weights
from winnow.datasets import Dataset, Item, open_dataset

_DEFAULTS = ProjectSettings()
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """One simulated project. ``rounds`` trainings: the first on ``initial`` random labels, each next on ``batch`` more.

    ``image_size`` None: a project's default for the CNN, the size it was trained on for a backbone.
    """

    data: Path
    arch: str = _DEFAULTS.arch
    mode: str = _DEFAULTS.train_mode
    strategy: str = _DEFAULTS.strategy
    initial: int = _DEFAULTS.initial
    batch: int = _DEFAULTS.batch_size
    rounds: int = 6
    seed: int = 0
    image_size: int | None = None
    channels: int = _DEFAULTS.channels
    epochs: int | None = None
    learning_rate: float | None = None
    batch_norm: bool = _DEFAULTS.batch_norm
    dropout: float = _DEFAULTS.dropout
    recipe: Mapping[str, Any] = field(default_factory=dict)
    measure: str = _DEFAULTS.measure
    alpha: float = _DEFAULTS.alpha
    clusters: int = _DEFAULTS.clusters
    strategy_options: Mapping[str, Any] = field(default_factory=dict)
    shard_size: int = _DEFAULTS.shard_size
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


def simulate(options: SimulateOptions, on_round: Callable[[Row], None] | None = None) -> Row:
    """Run the loop and return what ``--out`` writes.

    ``{dataset, arch, mode, strategy, seed, rounds: [{labels, accuracy, macro_f1, per_class, train_s, score_s,
    select_s}], aulc}``: accuracies are shares of the test set, ``per_class`` goes by class name,
    times are seconds (``score_s`` of the first round holds the backbone's features of everything), ``aulc`` is the
    area under the curve of accuracy over labels divided by its width. Ends early when the training set is used up.
    ``on_round`` is called with each round as soon as it is there. Raises ``Invalid`` and ``Permanent``.
    """
    if min(options.initial, options.batch, options.rounds) < 1:
        raise Invalid("initial, batch and rounds must each be at least 1")
    config = options.learn_config()
    strategy = registry.from_settings(
        ProjectSettings(
            strategy=options.strategy,
            measure=options.measure,
            alpha=options.alpha,
            clusters=options.clusters,
            strategy_options=options.strategy_options,
        )
    )
    with open_dataset(options.data) as dataset:
        loop = _Loop(options, config, strategy, dataset)
        rounds: list[Row] = []
        for row in loop.run():
            rounds.append(row)
            if on_round is not None:
                on_round(row)
    return {
        "dataset": dataset.name,
        "arch": options.arch,
        "mode": options.mode,
        "strategy": options.strategy,
        "seed": options.seed,
        "rounds": rounds,
        "aulc": aulc([row["labels"] for row in rounds], [row["accuracy"] for row in rounds]),
    }


def aulc(labels: Sequence[int], accuracy: Sequence[float]) -> float:
    """Mean height of the learning curve, by trapezoids over the number of labels; of one point, its height."""
    if len(labels) == 1:
        return float(accuracy[0])
    return float(np.trapezoid(accuracy, labels) / (labels[-1] - labels[0]))


class _Loop:
    """The state of one run: what the model reads of every image, and which of them are labelled."""

    def __init__(self, options: SimulateOptions, config: LearnConfig, strategy: Strategy, dataset: Dataset) -> None:
        self.options, self.config, self.strategy, self.dataset = options, config, strategy, dataset
        self.device = pick_device(options.device)
        started = time.perf_counter()
        self.backbone_id: str | None = None
        self.x, self.test_x = self._inputs(dataset.train), self._inputs(dataset.test)
        self.pretrained = self._weights() if config.mode != SCRATCH else None
        self.on_features = config.mode in ON_FEATURES
        if self.on_features:
            self._embed_all()
        self.prepare_s = time.perf_counter() - started if self.on_features else 0.0
        self.y, self.test_y = (_labels(items) for items in (dataset.train, dataset.test))
        self.labelled = np.zeros(len(self.y), dtype=bool)

    def _inputs(self, items: Sequence[Item]) -> npt.NDArray[Any]:
        size, channels = self.config.image_size, self.config.channels
        return np.stack([self._pixels(item, size, channels) for item in items])

    def _pixels(self, item: Item, size: int, channels: int) -> npt.NDArray[np.uint8]:
        try:
            return to_pixels(self.dataset.read(item), size=size, channels=channels)
        except Invalid as error:
            raise Invalid(f"{item.path}: {error}") from error

    def _weights(self) -> bytes:
        arch = self.config.arch
        return find_weights(
            arch,
            url=archs.info(arch).weights_url,
            weights_dir=self.options.weights_dir,
            explicit=self.options.weights,
        )

    def _embed_all(self) -> None:
        assert self.pretrained is not None
        backbone = backbones.load(self.config.arch, self.pretrained, self.device)
        self.x, self.test_x = (embed(backbone, pixels, device=self.device) for pixels in (self.x, self.test_x))
        self.backbone_id = backbone.id

    def run(self) -> Iterator[Row]:
        """A record for each training."""
        self._ask(registry.make(registry.COLD_START), self.options.initial, round_number=0, model=None)
        model: Model | None = None
        for number in range(1, self.options.rounds + 1):
            started = time.perf_counter()
            fitted = self._train(model)
            model = fitted.model
            trained = time.perf_counter()
            row = self._measure(model) | {
                "train_s": trained - started,
                "score_s": self.prepare_s if number == 1 else 0.0,
                "select_s": 0.0,
            }
            if number < self.options.rounds and not self.labelled.all():
                score_s, row["select_s"] = self._ask(self.strategy, self.options.batch, number, model)
                row["score_s"] += score_s
                yield row
            else:
                yield row
                return

    def _train(self, previous: Model | None) -> Fitted:
        return fit(
            self.x[self.labelled],
            self.y[self.labelled],
            n_classes=len(self.dataset.classes),
            config=self.config,
            device=self.device,
            extras=Extras(
                unlabelled=self.x[~self.labelled],
                class_names=self.dataset.classes,
                pretrained=None if self.on_features else self.pretrained,
                previous=previous,
                backbone_id=self.backbone_id,
            ),
        )

    def _measure(self, model: Model) -> Row:
        measured = evaluate(predict(model, self.test_x, device=self.device)[0], self.test_y)
        return {
            "labels": int(self.labelled.sum()),
            "accuracy": measured["accuracy"],
            "macro_f1": measured["macro_f1"],
            "per_class": dict(zip(self.dataset.classes, measured["per_class"], strict=True)),
        }

    def _ask(self, strategy: Strategy, k: int, round_number: int, model: Model | None) -> tuple[float, float]:
        """Score the unlabelled images, select and let the oracle answer. Seconds of scoring and of selecting."""
        started = time.perf_counter()
        shards = list(self._shards(model, strategy.needs))
        labelled = self._known(model, strategy.needs)
        scored = time.perf_counter()
        # The cold start depends on the seed alone, so that all strategies begin with the same images.
        rng = np.random.default_rng([self.options.seed, round_number])
        selection: Selection = strategy.select(lambda: shards, k, rng, labelled)
        self.labelled[selection.ids] = True
        return scored - started, time.perf_counter() - scored

    def _shards(self, model: Model | None, needs: Needs) -> Iterator[ShardScores]:
        free = np.flatnonzero(~self.labelled)
        for start in range(0, len(free), self.options.shard_size):
            ids = free[start : start + self.options.shard_size]
            if model is None:
                yield ShardScores(ids, features=self.x[ids] if self.on_features else None)
            else:
                scores = predict_members(model, self.x[ids], device=self.device, seed=start)
                yield ShardScores(ids, scores.probabilities, scores.features, scores.members if needs.members else None)

    def _known(self, model: Model | None, needs: Needs) -> Labelled:
        """What the strategy may know of what is labelled."""
        ids = np.flatnonzero(self.labelled)
        features = None
        if needs.labelled_features and len(ids):
            if self.on_features:
                features = self.x[ids]
            elif model is not None:
                features = predict(model, self.x[ids], device=self.device)[1]
        return Labelled(ids, self.y[ids], len(self.dataset.classes), features)


def _labels(items: Sequence[Item]) -> npt.NDArray[np.int64]:
    return np.array([item.label for item in items], dtype=np.int64)
