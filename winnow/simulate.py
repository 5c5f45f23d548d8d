"""The active-learning loop in one process, with the data set's own labels as an oracle.

It runs the code that the workers run (``shared.learning``, ``shared.selection``, ``shared.imaging``), so what is
measured here is what a project would do in strict mode. The test set plays the holdout: it is only measured on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.domain import ProjectSettings
from shared.learning.config import ON_FEATURES, LearnConfig
from shared.learning.metrics import evaluate
from shared.learning.model import Model
from shared.learning.predict import pick_device, predict, predict_members
from shared.learning.train import Extras, Fitted, fit
from shared.selection import registry
from shared.selection.base import Labelled, Selection, ShardScores, Strategy
from winnow.datasets import open_dataset
from winnow.inputs import Inputs, prepare
from winnow.options import SimulateOptions

Row = dict[str, Any]
OnRound = Callable[[Row], None]


def simulate(options: SimulateOptions, on_round: OnRound | None = None, inputs: Inputs | None = None) -> Row:
    """Run the loop and return what ``--out`` writes.

    ``{dataset, arch, mode, strategy, seed, rounds: [{labels, accuracy, macro_f1, per_class, train_s, score_s,
    select_s}], aulc}``: accuracies are shares of the test set, ``per_class`` goes by class name,
    times are seconds (``score_s`` of the first round holds the backbone's features of everything), ``aulc`` is the
    area under the curve of accuracy over labels divided by its width. With ``until_unsure`` a round before a
    selection also has ``unsure``, the share of the unlabelled that its model was unsure of; with near-duplicates in the
    pool each has ``distinct``, the different pictures among the labelled. Ends early when the training set is used up.
    ``on_round`` is called with each round as soon as it is there. ``inputs`` that were prepared before are used as they
    are.
    Raises ``Invalid`` and ``Permanent``.
    """
    schedule, config, settings = options.schedule(), options.learn_config(), options.settings()
    registry.from_settings(settings)  # refuses names and options that there aren't before anything is read
    if inputs is None:
        with open_dataset(options.data) as dataset:
            inputs = prepare(options, dataset)
    rounds: list[Row] = []
    for row in _Loop(options, config, settings, inputs).run(schedule):
        rounds.append(row)
        if on_round is not None:
            on_round(row)
    return {
        "dataset": inputs.dataset,
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
    """The state of one run: which of the images are labelled."""

    def __init__(
        self, options: SimulateOptions, config: LearnConfig, settings: ProjectSettings, inputs: Inputs
    ) -> None:
        self.options, self.config, self.settings, self.inputs = options, config, settings, inputs
        self.device = pick_device(options.device)
        self.on_features = config.mode in ON_FEATURES
        self.labelled = np.zeros(len(inputs.y), dtype=bool)

    def run(self, schedule: Sequence[int]) -> Iterator[Row]:
        """A record for each training."""
        self._ask(schedule[0], round_number=0, model=None)
        model: Model | None = None
        for number in range(1, len(schedule) + 1):
            started = time.perf_counter()
            model = self._train(model).model
            trained = time.perf_counter()
            row = self._measure(model) | {
                "train_s": trained - started,
                "score_s": self.inputs.prepare_s if number == 1 else 0.0,
                "select_s": 0.0,
            }
            if number == len(schedule) or self.labelled.all():
                yield row
                return
            asked = self._ask(schedule[number] - row["labels"], number, model)
            yield row | asked | {"score_s": row["score_s"] + asked["score_s"]}
            if self.options.until_unsure is not None and asked["unsure"] < self.options.until_unsure:
                return

    def _train(self, previous: Model | None) -> Fitted:
        x, gpu = self.inputs.x, self.device.type == "cuda"
        recipe = self.config.recipe_for(int(self.labelled.sum()), self.inputs.classes, gpu=gpu)
        return fit(
            x[self.labelled],
            self.inputs.y[self.labelled],
            n_classes=len(self.inputs.classes),
            config=self.config,
            device=self.device,
            extras=Extras(
                unlabelled=x[~self.labelled] if recipe.reads_unlabelled else None,  # a copy of nearly everything
                class_names=self.inputs.classes,
                pretrained=self.inputs.pretrained,
                previous=previous,
                backbone_id=self.inputs.backbone_id,
            ),
        )

    def _measure(self, model: Model) -> Row:
        measured = evaluate(predict(model, self.inputs.test_x, device=self.device)[0], self.inputs.test_y)
        row = {
            "labels": int(self.labelled.sum()),
            "accuracy": measured["accuracy"],
            "macro_f1": measured["macro_f1"],
            "per_class": dict(zip(self.inputs.classes, measured["per_class"], strict=True)),
        }
        if self.options.duplicates > 1:
            row["distinct"] = len(np.unique(self.inputs.original[self.labelled]))
        return row

    def _ask(self, k: int, round_number: int, model: Model | None) -> Row:
        """Score the unlabelled images, select and let the oracle answer. What a round tells of that."""
        started = time.perf_counter()
        known, classes = int(self.labelled.sum()), len(self.inputs.classes)
        strategy = registry.scheduled(self.settings, known, classes, has_model=model is not None)
        shards = list(self._shards(model, strategy))
        labelled = self._labelled(model, strategy)
        scored = time.perf_counter()
        # The cold start depends on the seed alone, so that all strategies begin with the same images.
        rng = np.random.default_rng([self.options.seed, round_number])

        def source() -> Iterator[ShardScores]:
            return (self._with_features(shard) for shard in shards)

        selection: Selection = strategy.select(source, k, rng, labelled)
        self.labelled[selection.ids] = True
        selected = time.perf_counter()
        told: Row = {"score_s": scored - started, "select_s": selected - scored}
        surest = [one.probabilities.max(axis=1) for one in shards if one.probabilities is not None]
        if surest and self.options.until_unsure is not None:
            told["unsure"] = float(np.mean(np.concatenate(surest) < self.settings.unsure_below))
        return told

    def _shards(self, model: Model | None, strategy: Strategy) -> Iterator[ShardScores]:
        free = np.flatnonzero(~self.labelled)
        for start in range(0, len(free), self.options.shard_size):
            ids = free[start : start + self.options.shard_size]
            if model is None:
                yield ShardScores(ids)
            elif strategy.needs.members:
                said = predict_members(model, self.inputs.x[ids], device=self.device, seed=start)
                yield ShardScores(ids, said.probabilities, None if self.on_features else said.features, said.members)
            else:
                probabilities, features = predict(model, self.inputs.x[ids], device=self.device)
                yield ShardScores(ids, probabilities, None if self.on_features else features)

    def _with_features(self, shard: ShardScores) -> ShardScores:
        """A backbone's features lie in the inputs already: they are looked up pass by pass, and not all held."""
        if not self.on_features:
            return shard
        return ShardScores(shard.ids, shard.probabilities, self.inputs.x[shard.ids], shard.members)

    def _labelled(self, model: Model | None, strategy: Strategy) -> Labelled:
        ids = np.flatnonzero(self.labelled)
        features: npt.NDArray[np.float32] | None = None
        if strategy.needs.labelled_features:
            if self.on_features:
                features = self.inputs.x[ids]
            elif model is not None:
                features = predict(model, self.inputs.x[ids], device=self.device)[1]
        return Labelled(ids, self.inputs.y[ids], len(self.inputs.classes), features)
