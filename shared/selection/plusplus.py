"""k-means++: rows drawn one after the other, each by its squared distance to the nearest one drawn before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shared.selection.base import Floats, Ids, Scores
from shared.selection.grid import nearest, squared_distances, squares

DRAWS = 256
"""Draws that share one update of all rows."""


class Space(Protocol):
    """Rows between which there are distances, the same to the last bit on any machine."""

    @property
    def lengths(self) -> Scores:
        """The squared length of each row, float64 (n,)."""
        ...

    def squared_distances(self, rows: Ids, others: Ids) -> Scores:
        """Between two sets of rows, float64 (r, m)."""
        ...

    def nearest(self, others: Ids, so_far: Scores) -> Scores:
        """The smaller of ``so_far`` and the squared distance to the nearest of the others, float64 (n,)."""
        ...


@dataclass(frozen=True)
class Points:
    """Points on a grid, float32 (n, D), and their squared lengths."""

    points: Floats
    lengths: Scores

    @classmethod
    def of(cls, points: Floats) -> Points:
        return cls(points, squares(points))

    def squared_distances(self, rows: Ids, others: Ids) -> Scores:
        return squared_distances(self.points[rows], self.points[others])

    def nearest(self, others: Ids, so_far: Scores) -> Scores:
        return nearest(self.points, self.points[others], so_far)


def plus_plus(space: Space, first: int, k: int, rng: np.random.Generator) -> tuple[Ids, Scores]:
    """``k`` rows by k-means++ (Arthur and Vassilvitskii 2007) and the squared distance at which each was drawn.

    ``first`` begins, with its squared length. By rejection: a row drawn by the distances of a moment ago and kept with
    the probability now / then is a row drawn by the distances of now. So many draws share one update of all rows. When
    only rows equal to drawn ones are left, the longest of them follow, ties by row.
    """
    chosen, squared = [first], [float(space.lengths[first])]
    near = space.nearest(np.array(chosen), np.full(len(space.lengths), np.inf))
    while len(chosen) < k:
        near[chosen] = 0.0
        cumulative = np.cumsum(near)
        if not cumulative[-1] > 0:
            break
        uniform = rng.random((DRAWS, 2))
        drawn = np.searchsorted(cumulative, uniform[:, 0] * cumulative[-1], side="right")
        drawn = np.minimum(drawn, int(np.flatnonzero(near)[-1]))
        between, now = space.squared_distances(drawn, drawn), near[drawn]
        then, taken = now.copy(), list[int]()
        for at in range(DRAWS):
            if len(chosen) + len(taken) < k and uniform[at, 1] * then[at] < now[at]:
                taken.append(int(drawn[at]))
                squared.append(float(now[at]))
                now = np.minimum(now, between[at])
        chosen += taken
        near = space.nearest(np.array(taken), near)
    left = np.setdiff1d(np.arange(len(near)), chosen)
    rest = left[np.lexsort((left, -space.lengths[left]))][: k - len(chosen)]
    return np.array(chosen + rest.tolist(), np.int64), np.array(squared + [0.0] * len(rest))
