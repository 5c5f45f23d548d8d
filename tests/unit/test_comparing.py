"""Two models on the same images: what is chance, and what isn't."""

from __future__ import annotations

import numpy as np
import pytest

from shared.comparing import compare, paired
from shared.learning.metrics import wilson_interval


def rights(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = [True] * both + [True] * only_a + [False] * only_b + [False] * neither
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return np.array(a), np.array(b)


def test_the_exact_test_is_that_of_the_binomial_distribution() -> None:
    found = paired(*rights(90, 1, 7, 2))
    assert (found.both, found.only_a, found.only_b, found.neither, found.n) == (90, 1, 7, 2, 100)
    assert found.accuracy == pytest.approx(0.06)
    assert found.p == pytest.approx(2 * (1 + 8) / 2**8)  # 8 images differ, at most 1 for a


def test_the_interval_is_the_published_one() -> None:
    """Newcombe 1998, Statistics in Medicine 17:2635, table III: method 10 on 36, 12, 2 and 0 of 50."""
    found = paired(*rights(36, 2, 12, 0))
    assert (round(found.low, 4), round(found.high, 4)) == (0.0569, 0.3404)


def test_what_two_samples_do_not_show_the_same_images_may() -> None:
    a, b = rights(180, 1, 9, 10)
    apart = compare(metrics(a), metrics(b))
    assert apart.verdict.startswith("no difference")
    assert paired(a, b).verdict == "b is better, beyond chance"
    assert paired(b, a).verdict == "a is better, beyond chance"


def test_models_that_say_the_same_do_not_differ() -> None:
    found = paired(*rights(50, 0, 0, 5))
    assert found.p == 1.0 and found.accuracy == 0 and found.low <= 0 <= found.high


def metrics(right: np.ndarray) -> dict[str, float]:
    low, high = wilson_interval(int(right.sum()), len(right))
    return {"accuracy": float(right.mean()), "accuracy_low": low, "accuracy_high": high, "n": len(right)}
