"""Distances between features that come out the same, to the last bit, on any machine.

A matrix product adds in an order that depends on the processor, the library and the number of threads, so two machines
may disagree about which of two images is nearer, and a greedy strategy that disagrees once goes another way from there.
Here features are first rounded to whole numbers so small that no sum of products of theirs needs more than the 53 bits
that a float64 holds. Then every order of adding gives the same, exact result. The rounding is about a millionth of the
largest feature, of the size of float32's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.selection.base import Floats, Scores

LENGTH_BITS = 25
"""Vectors on a grid are no longer than 2**25, so that squared distances, up to four times its square, fit 53 bits."""
BLOCK_ROWS = 1024
"""Rows and columns of the pieces in which products are made, so that a piece stays in the cache."""


@dataclass(frozen=True)
class Grid:
    """``unit`` is the side of a cell, a power of two: dividing by it rounds nothing."""

    unit: float

    @classmethod
    def of(cls, *features: Floats | None) -> Grid:
        """A grid that fits all of these sets, float32 (n, D) each."""
        there = [rows for rows in features if rows is not None and rows.size]
        largest = max((max(float(rows.max()), -float(rows.min())) for rows in there), default=0.0)
        # A vector is at most sqrt(D) times as long as its largest coordinate; ``spare`` is log2 of that, rounded up.
        spare = ((there[0].shape[1] - 1).bit_length() + 1) // 2 if there else 0
        return cls(math.ldexp(1.0, math.frexp(largest)[1] - min(LENGTH_BITS - spare, 24)))

    def place(self, features: Floats) -> Floats:
        """Whole numbers in float32, which holds those up to 2**24 exactly, shape (n, D)."""
        placed = np.empty(features.shape, np.float32)
        for rows in blocks(len(features)):
            placed[rows] = np.rint(features[rows].astype(np.float64) / self.unit)
        return placed


def directions(features: Floats) -> Floats:
    """The roots of features, signs kept, at unit length, float32 (n, D): 0 stays 0.

    What a network's last layer gives is skewed, and its length says how much there is to see rather than what. Between
    such points squared distances are Hellinger's. Lengths are summed on a grid, so that they are the same everywhere.
    """
    grid, turned = Grid.of(features), np.empty(features.shape, np.float32)
    for rows in blocks(len(features)):
        placed = grid.place(features[rows]).astype(np.float64)
        totals = np.abs(placed).sum(axis=1, keepdims=True)  # of whole numbers below 2**53: exact
        turned[rows] = np.sign(placed) * np.sqrt(np.abs(placed) / np.maximum(totals, 1.0))
    return turned


def blocks(n: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Slices that cover ``n`` rows."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def squares(points: Floats) -> Scores:
    """Squared lengths of points on a grid, float64 (n,), exact."""
    total = np.empty(len(points))
    for rows in blocks(len(points)):
        block = points[rows].astype(np.float64)
        total[rows] = np.einsum("ij,ij->i", block, block)
    return total


def squared_distances(points: Floats, others: Floats) -> Scores:
    """All squared distances between two sets on one grid, float64 (n, m), exact; the caller keeps n times m small."""
    return _widened(points) @ _weights(others) + squares(points)[:, None]


def nearest(points: Floats, others: Floats, so_far: Scores | None = None) -> Scores:
    """Squared distance of each point to the nearest of the others, float64 (n,), exact; inf where there are none.

    With ``so_far`` the smaller of that and the distance.
    """
    best = np.full(len(points), np.inf) if so_far is None else so_far.copy()
    lengths = squares(points)
    for columns in blocks(len(others)):
        weights = _weights(others[columns])
        for rows in blocks(len(points)):
            found = (_widened(points[rows]) @ weights).min(axis=1) + lengths[rows]
            np.minimum(best[rows], found, out=best[rows])
    return best


def near_pairs(points: Floats, radius: float) -> Iterator[npt.NDArray[np.bool_]]:
    """Block by block of rows, which points are nearer than the squared radius: bool (r, n), exact."""
    lengths = squares(points)
    columns = [(block, _weights(points[block])) for block in blocks(len(points))]
    for rows in blocks(len(points)):
        wide, near = _widened(points[rows]), np.empty((rows.stop - rows.start, len(points)), np.bool_)
        # Instead of adding |x|^2 to each distance it is taken from the radius.
        bar = (radius - lengths[rows])[:, None]
        for block, weights in columns:
            np.less(wide @ weights, bar, out=near[:, block])
        yield near


def _widened(points: Floats) -> Scores:
    """``(x, 1)``, which with ``_weights`` makes |c|^2 - 2 x.c in one product."""
    wide = np.ones((len(points), points.shape[1] + 1))
    wide[:, :-1] = points
    return wide


def _weights(others: Floats) -> Scores:
    """``(-2 c, |c|^2)``, transposed."""
    weights = np.empty((others.shape[1] + 1, len(others)))
    weights[:-1] = -2.0 * others.T
    weights[-1] = squares(others)
    return weights
