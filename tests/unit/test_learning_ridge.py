"""Ridge regression: the solution, the exact leaving out, and the search by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from shared.learning.ridge import GRID, RidgeFit, fit_ridge
from tests.unit.learning_support import blobs


def logits(fit: RidgeFit, x: np.ndarray) -> np.ndarray:
    standard = (torch.from_numpy(np.asarray(x, np.float64)) - fit.mean) / fit.std
    said: np.ndarray = (standard @ fit.weight.T + fit.bias).numpy()
    return said


def standardised(fit: RidgeFit, x: np.ndarray) -> np.ndarray:
    standard: np.ndarray = (np.asarray(x, np.float64) - fit.mean.numpy()) / fit.std.numpy()
    return standard


def targets(y: np.ndarray, n_classes: int = 3) -> np.ndarray:
    out: np.ndarray = 2 * np.eye(n_classes)[y] - 1
    return out


@pytest.mark.parametrize(("n", "dim"), [(60, 20), (15, 40), (30, 30)], ids=["tall", "wide", "square"])
@pytest.mark.parametrize("penalty", [0.01, 3.0, 1000.0])
def test_it_solves_the_same_problem_as_scikit_learn(n: int, dim: int, penalty: float) -> None:
    x, y = blobs(n, dim=dim)
    fit = fit_ridge(x, y, n_classes=3, penalty=penalty)
    peer = Ridge(alpha=penalty, solver="svd").fit(standardised(fit, x), targets(y))
    assert fit.weight.numpy() == pytest.approx(peer.coef_, abs=1e-6)
    assert logits(fit, x) == pytest.approx(peer.predict(standardised(fit, x)), abs=1e-6)


@pytest.mark.parametrize(("n", "dim"), [(25, 6), (12, 40)], ids=["tall", "wide"])
@pytest.mark.parametrize("penalty", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_left_out_is_what_a_fit_without_it_says(n: int, dim: int, penalty: float, weighted: bool) -> None:
    x, y = blobs(n, dim=dim)
    weights = np.random.default_rng(1).uniform(0.5, 2, n) if weighted else None
    fit = fit_ridge(x, y, n_classes=3, penalty=penalty, weights=weights)
    z = standardised(fit, x)
    for one in range(n):
        rest = np.arange(n) != one
        sample = None if weights is None else weights[rest]
        without = Ridge(alpha=penalty, solver="svd").fit(z[rest], targets(y)[rest], sample_weight=sample)
        assert fit.left_out[one] == pytest.approx(without.predict(z[[one]])[0], abs=1e-5)


@pytest.mark.parametrize(("n", "dim"), [(60, 20), (20, 60)])
def test_the_search_finds_the_least_leave_one_out_error(n: int, dim: int) -> None:
    x, y = blobs(n, dim=dim)
    x = x + np.random.default_rng(5).normal(size=x.shape).astype(np.float32) * 3
    found = fit_ridge(x, y, n_classes=3)
    fine = [fit_ridge(x, y, n_classes=3, penalty=n * 10.0**p).loo_error for p in np.arange(GRID[0], GRID[-1], 0.1)]
    assert found.loo_error <= min(fine) + 1e-6


def test_a_weight_of_two_is_the_example_twice() -> None:
    x, y = blobs(30)
    twice = np.concatenate((np.arange(30), np.arange(10)))
    weights = np.where(np.arange(30) < 10, 2.0, 1.0)
    doubled = fit_ridge(x[twice], y[twice], n_classes=3, penalty=2.0)
    weighted = fit_ridge(x, y, n_classes=3, penalty=2.0, weights=weights)
    assert logits(weighted, x) == pytest.approx(logits(doubled, x), abs=1e-6)


def test_it_bears_absent_classes_constant_features_and_single_examples() -> None:
    x, y = blobs(9)
    x[:, 3] = 7.0
    for rows in (slice(0, 9), slice(0, 1), slice(0, 2)):
        fit = fit_ridge(x[rows], y[rows], n_classes=5)
        assert np.isfinite(logits(fit, x)).all() and np.isfinite(fit.left_out).all()
        assert 0.01 <= fit.temperature <= 100


def test_the_probabilities_of_left_out_examples_are_honest() -> None:
    rng = np.random.default_rng(3)
    x, y = blobs(600)
    y = np.where(rng.random(600) < 0.3, rng.integers(0, 3, 600), y)
    fit = fit_ridge(x, y, n_classes=3)
    scores = np.exp(logits(fit, blobs(600, 9)[0]) / fit.temperature)
    confidence = (scores / scores.sum(axis=1, keepdims=True)).max(axis=1).mean()
    assert confidence == pytest.approx(0.8, abs=0.06), "seven in ten labels are right, and a third of the others"
