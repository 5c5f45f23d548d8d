"""How many more labels a target takes: an inverse power law through the learning curve. NumPy only.

``error(n) = a + b n^-c``, the form that learning curves were found to have (Figueroa et al. 2012, BMC Medical
Informatics 12:8; Hestness et al. 2017, arXiv:1712.00409). From the five to ten points that a project has, ``a`` and
``c`` can't be told apart: many curves fit as well and part far from the data. So there is no best fit with a bootstrap
around it, which from three points would call itself sure. All curves on a grid are weighed by how well they explain
the points (their likelihood, under flat priors of the root of ``a``, of the logarithm of ``c`` and of the height above
``a`` at the first point), and the answer is the weighted median with the interval that holds ``LEVEL`` of the weight.
Nothing is random: the same points give the same answer on every machine.

The noise of a point is that of counting on its holdout, and a noise of training that is weighed along with the curve,
so that a ragged curve gives a wide interval. Points of one holdout err together, which is left out: it makes the
interval wider than it need be, not narrower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid

Floats = npt.NDArray[np.float64]

LEAST_POINTS = 3
"""Different numbers of labels: a curve of three unknowns needs as many."""
LEVEL = 0.9
FARTHEST = 100
"""What takes more than so many times the present labels is not to be had: no curve is known that far out."""

_EXPONENTS = np.geomspace(0.1, 2.0, 32)
_FLOORS = 32
"""Values of ``a`` that are tried, from 0 to below the highest error measured, denser where it is small."""
_TRAINING_NOISE = np.array([0.002, 0.004, 0.008, 0.016, 0.032, 0.064])
"""Standard deviations of the accuracy from one training to the next, each as likely before as the others.

