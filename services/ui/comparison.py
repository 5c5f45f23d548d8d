"""Two models beside each other, in the numbers that the page shows: ``before`` on the left, ``after`` on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.ui.words import N_
from shared.comparing import Difference, Paired, compare, paired
from shared.db.insight import Measured
from shared.db.rounds import CurvePoint
from shared.domain import Class, ImageId
from shared.opinions import Opinion

Said = Mapping[ImageId, Opinion]
_METRICS = (
    ("accuracy", N_("Accuracy"), True),
    ("macro_f1", N_("Macro F1"), True),
    ("macro_precision", N_("Macro precision"), True),
    ("macro_recall", N_("Macro recall"), True),
    ("auroc", N_("AUROC"), True),
    ("nll", N_("Negative log-likelihood"), False),
    ("ece", N_("Expected calibration error"), False),
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number of each; ``better``: 1 where the right one is better, -1 where the left one is, 0 if they are even."""

    name: str
    before: float | None
    after: float | None
    better: int

    @property
    def difference(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True, kw_only=True)
class Cell:
    """How many more images of a class the right one takes for another; ``good``: it is for the better."""

    more: int
    good: bool
    shade: int


@dataclass(frozen=True, kw_only=True)
class Change:
    """Of the recipe, or of what was learnt from; empty where one doesn't tell."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """``test`` None: the scores of one of them are given up, so that only ``difference`` says what chance may do."""

    difference: Difference
    test: Paired | None
    figures: Sequence[Figure]
    recalls: Sequence[Figure]
    matrix: Sequence[tuple[str, Sequence[Cell]]]
    changes: Sequence[Change]


def side_by_side(before: CurvePoint, after: CurvePoint, classes: Sequence[Class], test: Paired | None) -> Comparison:
    """From what was measured of each, and what is known of how each was trained."""
    a, b = before.metrics, after.metrics
    difference = compare(a, b)
    return Comparison(
        difference=difference,
        test=test,
        figures=[
            _figure(name, a.get(key), b.get(key), up)
            for key, name, up in _METRICS
            if a.get(key) is not None or b.get(key) is not None
        ],
        recalls=[_figure(one.name, x, y, True) for one, (x, y) in zip(classes, difference.recalls, strict=False)],
        matrix=_matrix(a, b, classes),
        changes=_changes(before, after),
    )


def test_of(measured: Sequence[Measured], before: Said, after: Said) -> Paired | None:
    """On the images of the holdout that both have scored, with their labels as they are now. None if there are none."""
    both = [one for one in measured if one.id in before and one.id in after]
    if not both:
        return None
    truth = np.array([one.position for one in both])
    a, b = (np.array([said[one.id].column for one in both]) == truth for said in (before, after))
    return paired(a, b)


def _figure(name: str, before: Any, after: Any, up: bool) -> Figure:
    x, y = (None if value is None else float(value) for value in (before, after))
    better = 0 if x is None or y is None or abs(y - x) < 5e-4 else (1 if (y > x) == up else -1)
    return Figure(name=name, before=x, after=y, better=better)


def _matrix(a: Mapping[str, Any], b: Mapping[str, Any], classes: Sequence[Class]) -> list[tuple[str, list[Cell]]]:
    """Empty where one of them was not measured, or on another number of classes."""
    first, second = a.get("confusion"), b.get("confusion")
    if not first or not second or len(first) != len(classes) or len(second) != len(classes):
        return []
    more = np.array(second) - np.array(first)
    most = max(1, int(np.abs(more).max()))
    return [
        (
            one.name,
            [
                Cell(more=int(n), good=(n > 0) == (row == column), shade=round(10 * abs(int(n)) / most))
                for column, n in enumerate(more[row])
            ],
        )
        for row, one in enumerate(classes)
    ]


def _changes(before: CurvePoint, after: CurvePoint) -> list[Change]:
    a, b = _told(before), _told(after)
    return [
        Change(name=name, before=a.get(name, ""), after=b.get(name, ""))
        for name in [*a, *(name for name in b if name not in a)]
        if a.get(name) != b.get(name)
    ]


def _told(point: CurvePoint) -> dict[str, str]:
    recipe = dict(point.metrics.get("recipe") or {})
    told = {"labels": point.labels, **{name: recipe[name] for name in sorted(recipe)}}
    return {name: said(value) for name, value in told.items() if value is not None}


def said(value: Any) -> str:
    """A value of a recipe for a person."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
