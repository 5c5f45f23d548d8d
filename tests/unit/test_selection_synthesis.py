"""Points that the head makes up, and the images nearest to them, against plain readings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.selection import neighbours, registry
from shared.selection.base import Labelled, ShardScores
from shared.selection.linear import fit_head
from shared.selection.neighbours import Neighbours, join, nearest
from shared.selection.synthesis import boundary_points, take_turns


def labelled_of(m: int, dim: int, classes: int = 3, apart: float = 3.0) -> Labelled:
    rng = np.random.default_rng(0)
    y = np.arange(m) % classes
    x = apart * rng.normal(size=(classes, dim))[y] + rng.normal(size=(m, dim))
    return Labelled(np.arange(m), y, classes, x.astype(np.float32))


def pool_of(n: int, dim: int, seed: int = 1) -> ShardScores:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), n).astype(np.float32)
    return ShardScores(rng.permutation(n) + 500, p, (2 * rng.normal(size=(n, dim))).astype(np.float32))


def test_the_head_is_undecided_between_two_classes_at_every_point() -> None:
    labelled = labelled_of(60, 6)
    head = fit_head(labelled)
    assert (head.outputs(labelled.features).argmax(axis=1) == labelled.classes).all()  # type: ignore[arg-type]
    points = boundary_points(head, labelled, 200, np.random.default_rng(0))
    best, second = np.sort(head.outputs(points), axis=1)[:, [-1, -2]].T
    assert best - second == pytest.approx(np.zeros(200), abs=1e-5)


def test_a_pair_that_the_head_puts_into_one_class_gives_its_middle() -> None:
    # Nothing tells these apart but the number of labels, so the head always says 0.
    features = np.array([[1, 2], [1, 2], [1, 2]], np.float32)
    labelled = Labelled(np.arange(3), np.array([0, 0, 1]), 2, features)
    points = boundary_points(fit_head(labelled), labelled, 4, np.random.default_rng(0))
    assert points.tolist() == [[1, 2]] * 4


def test_rare_classes_are_drawn_as_often_as_common_ones() -> None:
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1, 2], [95, 95, 10])
    x = (10 * np.eye(3)[y] + 0.1 * rng.normal(size=(200, 3))).astype(np.float32)
    labelled = Labelled(np.arange(200), y, 3, x)
    points = boundary_points(fit_head(labelled), labelled, 900, np.random.default_rng(0))
    with_the_rare = (points[:, 2] > 3).mean()
    assert 0.6 < with_the_rare < 0.73  # two of the three pairs of classes


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 8), st.integers(0, 500), st.integers(1, 70))
@settings(deadline=None, max_examples=80)
def test_the_nearest_images_are_those_of_a_full_sort_ties_by_id(
    n: int, points: int, each: int, seed: int, cut: int
) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.permutation(n).astype(np.int64)
    features = np.round(rng.normal(size=(n, 3))).astype(np.float32)
    centres = np.round(rng.normal(size=(points, 3))).astype(np.float32)
    exact = ((features[None].astype(float) - centres[:, None].astype(float)) ** 2).sum(axis=2)
    expected = [ids[np.lexsort((ids, exact[point]))][:each].tolist() for point in range(points)]
    found = Neighbours.none()
    for start in range(0, n, cut):
        found = join(found, nearest(centres, ids[start : start + cut], features[start : start + cut], each), each)
    assert [found.ids[found.points == point].tolist() for point in range(points)] == expected


def test_blocks_of_a_large_shard_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, points = pool_of(500, 4), pool_of(7, 4, seed=2).needed_features()
    whole = nearest(points, pool.ids, pool.needed_features(), 5)
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 8 * 7 * 33)
    pieces = nearest(points, pool.ids, pool.needed_features(), 5)
    assert pieces.ids.tolist() == whole.ids.tolist()
    assert pieces.distances.tolist() == whole.distances.tolist()


def test_points_take_turns_and_no_image_twice() -> None:
    points, ids = np.array([0, 0, 0, 1, 1, 1]), np.array([5, 6, 7, 5, 6, 8])
    near = Neighbours(points, ids, np.array([0.0, 1, 2, 0.5, 1.5, 3]))
    assert ids[take_turns(near, 2, 3)].tolist() == [5, 6, 7]
    assert sorted(ids[take_turns(near, 2, 10)].tolist()) == [5, 6, 7, 8]


def test_each_point_asks_its_nearest_image() -> None:
    labelled, pool = labelled_of(60, 6), pool_of(3000, 6)
    points = boundary_points(fit_head(labelled), labelled, 20, np.random.default_rng(4))
    chosen = registry.make("synthesis").select(lambda: [pool], 20, np.random.default_rng(4), labelled)
    exact = ((pool.needed_features()[None].astype(float) - points[:, None].astype(float)) ** 2).sum(axis=2)
    expected: list[int] = []
    for point in range(20):
        order = pool.ids[np.lexsort((pool.ids, exact[point]))].tolist()
        expected.append(next(image for image in order if image not in expected))
    assert chosen.ids.tolist() == expected


def test_what_points_that_share_their_neighbours_lack_is_asked_by_margin() -> None:
    # All labelled of a class are the same, so all points are the same one.
    features = np.array([[0, 0], [4, 0]] * 5, np.float32)
    labelled = Labelled(np.arange(10), np.arange(10) % 2, 3, features)
    pool = pool_of(300, 2)
    chosen = registry.make("synthesis").select(lambda: [pool], 40, np.random.default_rng(0), labelled)
    margin = registry.make("margin").select(lambda: [pool], 40, np.random.default_rng(0)).ids.tolist()
    near, rest = chosen.ids[:6].tolist(), chosen.ids[6:].tolist()
    assert (chosen.scores[:6] <= 0).all() and (chosen.scores[6:] > 0).all()
    assert rest == [image for image in margin if image not in near][:34]
