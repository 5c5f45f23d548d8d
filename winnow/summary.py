"""What several runs say together: means, paired differences to random, and how sure these are. Arrays only, no files.

The runs of one seed begin with the same labels and train with the same seeds, whatever the strategy. So strategies are
compared seed by seed, and the standard error is that of these differences: what all of a seed's runs share drops out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from winnow.simulate import Row, aulc

BASELINE = "random"
BEYOND = 2.0
"""A difference of more than so many of its standard errors is marked."""
METRICS = ("accuracy", "macro_f1")
_TIMES = ("train_s", "score_s", "select_s")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The runs of one strategy. ``by_seed`` holds a seed's rounds in order, as ``simulate`` gives them."""

    label: str
    by_seed: Mapping[int, Sequence[Row]]

    def values(self, key: str, seeds: Sequence[int]) -> Floats:
        """float64 (seeds, rounds)."""
        return np.array([[row[key] for row in self.by_seed[seed]] for seed in seeds], dtype=np.float64)

    def labels(self) -> list[int]:
        """At each round."""
        return [row["labels"] for row in next(iter(self.by_seed.values()))]


def chance_beyond(seeds: int) -> float | None:
    """How often a difference that isn't there is marked nevertheless (Student 1908); None for a single seed."""
    return float(2 * stats.t.sf(BEYOND, seeds - 1)) if seeds > 1 else None


def mean_and_error(values: Floats) -> dict[str, float | None]:
    """``mean`` and ``se``, the standard error of the mean between seeds; None of a single one."""
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return {"mean": float(values.mean()), "se": error}


def compared(values: Floats, baseline: Floats | None) -> dict[str, Any]:
    """``mean`` and ``se`` of ``values`` (seeds,), and of their paired difference to ``baseline`` (seeds,): ``diff``,
    ``diff_se``, ``wins`` (seeds that are ahead of it) and ``beyond``: 1 or -1 where the difference is more than
    ``BEYOND`` standard errors up or down, else 0. None where there is no baseline, or too few seeds."""
    found: dict[str, Any] = mean_and_error(values)
    if baseline is None or not len(baseline):
        return found | {"diff": None, "diff_se": None, "wins": None, "beyond": None}
    difference = mean_and_error(values[: len(baseline)] - baseline)
    diff, error = difference["mean"], difference["se"]
    assert diff is not None
    beyond = None if error is None else int(np.sign(diff)) * int(abs(diff) > BEYOND * error)
    wins = int((values[: len(baseline)] > baseline).sum())
    return found | {"diff": diff, "diff_se": error, "wins": wins, "beyond": beyond}


def labels_to_reach(labels: Sequence[int], accuracy: Sequence[float], target: float) -> float | None:
    """Where the curve first meets ``target``, by straight lines between its points; None where it never does.

    The first point's labels where that is above it already: it may have been met with fewer.
    """
    for at, value in enumerate(accuracy):
        if value >= target:
            if at == 0:
                return float(labels[0])
            share = (target - accuracy[at - 1]) / (value - accuracy[at - 1])
            return float(labels[at - 1] + share * (labels[at] - labels[at - 1]))
    return None


def summarise(all_curves: Sequence[Curves], classes: Sequence[str]) -> dict[str, Any]:
    """For each strategy by label: ``runs``, ``budgets`` (a record at each number of labels, of ``METRICS`` and where
    there are near-duplicates of ``distinct``), ``per_class`` (means by class and round), ``aulc``, ``labels_to_reach``
    and ``seconds`` (means of a round). Strategies without any run are left out."""
    there = [one for one in all_curves if one.by_seed]
    # A strategy that asks for less than it may can need a round more to use the pool up.
    rounds = min((len(rows) for one in there for rows in one.by_seed.values()), default=0)
    cut = [replace(one, by_seed={seed: rows[:rounds] for seed, rows in one.by_seed.items()}) for one in there]
    baseline = next((one for one in cut if one.label == BASELINE), None)
    return {one.label: _of_strategy(one, baseline, classes) for one in cut}


def _of_strategy(curves: Curves, baseline: Curves | None, classes: Sequence[str]) -> dict[str, Any]:
    paired = [] if baseline is None else [seed for seed in curves.by_seed if seed in baseline.by_seed]
    # The paired seeds first, so that rows of both belong together; those without a baseline count for the means only.
    seeds = paired + [seed for seed in curves.by_seed if seed not in paired]
    labels = curves.labels()

    def against(key: str, at: int) -> dict[str, Any]:
        theirs = None if baseline is None else baseline.values(key, paired)[:, at] if paired else None
        return compared(curves.values(key, seeds)[:, at], theirs)

    budgets = []
    for at, number in enumerate(labels):
        record: dict[str, Any] = {"labels": number} | {key: against(key, at) for key in METRICS}
        if "distinct" in next(iter(curves.by_seed.values()))[at]:
            record["distinct"] = against("distinct", at)
        budgets.append(record)
    ours = _areas(curves, seeds)
    theirs = _areas(baseline, paired) if baseline is not None and paired else None
    return {
        "runs": len(seeds),
        "paired": len(paired),
        "budgets": budgets,
        "per_class": {name: _class_means(curves, name) for name in classes},
        "aulc": compared(ours, theirs),
        "labels_to_reach": _to_reach(curves, baseline, paired),
        "seconds": {key: float(curves.values(key, seeds).mean()) for key in _TIMES},
    }


def _areas(curves: Curves, seeds: Sequence[int]) -> Floats:
    labels = curves.labels()
    return np.array([aulc(labels, row) for row in curves.values("accuracy", seeds).tolist()])


def _class_means(curves: Curves, name: str) -> list[float | None]:
    """None for a class that the test set lacks."""
    rounds = zip(*curves.by_seed.values(), strict=True)
    shares = [[row["per_class"][name] for row in rows] for rows in rounds]
    return [None if None in row else float(np.mean(row)) for row in shares]


def _to_reach(curves: Curves, baseline: Curves | None, paired: Sequence[int]) -> dict[str, Any]:
    """Labels at the final accuracy of the baseline: of each seed its own, and of the mean curves. ``mean`` is that of
    the seeds, None unless all got there: a mean of some would leave the worst out."""
    if baseline is None or not paired:
        return {"target": None, "by_seed": {}, "reached": 0, "mean": None, "of_mean_curve": None}
    labels = curves.labels()
    ours, theirs = curves.values("accuracy", paired), baseline.values("accuracy", paired)
    by_seed = {
        str(seed): labels_to_reach(labels, ours[row].tolist(), float(theirs[row, -1]))
        for row, seed in enumerate(paired)
    }
    reached = [value for value in by_seed.values() if value is not None]
    target = float(theirs[:, -1].mean())
    return {
        "target": target,
        "by_seed": by_seed,
        "reached": len(reached),
        "mean": float(np.mean(reached)) if len(reached) == len(paired) else None,
        "of_mean_curve": labels_to_reach(labels, ours.mean(axis=0).tolist(), target),
    }
