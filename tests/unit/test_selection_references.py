"""The strategies over features against their papers' definitions, written out plainly and without any care for size.

Features and probabilities here are multiples of a power of two, which a grid holds exactly, so that the plain way and
ours must agree to the last choice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.selection.base import Labelled, Selection, ShardScores
from shared.selection.clusters import group, kmeans
from shared.selection.coverage import Coverage, Neighbours, greedy_cover, squared_radius
from shared.selection.greedy import Badge, Coreset, Gradients, furthest_first
from shared.selection.grid import Grid, nearest, squared_distances
from shared.selection.plusplus import plus_plus
from shared.selection.turns import ClusterMargin, KMeans, TypiClust
from shared.selection.uncertainty import hash_to_unit, margin

Array = npt.NDArray[np.float64]


def coarse(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    return (np.round(16 * rng.normal(size=shape)) / 16).astype(np.float32)


def coarse_probabilities(rng: np.random.Generator, n: int, classes: int) -> npt.NDArray[np.float32]:
    return (rng.multinomial(256, rng.dirichlet(np.ones(classes)), n) / 256).astype(np.float32)


def all_distances(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Array:
    return np.asarray(((a[:, None].astype(float) - b[None].astype(float)) ** 2).sum(axis=2))


def blobs(sizes: list[int], dim: int = 6) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Groups far from each other, and which of them each point is of."""
    rng = np.random.default_rng(4)
    of = np.repeat(np.arange(len(sizes)), sizes)
    centres = 20 * np.eye(len(sizes), dim)
    return (centres[of] + coarse(rng, len(of), dim)).astype(np.float32), of


def chosen_by(
    strategy: Coreset | Badge | TypiClust | Coverage | KMeans | ClusterMargin,
    pool: ShardScores,
    k: int,
    labelled: Labelled,
    seed: int = 0,
) -> Selection:
    return strategy.select(lambda: [pool], k, np.random.default_rng(seed), labelled)


