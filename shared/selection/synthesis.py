"""Query synthesis: the head makes up points on its decision boundary, and the real images nearest to them are asked.

Membership queries (Angluin 1988) are made up, and people can't read made-up images (Baum and Lang 1992); so each is
replaced by its nearest neighbour in the pool (Wang, Hu, Yuan and Lu 2015). One pass of map and reduce::

    map_nearest: of a shard the few images nearest to each point, and its top k by margin
    reduce_nearest: one image for each point in turn, topped up by margin -> Selection
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from shared.selection.base import NOTHING, Floats, Labelled, Needs, Selection, ShardScores, ShardSource, check_k
from shared.selection.linear import LinearHead, can_fit, fit_head
from shared.selection.neighbours import Neighbours, join, nearest
from shared.selection.topk import Candidates, merge
from shared.selection.uncertainty import Uncertainty, finish, map_uncertain, margin


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """The pool's images nearest to points between labelled images of different classes where the head is undecided.

    For each point two classes are drawn, all alike, and an image of each. On the way from the one to the other the
    outputs of the linear head change linearly, so the place where another class overtakes that of the first is known
    without the search by halves of Wang et al.: the least ``d_c(0) / (d_c(0) - d_c(1))``, d_c the lead over class c. It
    is the middle where the head puts both into one class.

    As many points as images are asked, at most ``points``; each then has several. They take turns, each the nearest
    image that is left of its ``2 q + 4`` nearest, q the number it has to ask; what is lacking where points share all of
    them is asked by ``margin``. ``scores`` are minus the squared distances, and the margins of those that top up. With
    fewer than two labelled classes this is ``margin``. Work goes with n x points x D.
    """

    points: int = 1000
    name = "synthesis"
    needs = Needs(probabilities=True, features=True, labelled_features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. The pairs are drawn from ``rng``."""
        check_k(k)
        if not can_fit(labelled):
            return Uncertainty("margin").select(shards, k, rng, labelled)
        points = boundary_points(fit_head(labelled), labelled, min(k, self.points), rng)
        each = 2 * math.ceil(k / len(points)) + 4
        return reduce_nearest((map_nearest(shard, points, each, k) for shard in shards()), len(points), each, k)


def boundary_points(head: LinearHead, labelled: Labelled, count: int, rng: np.random.Generator) -> Floats:
    """float32 (count, D) points in feature space at which the head changes its mind between two labelled images."""
    assert labelled.features is not None
    classes, sizes = np.unique(labelled.classes, return_counts=True)
    by_class = np.argsort(labelled.classes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    first = rng.integers(len(classes), size=count)
    second = (first + rng.integers(1, len(classes), size=count)) % len(classes)
    ends = [by_class[starts[drawn] + rng.integers(sizes[drawn])] for drawn in (first, second)]
    outputs = head.outputs(labelled.features)
    here, there = outputs[ends[0]], outputs[ends[1]]
    leader = here.argmax(axis=1)[:, None]
    lead_here = np.take_along_axis(here, leader, axis=1) - here
    lead_there = np.take_along_axis(there, leader, axis=1) - there
    overtaken = lead_there < 0
    # A lead that is lost falls from at least 0 to below 0, so there is something to divide by.
    way = np.where(overtaken, lead_here / np.where(overtaken, lead_here - lead_there, 1.0), np.inf).min(axis=1)
    way = np.where(np.isfinite(way), way, 0.5)[:, None]
    a, b = (labelled.features[rows].astype(np.float64) for rows in ends)
    points: Floats = (a + way * (b - a)).astype(np.float32)
    return points


def map_nearest(shard: ShardScores, points: Floats, each: int, k: int) -> tuple[Neighbours, Candidates]:
    """The ``each`` images of a shard nearest to each point, and its ``k`` with the smallest margin."""
    return nearest(points, shard.ids, shard.needed_features(), each), map_uncertain(shard, margin, k)


def reduce_nearest(partials: Iterable[tuple[Neighbours, Candidates]], points: int, each: int, k: int) -> Selection:
    """One image for each point in turn until ``k`` are found; then the most uncertain that are left."""
    near, uncertain = Neighbours.none(), merge((), k)
    for neighbours, candidates in partials:
        near, uncertain = join(near, neighbours, each), merge((uncertain, candidates), k)
    taken = take_turns(near, points, k)
    left = uncertain.take(np.flatnonzero(~np.isin(uncertain.ids, near.ids[taken])))
    left = left.take(np.arange(min(len(left), k - len(taken))))
    return finish(
        Candidates(np.concatenate((near.ids[taken], left.ids)), np.concatenate((-near.distances[taken], left.scores)))
    )


def take_turns(near: Neighbours, points: int, k: int) -> list[int]:
    """Rows of ``near`` in the order in which the points take them: each its nearest that no other has taken."""
    starts = np.searchsorted(near.points, np.arange(points + 1))
    at, ends = starts[:-1].tolist(), starts[1:].tolist()
    ids, seen, taken = near.ids.tolist(), set(), list[int]()
    while len(taken) < k and any(a < end for a, end in zip(at, ends, strict=True)):
        for point in range(points):
            while at[point] < ends[point] and ids[at[point]] in seen:
                at[point] += 1
            if at[point] < ends[point] and len(taken) < k:
                seen.add(ids[at[point]])
                taken.append(at[point])
    return taken
