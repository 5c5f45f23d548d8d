"""The flagship against a plain reading of its definition, and its distances against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Invalid
from shared.selection.base import ShardScores
from shared.selection.clusters import exact_distances, kmeans, rows_that_may_be_nearest
from shared.selection.hybrid import Hybrid
from shared.selection.topk import Candidates, merge, top
from shared.selection.uncertainty import margin


def pool_of(n: int, seed: int, dim: int = 5) -> ShardScores:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(3), n).astype(np.float32)
    return ShardScores(rng.permutation(n).astype(np.int64), probabilities, rng.normal(size=(n, dim)).astype(np.float32))


def brute_force(pool: ShardScores, k: int, alpha: float, clusters: int, seed: int) -> list[int]:
    """Both steps by full sorts over the whole pool."""
    features = pool.needed_features()
    uncertainty = margin(pool.needed_probabilities())
    by_uncertainty = sorted(range(len(pool.ids)), key=lambda row: (-uncertainty[row], pool.ids[row]))
    chosen = by_uncertainty[: round(alpha * k)]
    in_id_order = sorted(chosen, key=lambda row: pool.ids[row])
    centres = kmeans(features[in_id_order], clusters, int(np.random.default_rng(seed).integers(2**31 - 1)))
    distance = ((features[:, None].astype(float) - centres[None].astype(float)) ** 2).sum(axis=2).min(axis=1)
    rest = sorted(set(range(len(pool.ids))) - set(chosen), key=lambda row: (distance[row], pool.ids[row]))
    return [int(pool.ids[row]) for row in chosen + rest[: k - len(chosen)]]


@pytest.mark.parametrize(("k", "alpha", "clusters"), [(40, 0.5, 5), (40, 0.25, 20), (10, 0.9, 1), (200, 0.3, 7)])
def test_it_selects_what_its_definition_says(k: int, alpha: float, clusters: int) -> None:
    pool = pool_of(400, seed=k)
    chosen = Hybrid(alpha=alpha, clusters=clusters).select(lambda: [pool], k, np.random.default_rng(3))
    assert chosen.ids.tolist() == brute_force(pool, k, alpha, clusters, seed=3)


def test_scores_are_the_measure_for_the_uncertain_and_minus_the_distance_for_the_near() -> None:
    chosen = Hybrid(alpha=0.5, clusters=3).select(lambda: [pool_of(200, 1)], 20, np.random.default_rng(0))
    assert (chosen.scores[:10] > 0).all()
    assert (chosen.scores[10:] <= 0).all()
    assert (np.diff(chosen.scores[10:]) <= 0).all()


def test_alpha_one_is_the_measure_alone_and_needs_one_pass() -> None:
    pool, passes = pool_of(100, 2), []

    def shards() -> list[ShardScores]:
        passes.append(1)
        return [pool]

    chosen = Hybrid(alpha=1.0).select(shards, 15, np.random.default_rng(0))
    expected = top(Candidates(pool.ids, margin(pool.needed_probabilities())), 15)
    assert chosen.ids.tolist() == expected.ids.tolist()
    assert len(passes) == 1


def test_alpha_zero_asks_what_lies_nearest_to_the_kinds_of_the_most_uncertain() -> None:
    """Two kinds of images; only the kind at 100 is uncertain, so all that is asked lies there."""
    features = np.concatenate((np.zeros((50, 2)), np.full((50, 2), 100.0))).astype(np.float32)
    features += np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    sure = np.concatenate((np.full(50, 0.99), np.linspace(0.5, 0.9, 50))).astype(np.float32)
    pool = ShardScores(np.arange(100), np.stack((sure, 1 - sure), axis=1), features)
    chosen = Hybrid(alpha=0.0, clusters=1).select(lambda: [pool], 10, np.random.default_rng(0))
    assert len(chosen.ids) == 10
    assert chosen.ids.min() >= 50
    assert chosen.ids.tolist() != list(range(50, 60)), "by nearness, not by uncertainty"


def test_features_of_different_widths_are_refused() -> None:
    with pytest.raises(Invalid, match="different widths"):
        Hybrid().select(lambda: [pool_of(30, 0, dim=4), pool_of(30, 1, dim=5)], 10, np.random.default_rng(0))


def test_kmeans_gives_the_same_centres_every_time_and_finds_separate_groups() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(at, 0.1, (30, 4)) for at in (0, 5, 10)]).astype(np.float32)
    first, second = kmeans(points, 3, seed=1), kmeans(points, 3, seed=1)
    assert first.tobytes() == second.tobytes()
    assert sorted(np.rint(first.mean(axis=1)).tolist()) == [0, 5, 10]


@pytest.mark.parametrize("n", [1, 3, 5])
def test_kmeans_of_few_points_makes_as_many_centres_as_it_can(n: int) -> None:
    points = np.arange(n * 2, dtype=np.float32).reshape(n, 2)
    assert kmeans(points, 5, seed=0).shape == (n, 2)


def test_kmeans_bears_points_that_are_all_the_same() -> None:
    assert np.isfinite(kmeans(np.ones((20, 3), np.float32), 4, seed=0)).all()


@given(
    n=st.integers(1, 60),
    dim=st.integers(1, 40),
    k=st.integers(1, 70),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    offset=st.sampled_from([0.0, 1e4]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_the_fast_filter_never_loses_one_of_the_k_nearest(
    n: int, dim: int, k: int, scale: float, offset: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = (offset + scale * np.round(rng.normal(size=(n, dim)), 1)).astype(np.float32)
    centres = (offset + scale * rng.normal(size=(min(n, 4), dim))).astype(np.float32)
    kept = rows_that_may_be_nearest(points, centres, k)
    exact = exact_distances(points, centres)
    everything, filtered = Candidates(np.arange(n), -exact), Candidates(kept, -exact_distances(points[kept], centres))
    assert top(filtered, k).ids.tolist() == top(everything, k).ids.tolist()


def test_the_filter_leaves_little_more_than_k() -> None:
    points = np.random.default_rng(0).normal(size=(5000, 64)).astype(np.float32)
    assert len(rows_that_may_be_nearest(points, points[:20], 100)) == 100


def test_a_points_distance_is_the_same_in_any_company() -> None:
    rng = np.random.default_rng(0)
    points, centres = rng.normal(size=(97, 131)).astype(np.float32), rng.normal(size=(7, 131)).astype(np.float32)
    together = exact_distances(points, centres)
    assert together.tolist() == [exact_distances(points[row : row + 1], centres)[0] for row in range(97)]
    plain = ((points[:, None].astype(float) - centres[None]) ** 2).sum(axis=2).min(axis=1)
    assert together == pytest.approx(plain, rel=1e-12)


@given(scores=st.lists(st.sampled_from([0.0, 0.5, 1.0, -2.0]), min_size=0, max_size=30), k=st.integers(0, 35))
def test_top_agrees_with_a_full_sort(scores: list[float], k: int) -> None:
    ids = np.random.default_rng(len(scores)).permutation(len(scores)).astype(np.int64)
    best = top(Candidates(ids, np.array(scores)), k)
    expected = sorted(zip([-score for score in scores], ids.tolist(), strict=True))[:k]
    assert list(zip((-best.scores).tolist(), best.ids.tolist(), strict=True)) == expected


def test_a_score_that_is_not_a_number_is_refused_with_the_image() -> None:
    with pytest.raises(Invalid, match="image 8 "):
        merge([Candidates(np.array([4, 8]), np.array([1.0, np.nan]))], 1)