@given(dim=st.integers(1, 70), scale=st.sampled_from([1e-20, 1.0, 1e18]), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_distances_on_a_grid_are_exact_and_close_to_the_true_ones(dim: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (scale * rng.normal(size=(n, dim)) for n in (23, 9))
    grid = Grid.of(a.astype(np.float32), b.astype(np.float32))
    on_a, on_b = grid.place(a.astype(np.float32)), grid.place(b.astype(np.float32))
    found = squared_distances(on_a, on_b)
    whole = [[sum((int(x) - int(y)) ** 2 for x, y in zip(p, q, strict=True)) for q in on_b] for p in on_a]
    assert found.astype(object).tolist() == whole
    assert np.sqrt(found) * grid.unit == pytest.approx(np.sqrt(all_distances(a, b)), rel=1e-3, abs=1e-5 * scale)
    assert nearest(on_a, on_b).tolist() == found.min(axis=1).tolist()


def test_a_grid_fits_the_largest_vector_there_may_be() -> None:
    points = np.full((2, 1280), 3.0e38, np.float32) * np.array([[1], [-1]], np.float32)
    placed = Grid.of(points).place(points)
    assert squared_distances(placed, placed).max() == sum((int(a) - int(b)) ** 2 for a, b in zip(*placed, strict=True))
    assert float(squared_distances(placed, placed).max()) <= 2**53


@pytest.mark.parametrize("known", [0, 5])
@pytest.mark.parametrize(("n", "dim", "k"), [(700, 3, 600), (900, 12, 300), (40, 1, 40)])
def test_coreset_takes_the_furthest_each_time(n: int, dim: int, k: int, known: int) -> None:
    rng = np.random.default_rng(n + known)
    features, ids = coarse(rng, n, dim), rng.permutation(5 * n)[:n].astype(np.int64)
    labelled = Labelled(np.arange(known), np.zeros(known, np.int64), 2, coarse(rng, known, dim))
    found = chosen_by(Coreset(), ShardScores(ids, None, features), k, labelled)

    order = np.argsort(ids)
    points, near = features[order].astype(float), np.full(n, np.inf)
    if known:
        assert labelled.features is not None
        near = all_distances(points, labelled.features).min(axis=1)
    expected: list[int] = []
    key = np.random.default_rng(0).integers(2**64, dtype=np.uint64)
    for step in range(k):
        row = int(np.argmax(hash_to_unit(np.sort(ids), key))) if step == 0 and not known else int(np.argmax(near))
        expected.append(row)
        near = np.minimum(near, all_distances(points, points[row : row + 1])[:, 0])
        near[expected] = -1
    assert found.ids.tolist() == ids[order][expected].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_badge_draws_as_over_explicit_gradients(seed: int) -> None:
    """The same draws from the same numbers, over arrays of n x (C D), one kept draw after the other."""
    rng = np.random.default_rng(seed)
    n, classes, dim, k = 400, 5, 7, 120
    p, features = coarse_probabilities(rng, n, classes), coarse(rng, n, dim)
    found = chosen_by(Badge(), ShardScores(np.arange(n), p, features), k, Labelled.nothing(), seed)

    draws = np.random.default_rng(seed)
    draws.integers(2**64, dtype=np.uint64)  # the key of the candidates, who are all here
    gradients = ((p - np.eye(classes)[p.argmax(axis=1)])[:, :, None] * features[:, None, :].astype(float)).reshape(
        n, -1
    )
    distances = all_distances(gradients, gradients)
    expected = [int(np.argmax((gradients**2).sum(axis=1)))]
    while len(expected) < k:
        stale = distances[expected].min(axis=0)
        for place, keep in draws.random((256, 2)):
            row = int(np.searchsorted(np.cumsum(stale), place * stale.sum(), side="right"))
            if len(expected) < k and keep * stale[row] < distances[expected, row].min():
                expected.append(row)
    assert found.ids.tolist() == expected
    assert found.scores[1] == pytest.approx(distances[expected[0], expected[1]])


def test_badge_draws_each_next_image_by_its_distance_to_those_before() -> None:
    """Of many seeds, the share of each third image is what its squared distances say."""
    rng = np.random.default_rng(1)
    p, features = coarse_probabilities(rng, 6, 3), coarse(rng, 6, 2)
    gradients = Gradients.of(p, features)
    first = int(np.argmax(gradients.lengths))
    every = np.arange(6)
    distances = gradients.squared_distances(every, every)
    expected, seen = np.zeros((6, 6)), np.zeros((6, 6))
    for second in every:
        share = distances[first, second] / distances[first].sum()
        near = np.minimum(distances[first], distances[second])
        expected[second] = share * near / near.sum() if near.sum() else 0
    for seed in range(4000):
        rows, _ = plus_plus(gradients, first, 3, np.random.default_rng(seed))
        seen[rows[1], rows[2]] += 1 / 4000
    assert np.abs(seen - expected).max() < 4 * np.sqrt(0.25 / 4000)
    assert expected.sum() == pytest.approx(1)


def test_badge_never_draws_an_image_twice_and_ends_with_those_that_are_alike() -> None:
    same = np.ones((30, 4), np.float32)
    p = np.tile(np.array([[0.75, 0.25]], np.float32), (30, 1))
    found = chosen_by(Badge(), ShardScores(np.arange(30), p, same), 12, Labelled.nothing())
    assert found.ids.tolist() == list(range(12))
    assert found.scores[1:].tolist() == [0.0] * 11


def test_typiclust_asks_the_most_typical_of_the_largest_groups_without_labels() -> None:
    sizes = [60, 50, 45, 25, 70, 12]
    features, of = blobs(sizes)
    labelled = Labelled(np.arange(1000, 1002), np.array([0, 1]), 6, features[[0, 60]] + 0.125)
    found = chosen_by(TypiClust(), ShardScores(np.arange(len(of)), None, features), 4, labelled)

    roots = np.sign(features) * np.sqrt(np.abs(features))
    points = roots / np.linalg.norm(roots, axis=1, keepdims=True)
    expected = []
    for blob in (4, 2, 3, 5):  # by size; 0 and 1 have a label
        members = np.flatnonzero(of == blob)
        distances = np.sqrt(np.sort(all_distances(points[members], points[members]), axis=1))
        near = min(20, len(members) // 2)
        expected.append(int(members[np.argmin(distances[:, 1 : near + 1].mean(axis=1))]))
    assert found.ids.tolist() == expected


def test_typiclust_goes_round_again_and_leaves_outliers_for_the_end() -> None:
    features, of = blobs([30, 20, 2])
    strategy = TypiClust(groups=3)
    found = chosen_by(strategy, ShardScores(np.arange(52), None, features), 7, Labelled.nothing())
    assert of[found.ids].tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_cluster_margin_lets_groups_take_turns_from_the_smallest_up() -> None:
    features, of = blobs([70, 20, 10])
    p = np.random.default_rng(0).dirichlet(np.ones(3), 100).astype(np.float32)
    strategy = ClusterMargin(beta=5, groups=3)
    found = chosen_by(strategy, ShardScores(np.arange(100), p, features), 20, Labelled.nothing())
    ranked = [sorted(np.flatnonzero(of == blob), key=lambda row: (-margin(p)[row], row)) for blob in (2, 1, 0)]
    expected = [int(ranked[blob][turn]) for turn in range(7) for blob in range(3)][:20]
    assert found.ids.tolist() == expected


def test_cluster_margin_looks_at_the_smallest_margins_only() -> None:
    features, _ = blobs([50, 50])
    p = np.random.default_rng(0).dirichlet(np.ones(3), 100).astype(np.float32)
    found = chosen_by(ClusterMargin(beta=2), ShardScores(np.arange(100), p, features), 10, Labelled.nothing())
    assert set(found.ids.tolist()) <= set(np.argsort(-margin(p), kind="stable")[:20].tolist())


def test_kmeans_asks_the_image_nearest_to_each_centre() -> None:
    sizes = [40, 30, 20, 10]
    features, of = blobs(sizes)
    p = np.full((100, 2), 0.5, np.float32)
    found = chosen_by(KMeans(beta=30), ShardScores(np.arange(100), p, features), 4, Labelled.nothing())
    means = np.stack([features[of == blob].mean(axis=0) for blob in range(4)])
    distances = all_distances(features, means)
    assert of[found.ids].tolist() == [0, 1, 2, 3]
    # Centres are rounded to a thousandth of the longest vector.
    assert np.sqrt(distances[found.ids, range(4)]) == pytest.approx(np.sqrt(distances.min(axis=0)), abs=0.05)


def test_weights_draw_the_centres_towards_what_is_uncertain() -> None:
    points = np.linspace(0, 1, 101).astype(np.float32)[:, None]
    sure, unsure = (group(points, 1, 0, weights).centres[0, 0] for weights in (None, points[:, 0].astype(float) ** 4))
    assert sure == pytest.approx(0.5, abs=0.01)
    assert unsure == pytest.approx((points**5).sum() / (points**4).sum(), abs=0.03)


def test_kmeans_finds_many_kinds_of_which_none_is_near_another() -> None:
    features, of = blobs([20] * 12, dim=12)
    assert all(len(set(group(features, 12, seed=3).of[of == blob].tolist())) == 1 for blob in range(12))
    assert len(set(group(features, 12, seed=3).of.tolist())) == 12


def test_kmeans_is_not_spoilt_by_an_image_that_lies_far_out() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(at, 0.1, (50, 8)) for at in (0, 1)] + [np.full((1, 8), 1e3)])
    centres = kmeans(points.astype(np.float32), 3, seed=0)
    assert sorted(centres.mean(axis=1).round(1).tolist())[:2] == [0.0, 1.0]


@pytest.mark.parametrize("seed", range(3))
def test_coverage_takes_what_covers_most_of_the_rest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = np.round(40 * rng.normal(size=(300, 2))).astype(np.float32)
    radius, covered = 900.0, rng.random(300) < 0.2
    rows, gains = greedy_cover(Neighbours.within(points, radius), covered, 40)

    near = all_distances(points, points) < radius
    expected, left, gain = list[int](), ~covered, list[int]()
    for _ in range(40):
        gains_now = np.where(np.isin(np.arange(300), expected), -1, (near & left).sum(axis=1))
        if gains_now.max() <= 0:
            left = ~np.isin(np.arange(300), expected)
            gains_now = np.where(~left, -1, (near & left).sum(axis=1))
        expected.append(int(np.argmax(gains_now)))
        gain.append(int(gains_now.max()))
        left &= ~near[expected[-1]]
    assert rows.tolist() == expected
    assert gains.tolist() == gain


def test_coverage_begins_a_second_layer_when_all_is_covered() -> None:
    features, of = blobs([20, 15, 10])
    found = chosen_by(Coverage(), ShardScores(np.arange(45), None, features), 6, Labelled.nothing(3))
    assert sorted(of[found.ids[:3]].tolist()) == [0, 1, 2]
    assert len(set(found.ids.tolist())) == 6


def test_coverage_leaves_what_labelled_images_cover() -> None:
    features, of = blobs([40, 30, 20])
    labelled = Labelled(np.array([900]), np.array([0]), 3, features[:1])
    found = chosen_by(Coverage(), ShardScores(np.arange(90), None, features), 2, labelled)
    assert set(of[found.ids].tolist()) == {1, 2}


def test_the_radius_of_coverage_leaves_the_wanted_share_of_balls_pure() -> None:
    features, of = blobs([80, 80, 80], dim=3)
    features[:4] += features[100] - features[0]  # some images of the first kind in the midst of the second
    points = Grid.of(features).place(features)
    near = all_distances(points, points)
    for purity in (0.8, 0.95):
        radius = squared_radius(points, of, purity)
        pure = [not (of[row < radius] != of[at]).any() for at, row in enumerate(near)]
        assert np.mean(pure) >= purity
        wider = [not (of[row <= radius] != of[at]).any() for at, row in enumerate(near)]
        assert np.mean(wider) < purity or radius == squared_radius(points, np.zeros_like(of), purity)


@pytest.mark.parametrize("strategy", [Coreset(candidates=40), TypiClust(candidates=40)])
def test_a_cap_takes_an_unbiased_part_of_the_pool(strategy: Coreset | TypiClust) -> None:
    pool = ShardScores(np.arange(4000), None, coarse(np.random.default_rng(0), 4000, 3))
    asked = [chosen_by(strategy, pool, 10, Labelled.nothing(3), seed).ids for seed in range(40)]
    assert all(50 < count < 150 for count in np.bincount(np.concatenate(asked) // 1000, minlength=4))


@pytest.mark.parametrize("strategy", [Coreset(candidates=5), Badge(candidates=5), Coverage(candidates=5)])
def test_a_cap_below_the_batch_is_raised(strategy: Coreset | Badge | Coverage) -> None:
    rng = np.random.default_rng(0)
    pool = ShardScores(np.arange(4000), coarse_probabilities(rng, 4000, 3), coarse(rng, 4000, 3))
    assert len(chosen_by(strategy, pool, 200, Labelled.nothing(3)).ids) == 200


def test_rows_equal_to_chosen_ones_come_last_by_their_order() -> None:
    points = np.array([[0], [0], [4], [4], [9]], np.float32)
    rows, distances = furthest_first(points, points[:1], np.empty(0, np.int64), 5)
    assert rows.tolist() == [4, 2, 0, 1, 3]
    assert distances.tolist() == [81.0, 16.0, 0.0, 0.0, 0.0]
