"""Strategies that group the candidates with k-means and let the groups take turns: what is alike is asked once a turn.

Memory is the candidates and, a block at a time, their distances; no matrix of all with all is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.selection.base import NOTHING, Floats, Ids, Labelled, Needs, Scores, Selection, ShardSource, check_k
from shared.selection.candidates import cap, sampled, uncertain
from shared.selection.clusters import group
from shared.selection.grid import Grid, blocks, directions, squared_distances
from shared.selection.topk import Candidates
from shared.selection.uncertainty import finish

SEEDS = 2**31 - 1
NEIGHBOURS = 20
"""What typicality is measured by (Hacohen et al. 2022, section 3.2)."""
SMALL_GROUP = 5
"""Groups of fewer are no kind of image but outliers, and come last, as in the authors' code."""


@dataclass(frozen=True, kw_only=True)
class ClusterMargin:
    """Cluster-Margin (Citovsky et al. 2021, algorithm 1): the images of smallest margin, spread over groups of images.

    The ``beta * K`` candidates with the smallest margin are grouped by their features, and the groups, from the
    smallest up, give one image each per turn until K are there; so rare kinds come in whole and big ones share what
    is left. Within a group the smaller margin comes first (the paper draws at random). The paper groups the whole pool
    once by average linkage, which needs all distances; this groups the candidates anew by k-means, into as many groups
    as leave 10 images for each, at most ``groups``. ``scores`` are the margin's values.
    """

    beta: float = 10.0
    groups: int = 500
    name = "cluster_margin"
    needs = Needs(probabilities=True, features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes one number from ``rng``, the seed of k-means."""
        check_k(k)
        seed = int(rng.integers(SEEDS))
        found = uncertain(shards, "margin", int(np.ceil(self.beta * k)))
        if not len(found):
            return finish(found)
        assert found.features is not None
        groups = group(found.features, min(self.groups, -(-len(found) // 10)), seed).of
        sizes = np.bincount(groups)
        return in_turns(found, groups, np.lexsort((np.arange(len(sizes)), sizes)), found.scores, k)


@dataclass(frozen=True, kw_only=True)
class KMeans:
    """Diverse mini-batches (Zhdanov 2019, section 3): K groups of what is informative, and of each its central image.

    The ``beta * K`` candidates of which the model is least sure are grouped by their features into K groups,
    optionally with their uncertainty as weights; the image nearest to each centre is asked, of large groups first.
    Where there are fewer groups than K (images may be equal), the next nearest follow. ``scores`` are minus the
    squared distance to the centre, in the units of k-means.
    """

    measure: str = "margin"
    beta: float = 10.0
    weighted: bool = False
    name = "kmeans"
    needs = Needs(probabilities=True, features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes one number from ``rng``, the seed of k-means."""
        check_k(k)
        seed = int(rng.integers(SEEDS))
        found = uncertain(shards, self.measure, int(np.ceil(self.beta * k)))
        if not len(found):
            return finish(found)
        assert found.features is not None
        groups = group(found.features, k, seed, found.scores if self.weighted else None)
        sizes = np.bincount(groups.of)
        return in_turns(found, groups.of, np.lexsort((np.arange(len(sizes)), -sizes)), -groups.distances, k)


@dataclass(frozen=True, kw_only=True)
class TypiClust:
    """TypiClust (Hacohen, Dekel and Weinshall 2022, algorithm 1): the most typical image of each kind not labelled yet.

    Candidates, an unbiased part of the pool, and what is labelled are grouped together into as many groups as there
    are labels plus K, at most ``groups``. Groups with the fewest labels come first, of these the largest, and give one
    image each per turn: the one of highest typicality, 1 / mean distance to its 20 nearest neighbours (equation 1)
    among the group's candidates. Needs features, but no labels and no trained head: a cold start on a frozen backbone.
    ``scores`` are the typicalities. The paper takes features at unit length; here they are roots at unit length, see
    ``directions``.
    """

    candidates: int = 20_000
    groups: int = 500
    name = "typiclust"
    needs = Needs(features=True, labelled_features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes two numbers from ``rng``: the key of the candidates, the seed of k-means."""
        check_k(k)
        key, seed = rng.integers(2**64, dtype=np.uint64), int(rng.integers(SEEDS))
        found = sampled(shards, key, cap(self.candidates, k))
        if not len(found):
            return finish(found)
        assert found.features is not None
        known = found.features[:0] if labelled.features is None else labelled.features
        points = directions(np.concatenate((found.features, known)))
        of = group(points, min(len(labelled.ids) + k, self.groups), seed).of
        mine, count = of[: len(found)], int(of.max()) + 1
        labels, sizes = np.bincount(of[len(found) :], minlength=count), np.bincount(mine, minlength=count)
        order = np.lexsort((np.arange(count), -sizes, labels, sizes < SMALL_GROUP))
        return in_turns(found, mine, order, typicality(points[: len(found)], mine), k)


def typicality(features: Floats, groups: Ids) -> Scores:
    """1 / mean distance to the 20 nearest in the same group, or to half of a group of fewer than 40; float64 (n,).

    Alone in its group an image has 0, and with neighbours that are all equal to it the largest number there is.
    """
    grid = Grid.of(features)
    points, typical = grid.place(features), np.zeros(len(features))
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        near = min(NEIGHBOURS, max(len(rows) // 2, 1), len(rows) - 1)
        if not near:
            continue
        for block in blocks(len(rows), max(1, 4_000_000 // len(rows))):
            squared = squared_distances(points[rows[block]], points[rows])
            # Itself is among the nearest, at 0, and adds nothing. Sorted, so that the sum has one order.
            nearest = np.sqrt(np.sort(np.partition(squared, near, axis=1)[:, : near + 1], axis=1))
            mean = np.add.accumulate(nearest, axis=1)[:, -1] * grid.unit / near
            typical[rows[block]] = 1.0 / np.maximum(mean, 1e-300)
    return typical


def in_turns(found: Candidates, groups: Ids, order: Ids, scores: Scores, k: int) -> Selection:
    """One image of each group per turn, groups in the given order, in a group the highest score first, ties by id."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    ranked = np.lexsort((found.ids, -scores, place[groups]))
    starts = np.flatnonzero(np.diff(place[groups][ranked], prepend=-1))
    turn = np.arange(len(ranked)) - np.repeat(starts, np.diff(starts, append=len(ranked)))
    chosen = ranked[np.lexsort((place[groups][ranked], turn))[:k]]
    return Selection(found.ids[chosen], scores[chosen])
