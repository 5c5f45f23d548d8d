"""k-means, and exact distances to its centres. The only module that knows faiss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np
import numpy.typing as npt

from shared.selection.base import Floats, Scores

ITERATIONS = 25
RESTARTS = 5
"""Of so many starts the best is kept: a single one may leave two groups in one cluster."""
BLOCK_BYTES = 32 * 1024 * 1024
"""Size of the scratch arrays for distances, so that their memory doesn't grow with the shard."""


def kmeans(points: Floats, clusters: int, seed: int) -> Floats:
    """Centres, float32 (c, D), of float32 (n, D) points, with c the smaller of ``clusters`` and n.

    Lloyd's algorithm as faiss has it, from seeded random choices of points. The same points in the same order with
    the same seed give the same centres: all points are used, and one thread adds them up.
    """
    clusters = min(clusters, len(points))
    model = faiss.Kmeans(
        points.shape[1],
        clusters,
        niter=ITERATIONS,
        nredo=RESTARTS,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(points),
    )
    with _one_thread():
        model.train(np.ascontiguousarray(points, dtype=np.float32))
    return np.asarray(model.centroids, dtype=np.float32).reshape(clusters, points.shape[1])


@contextmanager
def _one_thread() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def exact_distances(points: Floats, centres: Floats) -> Scores:
    """Squared L2 distance of each point to its nearest centre, float64 (n,).

    The squares are summed one dimension after the other by element-wise operations only. IEEE 754 fixes each of
    these, so a point's distance has the same last bit in any company, which a matrix product doesn't promise.
    """
    wide_centres = centres.astype(np.float64)
    nearest = np.empty(len(points))
    rows = max(1, BLOCK_BYTES // (8 * len(centres)))
    for start in range(0, len(points), rows):
        columns = np.ascontiguousarray(points[start : start + rows].T, dtype=np.float64)
        total = np.zeros((len(centres), columns.shape[1]))
        for dimension, column in enumerate(columns):
            difference = column[None, :] - wide_centres[:, dimension, None]
            difference *= difference
            total += difference
        nearest[start : start + rows] = total.min(axis=0)
    return nearest


def rows_that_may_be_nearest(points: Floats, centres: Floats, k: int) -> npt.NDArray[np.int64]:
    """Rows among which the ``k`` points nearest to a centre are for certain, ties included; few more than ``k``.

    A matrix product gives |x|^2 - 2 x.c + |c|^2 fast but not exactly. Its error is below a bound, so a point that is
    further than the k-th by more than two bounds can't be among the k: only the others need ``exact_distances``.
    """
    if k >= len(points):
        return np.arange(len(points))
    approximate, bound = _approximate_distances(points, centres)
    kth_at_most = np.partition(approximate + bound, k - 1)[k - 1]
    return np.flatnonzero(approximate - bound <= kth_at_most)


def _approximate_distances(points: Floats, centres: Floats) -> tuple[Scores, Scores]:
    wide_centres = centres.astype(np.float64)
    centre_norms = (wide_centres**2).sum(axis=1)
    approximate, bound = np.empty(len(points)), np.empty(len(points))
    # Rounding of sums and products of D terms is at most about D eps (|x| + |c|)^2; eight times that leaves room.
    unit = 8 * (points.shape[1] + 4) * float(np.finfo(np.float64).eps)
    rows = max(1, BLOCK_BYTES // (8 * points.shape[1]))
    for start in range(0, len(points), rows):
        block = points[start : start + rows].astype(np.float64)
        norms = (block**2).sum(axis=1)
        squares = norms[:, None] + centre_norms - 2 * (block @ wide_centres.T)
        approximate[start : start + rows] = squares.min(axis=1)
        bound[start : start + rows] = unit * (np.sqrt(norms) + np.sqrt(centre_norms.max())) ** 2
    return approximate, bound
