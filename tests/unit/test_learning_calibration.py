"""Temperatures and folds."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import Invalid
from shared.learning.calibration import fit_temperature, stratified_folds


def drawn(n: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are ``temperature`` times too sure, and truths drawn from what they should have said."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(n, 4)) * 2
    chances = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    truth = (chances.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return honest * temperature, truth


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_by_which_logits_are_wrong_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(20_000, temperature)) == pytest.approx(temperature, rel=0.05)


def test_a_handful_of_right_answers_makes_nobody_certain() -> None:
    logits = np.eye(3)[[0, 1, 2, 0, 1]] * 2.0
    assert 0.25 < fit_temperature(logits, np.array([0, 1, 2, 0, 1])) < 1
    assert 1 < fit_temperature(logits, np.array([1, 2, 0, 1, 2])) < 10


def test_no_examples_leave_things_as_they_are() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1.0


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(Invalid, match="can't calibrate"):
        fit_temperature(np.zeros((3, 2)), np.zeros(2, int))
    with pytest.raises(Invalid, match="can't calibrate"):
        fit_temperature(np.full((2, 2), np.nan), np.zeros(2, int))


def test_every_class_is_spread_over_the_folds() -> None:
    y = np.array([0] * 50 + [1] * 7 + [2])
    folds = stratified_folds(y, 5, seed=3)
    assert sorted(np.bincount(folds)) == [11, 11, 12, 12, 12]
    assert set(np.bincount(folds[y == 0])) == {10}
    assert np.bincount(folds[y == 1], minlength=5).max() == 2
    assert np.array_equal(folds, stratified_folds(y, 5, seed=3))
    assert not np.array_equal(folds, stratified_folds(y, 5, seed=4))
