"""``winnow tune``: which settings of the hybrid suit a data set, by simulation on its training images alone.

A share of the training images, drawn from each class, is kept to measure on. The test set is not touched, so that a
measurement there afterwards is still an honest one.

Of many settings one is best by chance. So the best is told apart from a baseline only where it is ahead by more than
the best of so many would be: all settings share one estimate of the noise (that of a randomised block design, the seeds
being the blocks, Fisher 1935), and the threshold is Bonferroni's for the number of settings (Dunn 1961).
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from shared.errors import Invalid, Permanent
from winnow.compare import CompareOptions, OnProgress, Ran, Say, contender, run_missing
from winnow.runs import Failed
from winnow.simulate import aulc
from winnow.summary import BASELINE

VALIDATION = 0.2
CONFIDENCE = 0.95
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What is tried: every measure with every alpha with every number of clusters."""

    measures: tuple[str, ...]
    alphas: tuple[float, ...]
    clusters: tuple[int, ...]

    def settings(self) -> list[dict[str, Any]]:
        """Raises ``Invalid`` for a list that is empty or holds a value twice."""
        for name, values in (("measures", self.measures), ("alphas", self.alphas), ("clusters", self.clusters)):
            if not values or len(set(values)) < len(values):
                raise Invalid(f"{name} must be different values, at least one")
        return [
            {"measure": measure, "alpha": alpha, "clusters": clusters}
            for measure, alpha, clusters in product(self.measures, self.alphas, self.clusters)
        ]


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """``rows``: a record for each setting, the best first. ``report`` is what ``tune.json`` holds."""

    grid: Grid
    rows: list[dict[str, Any]]
    report: dict[str, Any]
    failed: tuple[Failed, ...]


def label_of(setting: Mapping[str, Any]) -> str:
    """A setting as ``winnow compare`` takes it."""
    return "hybrid:" + ":".join(f"{name}={value}" for name, value in setting.items())


