"""Simulated annotators on real labels: what consensus makes of them, and how soon known answers find who guesses.

10 people are right 95% of the time, 3 are right 70%, 1 answers at random; the others' errors are even over the classes.
Every image is asked of ``overlap`` of them, drawn at random. The rules and the estimators are those of the services.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.report import Row
from shared.domain import ProjectSettings
from shared.errors import Invalid
from shared.quality.answers import Answers, Ints
from shared.quality.consensus import dawid_skene, majority
from shared.quality.skill import vote_weight
from shared.trust import below_floor
from winnow.datasets import open_dataset

GOOD, NOISY, RANDOM = 10, 3, 1
FLOOR, LEAST_GOLDS, MOST_GOLDS = 0.6, 5, 200


def run(data: Path | None = None, overlap: int = 3, seeds: int = 20) -> list[Row]:
    """On the labels of the data set ``data``, images of training and test together."""
    if data is None:
        raise Invalid("name a data set with --data: a folder or .zip of train/<class>/* and test/<class>/*")
    with open_dataset(data) as dataset:
        truth = np.array([item.label for item in (*dataset.train, *dataset.test)], np.int64)
        classes = len(dataset.classes)
    accuracies = np.array([0.95] * GOOD + [0.7] * NOISY + [1 / classes] * RANDOM)
    case = f"{data.stem}, {len(truth):,} images, {len(accuracies)} people, overlap {overlap}, {seeds} seeds"
    return _consensus(case, truth, classes, accuracies, overlap, seeds) + _found(case, accuracies, seeds)


def simulate(truth: Ints, classes: int, accuracies: np.ndarray, overlap: int, rng: np.random.Generator) -> Answers:
    """What so many people, drawn for each image, say of it."""
    who = np.argsort(rng.random((len(truth), len(accuracies))), axis=1)[:, :overlap]
    items = np.repeat(np.arange(len(truth)), overlap)
    annotators = who.ravel()
    wrong = (truth[items] + rng.integers(1, classes, len(items))) % classes
    said = np.where(rng.random(len(items)) < accuracies[annotators], truth[items], wrong)
    return Answers(
        items=items,
        annotators=annotators,
        classes=said,
        n_items=len(truth),
        n_annotators=len(accuracies),
        n_classes=classes,
    )


def _accuracy(shares: np.ndarray, truth: Ints) -> float:
    """Of the class that has most; who share it are drawn from, so that ties count as they would on average."""
    best = shares >= shares.max(axis=1, keepdims=True) - 1e-12
    return float((best[np.arange(len(truth)), truth] / best.sum(axis=1)).mean())


def _consensus(case: str, truth: Ints, classes: int, accuracies: np.ndarray, overlap: int, seeds: int) -> list[Row]:
    single, by_vote, weighed, by_model, clear, seconds = [], [], [], [], [], []
    weights = vote_weight(accuracies, classes)
    for seed in range(seeds):
        answers = simulate(truth, classes, accuracies, overlap, np.random.default_rng(seed))
        single.append(float((answers.classes == truth[answers.items]).mean()))
        shares = majority(answers)
        by_vote.append(_accuracy(shares, truth))
        clear.append(float((shares.max(axis=1) > 0.5).mean()))
        weighed.append(_accuracy(majority(answers, weights[answers.annotators]), truth))
        began = time.perf_counter()
        by_model.append(_accuracy(dawid_skene(answers).probabilities, truth))
        seconds.append(time.perf_counter() - began)
    gain = np.array(by_model) - np.array(by_vote)
    error = float(gain.std(ddof=1) / np.sqrt(seeds)) if seeds > 1 else 0.0

    def row(metric: str, value: float, **more: object) -> Row:
        return Row(case=case, metric=metric, value=value, unit="share", better="higher", **more)  # type: ignore[arg-type]

    return [
        row("one answer is right", float(np.mean(single))),
        row("majority is right, ties drawn", float(np.mean(by_vote))),
        row("a majority there is", float(np.mean(clear))),
        row("majority is right, weighed by known accuracies", float(np.mean(weighed))),
        row(
            "Dawid-Skene is right",
            float(np.mean(by_model)),
            peer=float(np.mean(by_vote)),
            peer_name="majority",
        ),
        row("Dawid-Skene beyond majority, mean of seeds", float(np.mean(gain))),
        row("its standard error", error),
        Row(
            case=case,
            metric="Dawid-Skene",
            value=float(np.median(seconds)),
            unit="s",
            better="lower",
        ),
    ]


def _found(case: str, accuracies: np.ndarray, seeds: int) -> list[Row]:
    """After how many answers that are known each is paused; more draws than seeds, since each costs nothing."""
    settings = ProjectSettings(quality_floor=FLOOR, quality_golds=LEAST_GOLDS)
    rng, draws = np.random.default_rng(seeds), 50 * seeds

    def paused_after(accuracy: float) -> float:
        right = np.cumsum(rng.random(MOST_GOLDS) < accuracy)
        for n, so_far in enumerate(right, start=1):
            if below_floor(int(so_far), n, settings):
                return float(n)
        return float("inf")

    kinds = {"random": accuracies[-1], "noisy": accuracies[GOOD], "good": accuracies[0]}
    found = {name: np.array([paused_after(q) for _ in range(draws)]) for name, q in kinds.items()}
    rule = f"floor {FLOOR}, from {LEAST_GOLDS} known answers on"
    rows = [
        Row(
            case=rule,
            metric=f"known answers until who guesses is paused, {what}",
            value=value,
            unit="answers",
            better="lower",
        )
        for what, value in (
            ("median", float(np.median(found["random"]))),
            ("95th percentile", float(np.percentile(found["random"], 95))),
            ("most", float(found["random"].max())),
        )
    ]
    return rows + [
        Row(
            case=rule,
            metric=f"{name} people paused within {MOST_GOLDS} known answers",
            value=float(np.isfinite(found[name]).mean()),
            unit="share",
            better="lower",
        )
        for name in ("noisy", "good")
    ]