Never none: the grid of curves is no finer than that."""
_NORMAL = np.array([-1.645, -1.036, -0.674, -0.385, -0.126, 0.126, 0.385, 0.674, 1.036, 1.645])
"""Middles of ten slices of the normal distribution that weigh the same."""


class Outcome(StrEnum):
    """``reached``: measured already. ``reachable``: ``more`` says when. ``unreachable``: more likely never, or not
    within ``FARTHEST`` times the labels. ``too_few``: not yet enough points to say."""

    REACHED = "reached"
    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    TOO_FEW = "too_few"


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What it takes to reach ``target``, an accuracy from 0 to 1.

    more, low, high : labels still to be given, the median and the ends of the interval. ``more`` is None where it is
        not reachable or nothing can be said, ``high`` also where it may never be. ``low`` is None where nothing can be
        said, or where even the best of the interval is out of reach.
    ceiling, ceiling_low, ceiling_high : the accuracy that no number of labels exceeds, ``1 - a``, and its interval.
        None with too few points.
    text : a sentence for people.
    """

    target: float
    outcome: Outcome
    more: int | None = None
    low: int | None = None
    high: int | None = None
    ceiling: float | None = None
    ceiling_low: float | None = None
    ceiling_high: float | None = None
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Curves that explain the points, float64 (m,) each, heaviest first; ``weight`` sums to 1.

    ``error(n) = floor + height (n / first)^-exponent``.
    """

    floor: Floats
    height: Floats
    exponent: Floats
    weight: Floats
    first: float

    def accuracy(self, labels: float) -> tuple[float, float, float]:
        """At so many labels: median, lower and upper end of the interval."""
        return _quantiles(1 - self.floor - self.height * (labels / self.first) ** -self.exponent, self.weight)

    def ceiling(self) -> tuple[float, float, float]:
        """Where the curves end: median, lower and upper end."""
        return _quantiles(1 - self.floor, self.weight)

    def labels_to(self, target: float) -> tuple[float, float, float]:
        """Labels at which ``target`` is met: median, lower and upper end; infinity where it is not."""
        room = (1 - target) - self.floor
        reach = room > 0
        ratio = np.divide(room, self.height, out=np.ones_like(room), where=reach)
        with np.errstate(over="ignore"):
            needed = np.where(reach, self.first * ratio ** (-1 / self.exponent), np.inf)
        return _quantiles(needed, self.weight)


def forecast(
    labels: Sequence[int], accuracies: Sequence[float], n_holdout: int | Sequence[int], target: float
) -> Forecast:
    """How many more labels than the last of ``labels`` the accuracy ``target`` takes.

    Parameters
    ----------
    labels : of each training, how many labels it had; above 0, in any order, the same number more than once if need be.
    accuracies : what each measured on its holdout, from 0 to 1.
    n_holdout : images in the holdout, one number for all or one for each.
    target : from 0 to 1. An accuracy of exactly 1 is met by no such curve.

    Raises ``Invalid`` for figures that can't be any of these.
    """
    n, accuracy, _ = _checked(labels, accuracies, n_holdout)
    if not 0 <= target <= 1:
        raise Invalid(f"the target is {target}; an accuracy is from 0 to 1")
    if len(n) and accuracy[np.flatnonzero(n == n.max())].max() >= target:
        text = f"{_percent(target)} is reached."
        return Forecast(target=target, outcome=Outcome.REACHED, more=0, low=0, high=0, text=text)
    points = len(np.unique(n))
    if points < LEAST_POINTS:
        text = f"Too few rounds to say: {points} of the {LEAST_POINTS} that a curve needs."
        return Forecast(target=target, outcome=Outcome.TOO_FEW, text=text)
    return _of_curves(weigh(labels, accuracies, n_holdout), int(n.max()), target)


def weigh(labels: Sequence[int], accuracies: Sequence[float], n_holdout: int | Sequence[int]) -> Curves:
    """The curves through points as ``forecast`` takes them. Raises ``Invalid``, also for too few points."""
    n, accuracy, holdout = _checked(labels, accuracies, n_holdout)
    if len(np.unique(n)) < LEAST_POINTS:
        raise Invalid(f"a curve needs {LEAST_POINTS} different numbers of labels")
    error, first = 1 - accuracy, float(n.min())
    # Of no error at all, or nothing but errors, a count still has a spread: one more of either is counted.
    share = (error * holdout + 1) / (holdout + 2)
    variance = (share * (1 - share) / holdout + _TRAINING_NOISE[:, None] ** 2)[:, None, None, :]  # (T, 1, 1, n)
    floors = error.max() * np.linspace(0, 1, _FLOORS, endpoint=False) ** 2
    above = (error - floors[:, None])[None, :, None, :]  # (1, A, 1, n)
    shape = ((n / first) ** -_EXPONENTS[:, None])[None, None]  # (1, 1, C, n)
    information = (shape**2 / variance).sum(axis=-1)  # (T, 1, C)
    height = (shape * above / variance).sum(axis=-1) / information  # (T, A, C)
    misfit = ((above - height[..., None] * shape) ** 2 / variance).sum(axis=-1)
    # The height is integrated out: what is left of it is the root of its variance.
    log_weight = -0.5 * (misfit + np.log(variance).sum(axis=-1) + np.log(information))
    heights = height[..., None] + _NORMAL / np.sqrt(information)[..., None]  # (T, A, C, 10)
    # A curve that falls is none of ours, however well it fits.
    masked = np.where(heights > 0, log_weight[..., None], -np.inf)
    weights = np.exp(masked - masked.max())
    kept = np.flatnonzero(weights > 1e-6 * weights.max())
    order = kept[np.argsort(-weights.ravel()[kept], kind="stable")]
    grid = np.broadcast_to(floors[None, :, None, None], weights.shape).ravel()[order]
    exponent = np.broadcast_to(_EXPONENTS[None, None, :, None], weights.shape).ravel()[order]
    chosen = weights.ravel()[order]
    return Curves(
        floor=grid, height=heights.ravel()[order], exponent=exponent, weight=chosen / chosen.sum(), first=first
    )


def _of_curves(curves: Curves, present: int, target: float) -> Forecast:
    middle, low, high = curves.labels_to(target)
    ceiling, ceiling_low, ceiling_high = curves.ceiling()
    more, least, most = (_more(needed, present) for needed in (middle, low, high))
    share = round(100 * LEVEL)
    if more is None:
        outcome = Outcome.UNREACHABLE
        text = (
            f"{_percent(target)} can't be reached by this curve: it levels off at about {_percent(ceiling)} "
            f"({share}% interval {_percent(ceiling_low)} to {_percent(ceiling_high)})."
        )
        if ceiling > target:
            text = f"{_percent(target)} would take more than {FARTHEST} times the present labels by this curve."
        if least is not None:
            text += f" If it can, then hardly with fewer than {least:,} more labels."
    else:
        outcome = Outcome.REACHABLE
        upto = f"to {most:,}" if most is not None else "or more: it may never be"
        text = f"About {more:,} more labels to reach {_percent(target)} ({share}% interval {least:,} {upto})."
    return Forecast(
        target=target,
        outcome=outcome,
        more=more,
        low=least,
        high=most,
        ceiling=ceiling,
        ceiling_low=ceiling_low,
        ceiling_high=ceiling_high,
        text=text,
    )


def _more(needed: float, present: int) -> int | None:
    """Labels beyond the present ones, to two digits: more would be pretence."""
    if needed > FARTHEST * present:
        return None
    more = max(needed - present, 0.0)
    digits = 10.0 ** max(len(str(int(more))) - 2, 0)
    return int(np.ceil(more / digits) * digits)


def _quantiles(values: Floats, weight: Floats) -> tuple[float, float, float]:
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order])
    at = np.searchsorted(below, np.array([0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2]) * below[-1])
    middle, low, high = values[order][np.minimum(at, len(values) - 1)].tolist()
    return middle, low, high


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _checked(
    labels: Sequence[int], accuracies: Sequence[float], n_holdout: int | Sequence[int]
) -> tuple[Floats, Floats, Floats]:
    n, accuracy = np.asarray(labels, dtype=np.float64), np.asarray(accuracies, dtype=np.float64)
    if n.ndim != 1 or n.shape != accuracy.shape:
        raise Invalid(f"a learning curve has an accuracy for each number of labels, not {accuracy.shape} for {n.shape}")
    holdout = np.asarray(n_holdout, dtype=np.float64)
    if holdout.ndim and holdout.shape != n.shape:
        raise Invalid(f"there are {holdout.size} sizes of the holdout for {n.size} points")
    if not (np.isfinite(n) & (n > 0)).all() or not ((accuracy >= 0) & (accuracy <= 1)).all() or not (holdout > 0).all():
        raise Invalid("numbers of labels and of holdout images must be above 0, accuracies from 0 to 1")
    return n, accuracy, np.broadcast_to(holdout, n.shape)