def tune(grid: Grid, asked: CompareOptions, on_progress: OnProgress, say: Say) -> Tuned:
    """Run every setting, random and each measure alone with every seed; write ``grid.csv`` and ``tune.json``.

    ``asked.options.validation`` says what share of the training images is measured on. Raises as ``compare.compare``,
    ``Invalid`` also for a single seed, and ``Permanent`` where random, or every setting, failed.
    """
    if asked.seeds < 2:
        raise Invalid("tuning needs two seeds or more: one says nothing of how much is chance")
    if not asked.options.validation:
        raise Invalid("tuning measures on a share of the training images; say which with --validation")
    settings = {label_of(one): one for one in grid.settings()}
    labels = [BASELINE, *grid.measures, *settings]
    chosen = {label: contender(label, asked.options, {}) for label in labels}
    ran = run_missing(chosen, asked, on_progress, say)
    areas = _areas(ran, labels)
    if BASELINE not in areas or not set(areas) & set(settings):
        reasons = "; ".join(f"{one.run.label}, seed {one.run.options.seed}: {one.reason}" for one in ran.failed)
        raise Permanent(f"nothing can be said, as too much failed: {reasons}")
    rows = [
        setting | _row(areas[label], areas[BASELINE], areas.get(setting["measure"]))
        for label, setting in settings.items()
        if label in areas
    ]
    rows.sort(key=lambda row: -float(row["aulc"]))
    report = _report(ran, areas, rows, settings)
    (asked.out / "tune.json").write_text(json.dumps(report, indent=1))
    with (asked.out / "grid.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return Tuned(grid=grid, rows=rows, report=report, failed=ran.failed)


def _areas(ran: Ran, labels: Sequence[str]) -> dict[str, Floats]:
    """AULC by label, float64 (seeds,); those that lack a seed are left out, as they can't be compared in pairs."""
    found = {}
    for label in labels:
        by_seed = ran.by_seed(label)
        if len(by_seed) == len(ran.about["seeds"]):
            curves = [([row["labels"] for row in rows], [row["accuracy"] for row in rows]) for rows in by_seed.values()]
            found[label] = np.array([aulc(*curve) for curve in curves])
    return found


def _row(areas: Floats, random: Floats, pure: Floats | None) -> dict[str, float | None]:
    return {
        "aulc": float(areas.mean()),
        "se": float(areas.std(ddof=1) / math.sqrt(len(areas))),
        "ahead_of_random": float((areas - random).mean()),
        "ahead_of_measure": None if pure is None else float((areas - pure).mean()),
    }


def _report(
    ran: Ran, areas: Mapping[str, Floats], rows: Sequence[dict[str, Any]], settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    best = rows[0]
    label = next(one for one, setting in settings.items() if setting.items() <= best.items())
    pure = max((one for one in areas if one not in settings and one != BASELINE), key=lambda one: areas[one].mean())
    threshold = least_difference(np.array(list(areas.values())), len(rows))
    ahead = {name: float((areas[label] - areas[name]).mean()) for name in (BASELINE, pure)}
    beyond = {name: difference > threshold for name, difference in ahead.items()}
    return ran.about | {
        "best": {name: best[name] for name in ("measure", "alpha", "clusters", "aulc", "se")} | {"strategy": label},
        "random": _mean(areas[BASELINE]),
        "pure": {"measure": pure} | _mean(areas[pure]),
        "ahead_of_random": ahead[BASELINE],
        "ahead_of_pure": ahead[pure],
        "least_difference": threshold,
        "beyond_noise": {"random": beyond[BASELINE], "pure": beyond[pure]},
        "verdict": _verdict(label, pure, ahead, threshold, beyond),
    }


def least_difference(areas: Floats, settings: int) -> float:
    """From which difference on the best of ``settings`` is ahead of a baseline by more than chance.

    ``areas`` is float64 (rows, seeds), baselines included: what is left of each after its row's and its seed's mean is
    the noise, the same for all.
    """
    rows, seeds = areas.shape
    left = areas - areas.mean(axis=1, keepdims=True) - areas.mean(axis=0, keepdims=True) + areas.mean()
    freedom = (rows - 1) * (seeds - 1)
    error = math.sqrt(2 * float((left**2).sum()) / freedom / seeds)
    return float(stats.t.ppf(1 - (1 - CONFIDENCE) / settings, freedom)) * error


def _mean(areas: Floats) -> dict[str, float]:
    return {"aulc": float(areas.mean()), "se": float(areas.std(ddof=1) / math.sqrt(len(areas)))}


def _verdict(label: str, pure: str, ahead: Mapping[str, float], threshold: float, beyond: Mapping[str, bool]) -> str:
    figures = (
        f"{100 * ahead[BASELINE]:+.2f} points against random and {100 * ahead[pure]:+.2f} against {pure} alone, where "
        f"chance makes up to {100 * threshold:.2f}"
    )
    if beyond[pure] and beyond[BASELINE]:
        return f"{label} is better than random and than the best measure alone, beyond noise: {figures}."
    if beyond[BASELINE]:
        return (
            f"{label} is better than random beyond noise, but no setting is better than {pure} alone beyond noise: "
            f"{figures}. The clusters bought nothing that can be told from chance here."
        )
    return f"No setting is better than random beyond noise: {figures}. Keep the defaults, or use more seeds."


def grid_panels(tuned: Tuned) -> dict[str, list[list[float]]]:
    """Points ahead of random for the picture: by measure a list of lines (alphas) of cells (clusters)."""
    cells = {(row["measure"], row["alpha"], row["clusters"]): 100 * row["ahead_of_random"] for row in tuned.rows}
    return {
        measure: [[cells.get((measure, a, c), math.nan) for c in tuned.grid.clusters] for a in tuned.grid.alphas]
        for measure in tuned.grid.measures
    }


def write_picture(path: Path, tuned: Tuned) -> None:
    """Write the heatmap, the best setting framed."""
    from winnow import plots

    best = tuned.rows[0]
    place = (best["measure"], tuned.grid.alphas.index(best["alpha"]), tuned.grid.clusters.index(best["clusters"]))
    draw = plots.draw_grid(grid_panels(tuned), tuned.grid.alphas, tuned.grid.clusters, place)
    width = 1.2 + len(tuned.grid.measures) * max(2.2, 0.75 * len(tuned.grid.clusters))
    plots.png(path, draw, (width, 1.6 + 0.55 * len(tuned.grid.alphas)))


def with_validation(asked: CompareOptions) -> CompareOptions:
    """The same, measured on the default share of the training images where none is named."""
    if asked.options.validation:
        return asked
    return replace(asked, options=replace(asked.options, validation=VALIDATION))
