"""Coverage: the images whose surroundings hold the most of what nothing labelled is near to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.selection.base import NOTHING, Floats, Ids, Labelled, Needs, Scores, Selection, ShardSource, check_k
from shared.selection.candidates import cap, sampled
from shared.selection.clusters import group
from shared.selection.grid import Grid, near_pairs, nearest, squared_distances
from shared.selection.uncertainty import finish

SEEDS = 2**31 - 1
PROBES = 256
"""Candidates on which the radius is chosen."""
MOST_PAIRS = 2**24
"""About so many pairs of neighbours are kept; where the radius makes more, it is made smaller."""
CHOSEN = -(2**40)
"""The gain of an image that is chosen already."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """ProbCover (Yehuda et al. 2022, algorithm 1): greedy maximum coverage by balls of one radius around images.

    An image covers the candidates nearer than the radius; what a labelled image covers is covered; each choice covers
    the most of the rest, ties by id. When all is covered, a second layer begins over what isn't chosen. The radius is
    the largest for which balls are pure: all of one group of k-means, with as many groups as classes, for a share
    ``purity`` of the images (section 3.2; 0.95 there too). Candidates are an unbiased part of the pool, and only pairs
    within the radius are kept. Needs no labels and no trained head. ``scores`` are the images newly covered.
    """

    candidates: int = 20_000
    purity: float = 0.95
    name = "coverage"
    needs = Needs(features=True, labelled_features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes two numbers from ``rng``: the key of the candidates, the seed of k-means."""
        check_k(k)
        key, seed = rng.integers(2**64, dtype=np.uint64), int(rng.integers(SEEDS))
        found = sampled(shards, key, cap(self.candidates, k))
        if not len(found):
            return finish(found)
        assert found.features is not None
        grid = Grid.of(found.features, labelled.features)
        points = grid.place(found.features)
        groups = group(found.features, max(labelled.n_classes, 2), seed).of
        radius = squared_radius(points, groups, self.purity)
        covered = np.zeros(len(points), np.bool_)
        if labelled.features is not None and len(labelled.features):
            covered = nearest(points, grid.place(labelled.features)) < radius
        rows, gains = greedy_cover(Neighbours.within(points, radius), covered, min(k, len(points)))
        return Selection(found.ids[rows], gains)


def squared_radius(points: Floats, groups: Ids, purity: float) -> float:
    """The largest squared radius at which a share ``purity`` of balls hold one group only, and pairs are not too many.

    A ball is pure as long as its radius is no larger than the distance to the nearest point of another group, so the
    radius is a quantile of these distances. Both are estimated on evenly spaced points.
    """
    probes = np.arange(0, len(points), max(1, len(points) // PROBES))
    squared = squared_distances(points[probes], points)
    others = np.where(groups[probes, None] == groups, np.inf, squared).min(axis=1)
    pure = np.sort(others)[min(len(probes) - 1, math.floor((1 - purity) * len(probes) + 1e-9))]
    most = min(squared.size - 1, MOST_PAIRS * len(probes) // len(points))
    return float(min(pure, np.partition(squared, most, axis=None)[most]))


@dataclass(frozen=True)
class Neighbours:
    """Row i's neighbours, itself among them, are ``rows[starts[i]:starts[i + 1]]``: int64 (n + 1,), int32 (pairs,)."""

    starts: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32]

    @classmethod
    def within(cls, points: Floats, radius: float) -> Neighbours:
        """Pairs nearer than the squared radius."""
        counts, rows, start = [np.zeros(1, np.int64)], [], 0
        for near in near_pairs(points, radius):
            near[np.arange(len(near)), start + np.arange(len(near))] = True
            start += len(near)
            counts.append(np.count_nonzero(near, axis=1))
            rows.append((np.flatnonzero(near) % len(points)).astype(np.int32))
        return cls(np.cumsum(np.concatenate(counts)), np.concatenate(rows))

    def of(self, row: int) -> npt.NDArray[np.int32]:
        return self.rows[self.starts[row] : self.starts[row + 1]]

    def count(self, wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """How many of each row's neighbours are wanted, int64 (n,)."""
        return np.add.reduceat(wanted[self.rows].astype(np.int64), self.starts[:-1])


def greedy_cover(graph: Neighbours, covered: npt.NDArray[np.bool_], k: int) -> tuple[Ids, Scores]:
    """``k`` rows and what each newly covers. Being near is mutual, so what a row covers tells whose gain falls."""
    chosen: list[int] = []
    gains: list[int] = []
    gain = graph.count(~covered)
    for _ in range(k):
        row = int(np.argmax(gain))
        if gain[row] <= 0:
            covered = np.zeros_like(covered)
            covered[chosen] = True
            gain = graph.count(~covered)
            gain[chosen] = CHOSEN
            row = int(np.argmax(gain))
        chosen.append(row)
        gains.append(int(gain[row]))
        new = graph.of(row)
        new = new[~covered[new]]
        covered = covered.copy() if len(chosen) == 1 else covered
        covered[new] = True
        for other in new:
            gain[graph.of(other)] -= 1
        gain[row] = CHOSEN
    return np.array(chosen, np.int64), np.array(gains, np.float64)
