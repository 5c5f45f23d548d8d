"""The nearest images of each of some points, exactly, ties by id, however the images are cut into shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid
from shared.selection.base import Floats, Ids, Scores

BLOCK_BYTES = 64 * 1024 * 1024
"""Size of the scratch array of approximate distances."""
PAIR_BYTES = 4 * 1024 * 1024
"""Size of one of exact distances, which fits the cache."""


@dataclass(frozen=True)
class Neighbours:
    """Pairs of a point and an image near it, by ascending point, then distance, then id.

    points int64 (n,), ids int64 (n,), distances float64 (n,): squared L2.
    """

    points: npt.NDArray[np.int64]
    ids: Ids
    distances: Scores

    @classmethod
    def none(cls) -> Neighbours:
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def nearest(points: Floats, ids: Ids, features: Floats, each: int) -> Neighbours:
    """The ``each`` of the images (n, D) that are nearest to each of the points (p, D), float32 both.

    A matrix product gives |x|^2 - 2 x.c + |c|^2 fast but not exactly. Its error is below a bound, so what is further
    than the last by more than two bounds can't be among the nearest; for the others squares are summed dimension by
    dimension, with the same last bit in any company (see ``clusters.exact_distances``).
    """
    if len(ids) and features.shape[1] != points.shape[1]:
        raise Invalid(f"shards have features of different widths: {features.shape[1]} and {points.shape[1]}")
    found = Neighbours.none()
    centres = points.astype(np.float64)
    rows = max(each, BLOCK_BYTES // (8 * len(points)))
    for start in range(0, len(ids), rows):
        block = features[start : start + rows]
        which, row = _pairs_that_may_be_near(centres, block.astype(np.float64), each)
        pairs = Neighbours(which, ids[start + row], _distances(points, block, which, row))
        found = join(found, pairs, each)
    return found


def join(a: Neighbours, b: Neighbours, each: int) -> Neighbours:
    """The ``each`` nearest of both for every point."""
    points, ids, distances = (
        np.concatenate((getattr(a, column), getattr(b, column))) for column in ("points", "ids", "distances")
    )
    order = np.lexsort((ids, distances, points))
    points = points[order]
    rank = np.arange(len(points)) - np.searchsorted(points, points)
    kept = order[rank < each]
    return Neighbours(points[rank < each], ids[kept], distances[kept])


def _pairs_that_may_be_near(
    centres: npt.NDArray[np.float64], block: npt.NDArray[np.float64], each: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Points and rows of the block, as pairs among which the ``each`` nearest of every point are for certain."""
    if each >= len(block):
        point, row = np.divmod(np.arange(len(centres) * len(block)), len(block))
        return point, row
    norms, centre_norms = (block**2).sum(axis=1), (centres**2).sum(axis=1)
    squares = centres @ block.T
    squares *= -2
    squares += norms
    squares += centre_norms[:, None]
    # Rounding of sums and products of D terms is at most about D eps (|x| + |c|)^2; eight times that leaves room.
    unit = 8 * (block.shape[1] + 4) * float(np.finfo(np.float64).eps)
    bound = unit * (np.sqrt(norms.max()) + np.sqrt(centre_norms)) ** 2
    last = np.partition(squares, each - 1, axis=1)[:, each - 1]
    point, row = np.nonzero(squares <= (last + 2 * bound)[:, None])
    return point, row


def _distances(points: Floats, block: Floats, which: npt.NDArray[np.int64], row: npt.NDArray[np.int64]) -> Scores:
    """Squared L2 distances of pairs, float64, summed dimension by dimension."""
    distances = np.zeros(len(which))
    step = max(1, PAIR_BYTES // (8 * points.shape[1]))
    for start in range(0, len(which), step):
        here = slice(start, start + step)
        difference = block[row[here]].astype(np.float64) - points[which[here]].astype(np.float64)
        difference *= difference
        for column in np.ascontiguousarray(difference.T):
            distances[here] += column
    return distances
