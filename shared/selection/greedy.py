"""Strategies that choose one image after the other, each as far as may be from all before it.

Done plainly, each of the K choices reads all candidates. Here choices are made in small groups among a few rows, whose
distances to each other are known, as long as it is certain that they are the very choices of the plain way; then all
candidates are brought up to date by one matrix product for the whole group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.selection.base import NOTHING, Floats, Ids, Labelled, Needs, Scores, Selection, ShardSource, check_k
from shared.selection.candidates import cap, sampled
from shared.selection.grid import Grid, blocks, nearest, squared_distances, squares
from shared.selection.plusplus import plus_plus
from shared.selection.topk import Candidates, top
from shared.selection.uncertainty import finish

FRONT = 256
"""Rows among which choices are made at a time."""
TAKEN = -1.0
"""The distance of a row that is chosen: below that of any other."""


@dataclass(frozen=True, kw_only=True)
class Coreset:
    """k-center greedy (Sener and Savarese 2018, algorithm 1): always the image furthest from all labelled and chosen.

    Over candidates that are an unbiased part of the pool, from the features of what is labelled; with nothing labelled
    the first is any image. Images equal to a chosen one come last, by id. ``scores`` are the distances at which each
    was chosen; of the first of all, 0.
    """

    candidates: int = 50_000
    name = "coreset"
    needs = Needs(features=True, labelled_features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes one number from ``rng``, the key of the candidates."""
        check_k(k)
        found = sampled(shards, rng.integers(2**64, dtype=np.uint64), cap(self.candidates, k))
        if not len(found):
            return finish(found)
        assert found.features is not None
        grid = Grid.of(found.features, labelled.features)
        points = grid.place(found.features)
        known = points[:0] if labelled.features is None else grid.place(labelled.features)
        # An unbiased first choice where nothing is labelled: the highest hash, its ties by id.
        first = np.flatnonzero(found.scores == found.scores.max())[:1] if not len(known) else np.empty(0, np.int64)
        rows, distances = furthest_first(points, known, first, k)
        return Selection(found.ids[rows], np.sqrt(distances) * grid.unit)


def furthest_first(points: Floats, known: Floats, first: Ids, k: int) -> tuple[Ids, Scores]:
    """The ``k`` rows of k-center greedy, ``first`` before all, and the squared distance at which each was taken.

    Points and ``known`` lie on one grid. Ties go to the lower row. A choice among the rows furthest at the last update
    holds as long as none outside them is further, because distances only fall.
    """
    near = nearest(points, known)
    chosen, distances = first.tolist()[:k], [0.0] * len(first[:k])
    near = nearest(points, points[first], near)
    near[first] = TAKEN
    k = min(k, len(points))
    while len(chosen) < k:
        ranked = top(Candidates(np.arange(len(points)), near), FRONT + 1)
        front = np.sort(ranked.ids[:FRONT])
        bar = (-ranked.scores[FRONT], ranked.ids[FRONT]) if len(ranked) > FRONT else (np.inf, 0)
        between, now = squared_distances(points[front], points[front]), near[front]
        taken: list[int] = []
        while len(chosen) + len(taken) < k:
            at = int(np.argmax(now))
            if now[at] == TAKEN or (-now[at], front[at]) > bar:
                break
            taken.append(int(front[at]))
            distances.append(float(now[at]))
            now = np.minimum(now, between[at])
            now[at] = TAKEN
        chosen += taken
        near = nearest(points, points[taken], near)
        near[chosen] = TAKEN
    return np.array(chosen, np.int64), np.array(distances)


@dataclass(frozen=True, kw_only=True)
class Badge:
    """BADGE (Ash et al. 2020, algorithm 1): k-means++ over the gradients that the likeliest label would give.

    The gradient of the last layer is the outer product of a = p - onehot(argmax p) and the features h. It is never
    built: <a h, a' h'> = <a, a'> <h, h'>. The first image has the longest gradient, as in the authors' code; each next
    is drawn with a probability proportional to its squared distance to the nearest chosen one. Over candidates that
    are an unbiased part of the pool. ``scores`` are those squared distances when drawn; of the first, the squared
    length.
    """

    candidates: int = 50_000
    name = "badge"
    needs = Needs(probabilities=True, features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes from ``rng`` the key of the candidates, then pairs of uniform numbers."""
        check_k(k)
        key = rng.integers(2**64, dtype=np.uint64)
        found = sampled(shards, key, cap(self.candidates, k), with_probabilities=True)
        if not len(found):
            return finish(found)
        assert found.features is not None and found.probabilities is not None
        gradients = Gradients.of(found.probabilities, found.features)
        first = int(np.argmax(gradients.lengths))
        rows, squared = plus_plus(gradients, first, min(k, len(found)), rng)
        return Selection(found.ids[rows], squared * gradients.unit)


@dataclass(frozen=True)
class Gradients:
    """Both factors of n gradients on a grid each, a float32 (n, C) and h float32 (n, D), and their squared lengths.

    ``unit`` brings squared distances back to the scale of the features.
    """

    a: Floats
    h: Floats
    lengths: Scores
    unit: float

    @classmethod
    def of(cls, probabilities: Floats, features: Floats) -> Gradients:
        likeliest = probabilities.argmax(axis=1)
        a = probabilities.copy()
        a[np.arange(len(a)), likeliest] -= 1
        a_grid, h_grid = Grid.of(a), Grid.of(features)
        a, h = a_grid.place(a), h_grid.place(features)
        return cls(a, h, squares(a) * squares(h), (a_grid.unit * h_grid.unit) ** 2)

    def squared_distances(self, rows: Ids, others: Ids) -> Scores:
        """Between two sets of rows, float64 (r, m). The two inner products are exact, so their product is the same
        everywhere; rounding may leave a trifle below 0, which is 0."""
        inner = self.a[rows].astype(np.float64) @ self.a[others].T.astype(np.float64)
        inner *= self.h[rows].astype(np.float64) @ self.h[others].T.astype(np.float64)
        inner *= -2
        inner += self.lengths[rows, None]
        inner += self.lengths[others]
        return np.maximum(inner, 0, out=inner)

    def nearest(self, others: Ids, so_far: Scores) -> Scores:
        """The smaller of ``so_far`` and the squared distance to the nearest of the others, float64 (n,)."""
        best = so_far.copy()
        for block in blocks(len(best)):
            rows = np.arange(block.start, block.stop)
            best[block] = np.minimum(best[block], self.squared_distances(rows, others).min(axis=1, initial=np.inf))
        return best
