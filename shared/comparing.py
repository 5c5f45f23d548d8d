"""Two models beside each other, by what each measured on the holdout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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

    Which images each got right is not stored, so the interval is that of two independent samples (Newcombe 1998, method
    10, from the Wilson intervals). Models that err on the same images differ more surely than it says.
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


def _less(a: Mapping[str, Any], b: Mapping[str, Any], key: str) -> float | None:
    if a.get(key) is None or b.get(key) is None:
        return None
    return float(b[key]) - float(a[key])


def _newcombe(a: Mapping[str, Any], b: Mapping[str, Any], difference: float) -> tuple[float, float]:
    below = math.hypot(b["accuracy"] - b["accuracy_low"], a["accuracy_high"] - a["accuracy"])
    above = math.hypot(b["accuracy_high"] - b["accuracy"], a["accuracy"] - a["accuracy_low"])
    return difference - below, difference + above
