"""Two models beside each other, by what each measured on the holdout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.learning.metrics import wilson_interval


@dataclass(frozen=True, kw_only=True)
class Difference:
    """``b`` less ``a``; None where either doesn't tell. ``low`` to ``high`` is the accuracy's 95% interval."""

    accuracy: float | None
    low: float | None
    high: float | None
    verdict: str
    macro_f1: float | None
    nll: float | None
    ece: float | None
    recalls: Sequence[tuple[float | None, float | None]]


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> Difference:
    """What the metrics ``a`` and ``b`` of two checkpoints say of them.

    The metrics don't tell which images each got right, so the interval is that of two independent samples (Newcombe
    1998, method 10, from the Wilson intervals). Models that err on the same images differ more surely than it says:
    where the scores of both are kept, ``paired`` says how much.
    """
    recalls = list(zip(a.get("per_class") or [], b.get("per_class") or [], strict=False))
    low = high = None
    difference = _less(a, b, "accuracy")
    if difference is None:
        verdict = "one of them was not measured: there was no labelled holdout"
    else:
        low, high = _newcombe(a, b, difference)
        if low > 0:
            verdict = "b is better, beyond chance"
        elif high < 0:
            verdict = "a is better, beyond chance"
        else:
            verdict = f"no difference beyond chance, on {min(a['n'], b['n'])} images"
    return Difference(
        accuracy=difference,
        low=low,
        high=high,
        verdict=verdict,
        macro_f1=_less(a, b, "macro_f1"),
        nll=_less(a, b, "nll"),
        ece=_less(a, b, "ece"),
        recalls=recalls,
    )


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two models on the same ``n`` images. ``accuracy`` is that of ``b`` less that of ``a``, ``low`` to ``high`` its
    95% interval, ``p`` how likely so uneven a count of ``only_a`` and ``only_b`` is if neither is better."""

    n: int
    both: int
    only_a: int
    only_b: int
    neither: int
    accuracy: float
    low: float
    high: float
    p: float
    verdict: str


def paired(a_right: NDArray[np.bool_], b_right: NDArray[np.bool_]) -> Paired:
    """By which images each model got right, bool (n,), n > 0, in the same order.

    The test is McNemar's, exact (McNemar 1947, Psychometrika 12:153); the interval Newcombe's for paired proportions
    (1998, Statistics in Medicine 17:2635, method 10).
    """
    n = len(a_right)
    both, only_b = int((a_right & b_right).sum()), int((~a_right & b_right).sum())
    only_a, neither = int((a_right & ~b_right).sum()), int((~a_right & ~b_right).sum())
    low, high = _paired_interval(both, only_b, only_a, neither)
    p = _mcnemar(only_a, only_b)
    better = "b" if only_b > only_a else "a"
    verdict = f"{better} is better, beyond chance" if p < 0.05 else f"no difference beyond chance, on {n} images"
    return Paired(
        n=n,
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=neither,
        accuracy=(only_b - only_a) / n,
        low=low,
        high=high,
        p=p,
        verdict=verdict,
    )


def _mcnemar(one: int, other: int) -> float:
    """Two-sided: of so many images that only one model got right, each is as likely to be either's."""
    unequal, fewer = one + other, min(one, other)
    tail = sum(math.comb(unequal, k) for k in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**unequal))


def _paired_interval(both: int, gained: int, lost: int, neither: int) -> tuple[float, float]:
    n = both + gained + lost + neither
    after, before = (both + gained) / n, (both + lost) / n
    (low_after, high_after), (low_before, high_before) = (
        wilson_interval(both + gained, n),
        wilson_interval(both + lost, n),
    )
    spread = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    together: float = both * neither - gained * lost
    if together > 0:  # with Newcombe's correction for continuity
        together = max(together - n / 2, 0)
    phi = together / math.sqrt(spread) if spread else 0.0

    def reach(up: float, down: float) -> float:
        return math.sqrt(max(up**2 - 2 * phi * up * down + down**2, 0.0))

    difference = after - before
    low = difference - reach(after - low_after, high_before - before)
    return low, difference + reach(high_after - after, before - low_before)


def _less(a: Mapping[str, Any], b: Mapping[str, Any], key: str) -> float | None:
    if a.get(key) is None or b.get(key) is None:
        return None
    return float(b[key]) - float(a[key])


def _newcombe(a: Mapping[str, Any], b: Mapping[str, Any], difference: float) -> tuple[float, float]:
    below = math.hypot(b["accuracy"] - b["accuracy_low"], a["accuracy_high"] - a["accuracy"])
    above = math.hypot(b["accuracy_high"] - b["accuracy"], a["accuracy"] - a["accuracy_low"])
    return difference - below, difference + above
