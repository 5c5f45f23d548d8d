"""Density, expected gradients and exact sums, against plain readings of their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.selection import registry
from shared.selection.base import ShardScores
from shared.selection.gradient import expected_gradient_length
from shared.selection.sums import FARTHEST, GRID, GridMatrix, add_in_order, in_columns, lengths, on_grid
from shared.selection.uncertainty import entropy


def pool_of(n: int, dim: int, seed: int, offset: float = 0.7) -> ShardScores:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(4), n).astype(np.float32)
    return ShardScores(rng.permutation(n), p, (offset + rng.normal(size=(n, dim))).astype(np.float32))


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_density_is_uncertainty_times_the_mean_cosine_to_the_pool(beta: float) -> None:
    pool = pool_of(120, 7, 1)
    x = pool.needed_features().astype(np.float64)
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    similarity = np.maximum((units @ units.T).mean(axis=1), 1e-6)
    expected = dict(zip(pool.ids.tolist(), entropy(pool.needed_probabilities()) * similarity**beta, strict=True))
    chosen = registry.make("density", measure="entropy", beta=beta).select(
        lambda: [pool], 120, np.random.default_rng(0)
    )
    assert chosen.scores == pytest.approx([expected[image] for image in chosen.ids.tolist()], rel=1e-4, abs=1e-7)


def test_density_passes_over_an_uncertain_outlier_and_an_image_without_a_direction() -> None:
    features = np.tile(np.array([1.0, 0.0], np.float32), (10, 1))
    features[3], features[4] = (-5, 0.1), (0, 0)
    p = np.full((10, 2), 0.5, np.float32)
    p[5:] = (0.8, 0.2)
    chosen = registry.make("density").select(
        lambda: [ShardScores(np.arange(10), p, features)], 8, np.random.default_rng(0)
    )
    assert not {3, 4} & set(chosen.ids.tolist())


def test_expected_gradient_length_is_that_of_the_gradients_written_out() -> None:
    pool = pool_of(40, 6, 2)
    p, h = pool.needed_probabilities().astype(np.float64), pool.needed_features().astype(np.float64)
    expected = [
        sum(
            p[row, label] * np.linalg.norm(np.outer(p[row] - np.eye(4)[label], np.append(h[row], 1.0)))
            for label in range(4)
        )
        for row in range(40)
    ]
    assert expected_gradient_length(pool.needed_probabilities(), pool.needed_features()) == pytest.approx(
        expected, rel=1e-6
    )


def test_the_gradient_is_that_of_the_cross_entropy() -> None:
    rng = np.random.default_rng(3)
    weight, h, step = rng.normal(size=(4, 7)), np.append(rng.normal(size=6), 1.0), 1e-6

    def loss(w: np.ndarray, label: int) -> float:
        logits = w @ h
        return float(np.log(np.exp(logits).sum()) - logits[label])

    p = np.exp(weight @ h) / np.exp(weight @ h).sum()
    total = 0.0
    for label in range(4):
        gradient = np.zeros_like(weight)
        for at in np.ndindex(weight.shape):
            nudge = np.zeros_like(weight)
            nudge[at] = step
            gradient[at] = (loss(weight + nudge, label) - loss(weight - nudge, label)) / (2 * step)
        total += p[label] * np.linalg.norm(gradient)
    ours = expected_gradient_length(p[None].astype(np.float32), h[None, :6].astype(np.float32))
    assert ours.tolist() == pytest.approx([total], rel=1e-5)


def test_a_certain_image_would_move_nothing() -> None:
    assert expected_gradient_length(np.eye(3, dtype=np.float32), np.ones((3, 2), np.float32)).tolist() == [0, 0, 0]


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 1000))
@settings(deadline=None)
def test_sums_and_products_of_a_row_are_the_same_to_the_last_bit_in_any_company(n: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, dim)).astype(np.float32)
    matrix = GridMatrix.of(rng.normal(size=(dim, dim)))
    ((_, columns),) = in_columns(rows)
    for row in range(n):
        ((_, alone),) = in_columns(rows[row : row + 1])
        assert lengths(alone)[0] == lengths(columns)[row]
        assert matrix.quadratic(on_grid(alone))[0] == matrix.quadratic(on_grid(columns))[row]
        assert add_in_order(alone)[0] == add_in_order(columns)[row]


def test_products_on_the_grid_are_exact_at_their_worst() -> None:
    dim = 2048
    edge = on_grid(np.full((dim, 3), 2 * FARTHEST))
    matrix = GridMatrix.of(np.ones((dim, dim)))
    whole = int(matrix.values[0, 0]) * int(FARTHEST * GRID) * dim
    assert whole <= 2**53
    assert (matrix.values @ edge == float(whole)).all()


def test_quadratic_forms_are_those_of_the_matrix_but_for_its_rounding() -> None:
    rng = np.random.default_rng(4)
    root, z = rng.normal(size=(50, 50)), rng.normal(size=(50, 20))
    expected = np.einsum("ij,ik,kj->j", z, root @ root.T, z)
    assert GridMatrix.of(root @ root.T).quadratic(on_grid(z)) == pytest.approx(expected, rel=1e-3)
