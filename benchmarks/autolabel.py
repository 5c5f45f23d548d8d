"""``python -m benchmarks.autolabel DATA``: how much of a pool the model labels, and how much of that is right.

Runs the loop in one process with the functions that the services use: each round trains, finds the threshold from
out-of-fold predictions of what people have labelled, labels what is above it, asks the oracle about a random share of
that (the audit), withdraws everything if the audit says so, and asks about the next batch. The truth is only used to
answer as people would, and for the columns ``true precision`` and ``whole pool``, the share of all labels, the people's
and the model's, that are right. The test images are only measured on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.imaging import to_pixels
from shared.learning.config import LearnConfig
from shared.learning.predict import pick_device, predict
from shared.learning.train import Extras, fit
from shared.selection import registry
from shared.selection.autolabel import Audit, Threshold, audit, audits_wanted, random_labels_wanted, threshold
from shared.selection.base import ShardScores
from winnow.datasets import Dataset, Item, open_dataset

Ints = npt.NDArray[np.int64]
_COLUMNS = ("round", "labels", "test", "threshold", "share", "given", "true precision", "audited", "whole pool", "s")


class _Loop:
    """What is known of the pool: who labelled which image, and what the audits said."""

    def __init__(self, options: argparse.Namespace, dataset: Dataset) -> None:
        self.options = options
        self.x, self.truth = _read(dataset.train, dataset, options)
        self.test_x, self.test_truth = _read(dataset.test, dataset, options)
        self.classes = dataset.classes
        self.human, self.at_random = np.zeros(len(self.truth), bool), np.zeros(len(self.truth), bool)
        self.given = np.full(len(self.truth), -1)
        self.told: list[bool] = []
        self.asked, self.floor = 0, 0.0
        self.device = pick_device(options.device)

    def run(self) -> None:
        rng = np.random.default_rng(self.options.seed)
        free = ShardScores(np.arange(len(self.truth)))
        first = registry.make(registry.COLD_START).select(lambda: [free], self.options.initial, rng)
        self.human[first.ids] = self.at_random[first.ids] = True
        for number in range(1, self.options.rounds + 1):
            started = time.perf_counter()
            found, test = self._train_and_label()
            heard = self._audit(rng)
            self._print(number, found, test, heard, time.perf_counter() - started)
            if heard.failed:
                self.floor, self.told, self.asked = found.value or self.floor, [], 0
                self.given[:] = -1
            if not self._ask(rng):
                return

    def _train_and_label(self) -> tuple[Threshold, float]:
        config = LearnConfig(
            arch=self.options.arch,
            mode="scratch",
            image_size=self.options.image_size,
            channels=1,
            seed=self.options.seed,
            recipe=json.loads(self.options.recipe),
        )
        rows = np.flatnonzero(self.human)
        fitted = fit(
            self.x[rows],
            self.truth[rows],
            n_classes=len(self.classes),
            config=config,
            device=self.device,
            extras=Extras(class_names=self.classes, at_random=self.at_random[rows]),
        )
        self.probabilities, self.features = predict(fitted.model, self.x, device=self.device)
        counted = fitted.calibration
        found = threshold(
            counted.above if counted else None,
            self.options.precision,
            at_random=counted.above_at_random if counted else None,
            floor=self.floor,
        )
        self.given[:] = -1
        if found.value is not None:
            sure = ~self.human & (self.probabilities.max(axis=1) >= found.value)
            self.given[sure] = self.probabilities[sure].argmax(axis=1)
        said = predict(fitted.model, self.test_x, device=self.device)[0].argmax(axis=1)
        return found, float((said == self.test_truth).mean())

    def _audit(self, rng: np.random.Generator) -> Audit:
        """Ask about a random share of what the model labelled, and judge all answers so far."""
        labelled = np.flatnonzero(self.given >= 0)
        self.before_audit = labelled, self.given[labelled].copy()
        wanted = audits_wanted(len(labelled), self.asked, self.options.audit, self.options.batch, None)
        drawn = rng.permutation(labelled)[:wanted]
        self.told += (self.given[drawn] == self.truth[drawn]).tolist()
        self.asked += len(drawn)
        self.human[drawn], self.given[drawn] = True, -1
        return audit(self.told, self.options.precision)

    def _ask(self, rng: np.random.Generator) -> bool:
        """The oracle labels the next batch of what has no label, part of it random; False if there is none."""
        left = np.flatnonzero(~self.human & (self.given < 0))
        missing = random_labels_wanted(self.options.precision) - int(self.at_random.sum())
        some = rng.permutation(left)[: max(0, min(missing, int(self.options.random * self.options.batch)))]
        self.human[some] = self.at_random[some] = True
        left = np.setdiff1d(left, some)
        if not len(left):
            return bool(len(some))
        shard = ShardScores(left, self.probabilities[left], self.features[left])
        strategy = registry.make(self.options.strategy)
        self.human[strategy.select(lambda: [shard], self.options.batch - len(some), rng).ids] = True
        return True

    def _print(self, number: int, found: Threshold, test: float, heard: Audit, seconds: float) -> None:
        labelled, said = self.before_audit
        right = int((said == self.truth[labelled]).sum())
        standing = int(self.human.sum()) + int((self.given == self.truth).sum())
        cells: Sequence[str] = (
            str(number),
            str(int(self.human.sum())),
            f"{test:.4f}",
            "none" if found.value is None else f"{found.value:.4f}",
            f"{len(labelled) / len(self.truth):.1%}",
            str(len(labelled)),
            f"{right / len(labelled):.4f}" if len(labelled) else "",
            f"{heard.right}/{heard.answers} ({heard.low:.3f})" if heard.answers else "",
            f"{standing / max(1, int(self.human.sum() + (self.given >= 0).sum())):.4f}",
            f"{seconds:.0f}",
        )
        print("  ".join(f"{cell:>{_width(name)}}" for cell, name in zip(cells, _COLUMNS, strict=True)), flush=True)
        for reason in (found.reason, f"withdrawn: {heard.reason}" if heard.failed else ""):
            if reason:
                print(f"       {reason}", flush=True)


def main() -> None:
    options = _options()
    print(" ".join(f"{name}={value}" for name, value in sorted(vars(options).items()) if name != "data"))
    print("  ".join(f"{name:>{_width(name)}}" for name in _COLUMNS), flush=True)
    with open_dataset(options.data) as dataset:
        _Loop(options, dataset).run()


def _width(name: str) -> int:
    return {"audited": 16, "threshold": 9}.get(name, max(len(name), 6))


def _read(items: Sequence[Item], dataset: Dataset, options: argparse.Namespace) -> tuple[npt.NDArray[np.uint8], Ints]:
    size = options.image_size
    x = np.stack([to_pixels(dataset.read(item), size=size, channels=1) for item in items])
    return x, np.array([item.label for item in items], np.int64)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder or .zip of train/<class>/* and test/<class>/*")
    parser.add_argument("--arch", default="cnn_mnist")
    parser.add_argument("--strategy", default="margin")
    parser.add_argument("--precision", type=float, default=0.99)
    parser.add_argument("--audit", type=float, default=0.05)
    parser.add_argument("--random", type=float, default=0.2, help="share of a batch that is drawn at random at first")
    parser.add_argument("--initial", type=int, default=600)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image-size", type=int, default=28)
    parser.add_argument("--recipe", default='{"folds": 5}', help="JSON of names and values, as in docs/learning.md")
    parser.add_argument("--device")
    return parser.parse_args()


if __name__ == "__main__":
    main()
