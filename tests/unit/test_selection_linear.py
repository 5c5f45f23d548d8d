"""The linear head and what is reckoned with it, against fits done anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from shared.errors import Invalid
from shared.selection import error_reduction, registry
from shared.selection.base import Labelled, ShardScores
from shared.selection.error_reduction import choose, reductions
from shared.selection.linear import LinearHead, fit_head
from shared.selection.sums import add_up
from shared.selection.topk import Candidates
from shared.selection.variance import Variance, information, map_moments, map_reducing, prepare

WITH_A_HEAD = ["variance", "error_reduction", "synthesis"]


def labelled_of(m: int, dim: int, classes: int = 3, seed: int = 0) -> Labelled:
    """Classes that overlap, with features of very different scales."""
    rng = np.random.default_rng(seed)
    y = np.arange(m) % classes
    centres = rng.normal(size=(classes, dim))
    x = (centres[y] + 0.8 * rng.normal(size=(m, dim))) * np.linspace(0.5, 3, dim) + 2
    return Labelled(np.arange(m), y, classes, x.astype(np.float32))


def pool_of(n: int, dim: int, classes: int = 3, seed: int = 1) -> ShardScores:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), n).astype(np.float32)
    return ShardScores(np.arange(n) + 1000, p, (2 + 2 * rng.normal(size=(n, dim))).astype(np.float32))


def rows_of(head: LinearHead, features: np.ndarray) -> np.ndarray:
    """(n, D + 1), with the ones."""
    return head.standardised(features.T.astype(np.float64)).T


def refitted(rows: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    held = penalty * np.eye(rows.shape[1])
    held[0, 0] = 0
    return np.asarray(np.linalg.solve(rows.T @ rows + held, rows.T @ targets))


@pytest.mark.parametrize(("m", "dim"), [(60, 5), (12, 40), (30, 30)])
def test_the_head_is_the_ridge_of_scikit_learn(m: int, dim: int) -> None:
    labelled = labelled_of(m, dim)
    head = fit_head(labelled)
    targets = np.where(labelled.classes[:, None] == np.arange(3), 1.0, -1.0)
    theirs = Ridge(alpha=head.penalty, solver="svd").fit(head.rows[:, 1:], targets)
    pool = pool_of(20, dim).needed_features()
    assert head.outputs(pool) == pytest.approx(theirs.predict(rows_of(head, pool)[:, 1:]), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("m", "dim"), [(40, 5), (12, 40)])
def test_what_is_left_out_is_as_if_fitted_without_it(m: int, dim: int) -> None:
    labelled = labelled_of(m, dim)
    head = fit_head(labelled)
    targets = np.where(labelled.classes[:, None] == np.arange(3), 1.0, -1.0)
    for image in range(m):
        others = np.arange(m) != image
        without = refitted(head.rows[others], targets[others], head.penalty)
        assert head.left_out[image] == pytest.approx(head.rows[image] @ without, abs=1e-6)


def test_outputs_sum_to_two_less_the_classes() -> None:
    head = fit_head(labelled_of(30, 6, classes=4))
    assert head.outputs(pool_of(50, 6).needed_features()).sum(axis=1) == pytest.approx(np.full(50, -2.0))


def test_a_feature_that_never_differs_among_the_labelled_is_scaled_by_a_tenth_of_the_typical_deviation() -> None:
    labelled = labelled_of(10, 4)
    assert labelled.features is not None
    labelled.features[:, 2] = 1.0
    pool = pool_of(100, 4).needed_features()
    typical = np.sqrt(labelled.features.astype(np.float64).var(axis=0).mean())
    spread = rows_of(fit_head(labelled), pool).std(axis=0)
    assert spread[3] == pytest.approx(pool[:, 2].std() / (0.1 * typical), rel=1e-5)


@pytest.mark.parametrize("head_kind", ["ridge", "softmax"])
def test_variance_chooses_one_by_one_what_makes_the_mean_variance_of_the_pool_fall_most(head_kind: str) -> None:
    labelled, pool = labelled_of(40, 5), pool_of(60, 5)
    head = fit_head(labelled)
    chosen = registry.make("variance", head=head_kind).select(lambda: [pool], 12, np.random.default_rng(0), labelled)
    x, p = rows_of(head, pool.needed_features()), pool.needed_probabilities().astype(np.float64)
    g, known = np.ones(60), np.ones(40)
    if head_kind == "softmax":
        q = np.clip((1 + head.left_out) / 2, 0, 1)
        g, known = (p * (1 - p)).sum(axis=1), np.maximum((q * (1 - q)).sum(axis=1), 1e-6)
    now = (head.rows * (known / known.mean())[:, None]).T @ head.rows + head.penalty * np.diag([0, 1, 1, 1, 1, 1])
    moments = (x * g[:, None]).T @ x / 60
    left, expected, falls = set(range(60)), [], []
    for _ in range(12):
        after = {row: now + g[row] / known.mean() * np.outer(x[row], x[row]) for row in left}
        variance = {row: float(np.trace(np.linalg.inv(after[row]) @ moments)) for row in left}
        best = min(left, key=variance.__getitem__)
        expected.append(int(pool.ids[best]))
        falls.append(float(np.trace(np.linalg.inv(now) @ moments)) - variance[best])
        left, now = left - {best}, after[best]
    assert chosen.ids.tolist() == expected
    assert chosen.scores == pytest.approx(falls, rel=1e-3)


def test_variance_chooses_among_the_best_and_at_least_two_batches() -> None:
    labelled, pool, ones = labelled_of(24, 5), pool_of(200, 5), np.ones(200)
    head = fit_head(labelled)
    moments = add_up([map_moments(pool, head, ones)])
    assert moments is not None
    best = map_reducing(pool, prepare(head, moments, np.ones(24), 1.0), ones, 20)
    few = Variance(head="ridge", candidates=1).select(lambda: [pool], 10, np.random.default_rng(0), labelled)
    assert set(few.ids.tolist()) <= set(best.ids.tolist())


def test_the_information_of_two_classes_is_that_of_logistic_regression() -> None:
    p = np.array([[0.3, 0.7], [0.5, 0.5], [1.0, 0.0]], np.float32)
    assert information(p) == pytest.approx([2 * 0.21, 2 * 0.25, 0.0], abs=1e-7)


def test_the_partial_results_of_variance_may_be_added_in_any_order() -> None:
    labelled, pool = labelled_of(40, 5), pool_of(61, 5)
    head, g = fit_head(labelled), information(pool.needed_probabilities())
    pieces = [map_moments(pool.take(rows), head, g[rows]) for rows in np.array_split(np.arange(61), 9)]
    one, other = add_up(pieces), add_up(reversed(pieces))
    assert one is not None and other is not None
    results = [
        map_reducing(pool, prepare(head, total, np.ones(40), 1.0), g, 61).scores.tolist() for total in (one, other)
    ]
    assert results[0] == results[1]


def test_error_reduction_chooses_one_by_one_what_heads_fitted_anew_with_each_label_say_is_best() -> None:
    labelled, pool, rest = labelled_of(24, 5), pool_of(12, 5), pool_of(30, 5, seed=2)
    head = fit_head(labelled)
    u, x = rows_of(head, rest.needed_features()), rows_of(head, pool.needed_features())
    p = pool.needed_probabilities().astype(float)
    known, targets = head.rows, np.where(labelled.classes[:, None] == np.arange(3), 1.0, -1.0)

    def risk(weight: np.ndarray) -> float:
        return float(np.mean(1 - np.minimum(1, (1 + (u @ weight).max(axis=1)) / 2)))

    def with_label(row: int, label: int) -> tuple[np.ndarray, np.ndarray]:
        return np.vstack((known, x[row])), np.vstack((targets, np.where(np.arange(3) == label, 1.0, -1.0)))

    def reduction(row: int) -> float:
        after = [risk(refitted(*with_label(row, label), head.penalty)) for label in range(3)]
        return risk(refitted(known, targets, head.penalty)) - float(np.dot(p[row] / p[row].sum(), after))

    expected, scores = list[int](), list[float]()
    for _ in range(5):
        best = max(set(range(12)) - set(expected), key=reduction)
        scores.append(reduction(best))
        expected.append(best)
        known, targets = with_label(best, int(p[best].argmax()))
    candidates = Candidates(pool.ids, np.zeros(12), pool.features, pool.probabilities)
    chosen = choose(head, candidates, Candidates(rest.ids, np.zeros(30), rest.features), 5)
    assert chosen.ids.tolist() == pool.ids[expected].tolist()
    assert chosen.scores == pytest.approx(scores, abs=2e-9)


def test_error_reduction_chooses_more_at_a_time_where_one_by_one_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    labelled, pool = labelled_of(24, 5), pool_of(200, 5)
    seen = []

    def counted(*given: Any) -> np.ndarray:
        seen.append(1)
        return reductions(*given)

    monkeypatch.setattr(error_reduction, "reductions", counted)
    for work, times in ((10**9, 20), (3 * 200 * 200 * 3 * 3, 3), (1, 1)):
        monkeypatch.setattr(error_reduction, "WORK", work)
        chosen = registry.make("error_reduction").select(lambda: [pool], 20, np.random.default_rng(0), labelled)
        assert (len(seen), len(set(chosen.ids.tolist()))) == (times, 20)
        seen.clear()


def test_error_reduction_tries_the_most_uncertain_and_at_least_two_batches() -> None:
    labelled, pool = labelled_of(24, 5), pool_of(200, 5)
    margin = registry.make("margin").select(lambda: [pool], 20, np.random.default_rng(0)).ids
    chosen = registry.make("error_reduction", candidates=1).select(
        lambda: [pool], 10, np.random.default_rng(0), labelled
    )
    assert set(chosen.ids.tolist()) <= set(margin.tolist())


@pytest.mark.parametrize("name", WITH_A_HEAD)
@pytest.mark.parametrize("labels", [0, 1, 5])
def test_with_fewer_than_two_labelled_classes_it_is_margin(name: str, labels: int) -> None:
    features = np.ones((labels, 5), np.float32)
    labelled = Labelled(np.arange(labels), np.zeros(labels, np.int64), 3, features)
    pool = pool_of(50, 5)
    margin = registry.make("margin").select(lambda: [pool], 10, np.random.default_rng(0))
    chosen = registry.make(name).select(lambda: [pool], 10, np.random.default_rng(0), labelled)
    assert chosen.ids.tolist() == margin.ids.tolist()


@pytest.mark.parametrize("name", WITH_A_HEAD)
def test_features_of_the_labelled_that_are_missing_bad_or_of_another_width_are_told(name: str) -> None:
    pool = pool_of(20, 5)
    missing = Labelled(np.arange(4), np.arange(4) % 2, 3)
    bad = Labelled(np.arange(4), np.arange(4) % 2, 3, np.full((4, 5), np.nan, np.float32))
    narrow = labelled_of(6, 4)
    for labelled, said in ((missing, "needs the features"), (bad, "not finite"), (narrow, "different widths")):
        with pytest.raises(Invalid, match=said):
            registry.make(name).select(lambda: [pool], 5, np.random.default_rng(0), labelled)


@given(st.integers(2, 12), st.integers(1, 8), st.integers(0, 100), st.booleans())
@settings(max_examples=60, deadline=None)
def test_heads_of_few_or_equal_images_are_finite(m: int, dim: int, seed: int, equal: bool) -> None:
    labelled = labelled_of(m, dim, classes=2, seed=seed)
    assert labelled.features is not None
    if equal:
        labelled.features[:] = labelled.features[0]
    head = fit_head(labelled)
    assert np.isfinite(head.weight).all() and np.isfinite(head.left_out).all()
    pool = pool_of(20, dim, classes=2)
    for kind in ("ridge", "softmax"):
        chosen = registry.make("variance", head=kind).select(lambda: [pool], 5, np.random.default_rng(0), labelled)
        assert np.isfinite(chosen.scores).all()
