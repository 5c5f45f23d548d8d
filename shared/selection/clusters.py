"""k-means, and exact distances to its centres. The only module that knows faiss.

faiss multiplies in float32, whose last bits depend on the processor. So it is given whole numbers only, points and
centres, of at most 2**11 in length: every product and sum of theirs fits the 24 bits of a float32, and faiss finds the
same groups everywhere, with any number of threads. Against the longest point the rounding is 1 in 2,048.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from shared.selection.base import Floats, Ids, Scores
from shared.selection.grid import Grid, blocks
from shared.selection.plusplus import Points, plus_plus

ITERATIONS = 25
RESTARTS = 3
"""Of so many starts the best is kept: a single one may leave two kinds in one group."""
LARGE = 10_000_000
"""Points times clusters from which on there is one start of ``ITERATIONS_OF_LARGE``."""
ITERATIONS_OF_LARGE = 10
MANY = 1_000
"""More clusters begin at points drawn alike: k-means++ would take as long as k-means, and so many miss no kind."""
LENGTH = 2.0**11
OUTLYING = 4.0
"""A point further than so many times the median from the mean counts as no further, or it would cost the others their
digits."""
BLOCK_BYTES = 32 * 1024 * 1024
"""Size of the scratch arrays for distances, so that their memory doesn't grow with the shard."""


@dataclass(frozen=True)
class Groups:
    """``centres`` float32 (c, D); of each point its group, int64 (n,), from 0 to c - 1, and its distance, float64 (n,).

    Every group has a point. Distances are squared, in the units of k-means' whole numbers: good to compare with.
    """

    centres: Floats
    of: Ids
    distances: Scores


def kmeans(points: Floats, clusters: int, seed: int) -> Floats:
    """Centres, float32 (c, D), of float32 (n, D) points, with c the smaller of ``clusters`` and n.

    Lloyd's algorithm as faiss has it, from points that k-means++ draws, or, for more than 1,000, from any points. The
    same points in the same order with the same seed give the same centres: all points are used, all sums are exact.
    """
    return _lloyd(points, clusters, seed, None)[0]


def group(points: Floats, clusters: int, seed: int, weights: Scores | None = None) -> Groups:
    """The groups of ``kmeans``, those that no point is nearest to left out. Ties go to the first centre.

    ``weights`` float64 (n,), from 0 up, say how much each point draws a centre (weighted k-means, Zhdanov 2019); they
    are rounded to 256 steps.
    """
    centres, placed, whole_centres = _lloyd(points, clusters, seed, weights)
    with _one_thread():
        distances, found = faiss.knn(placed, whole_centres, 1)
    taken, of = np.unique(found[:, 0], return_inverse=True)
    return Groups(centres[taken], of.astype(np.int64), distances[:, 0].astype(np.float64))


def _lloyd(points: Floats, clusters: int, seed: int, weights: Scores | None) -> tuple[Floats, Floats, Floats]:
    """Centres as the points are, and points and centres in whole numbers."""
    clusters = min(clusters, len(points))
    placed, mean, unit = _placed(points)
    steps = None
    if weights is not None:
        steps = (1 + np.rint(255 * weights / max(float(weights.max()), 1e-300))).astype(np.float32)
    large = len(points) * clusters >= LARGE
    rng, space = np.random.default_rng(seed), Points.of(placed)
    best: tuple[float, Floats] | None = None
    for _ in range(1 if large else RESTARTS):
        if clusters <= MANY:
            drawn = plus_plus(space, int(rng.integers(len(points))), clusters, rng)[0]
        else:
            drawn = rng.choice(len(points), clusters, replace=False)
        model = faiss.Kmeans(
            points.shape[1],
            clusters,
            niter=ITERATIONS_OF_LARGE if large else ITERATIONS,
            seed=seed,
            int_centroids=True,
            min_points_per_centroid=1,
            max_points_per_centroid=len(points),
        )
        with _one_thread():
            objective = float(model.train(placed, weights=steps, init_centroids=placed[drawn]))
        if best is None or objective < best[0]:
            best = objective, np.array(model.centroids, dtype=np.float32)
    assert best is not None
    whole = best[1].reshape(clusters, points.shape[1])
    return (whole.astype(np.float64) * unit + mean).astype(np.float32), placed, whole


@contextmanager
def _one_thread() -> Iterator[None]:
    """Several that meet after each small piece of work, on processors that others use too, were ten times as slow."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _placed(points: Floats) -> tuple[Floats, Scores, float]:
    """Points less their mean in whole numbers, float32 (n, D), no longer than ``LENGTH``; the mean and the unit."""
    grid = Grid.of(points)
    exact = grid.place(points)
    middle = np.rint(exact.sum(axis=0, dtype=np.float64) / max(len(points), 1))
    lengths = np.concatenate(
        [np.sqrt(((exact[rows].astype(np.float64) - middle) ** 2).sum(axis=1)) for rows in blocks(len(points))]
    )
    reach = float(lengths.max())
    if median := float(np.median(lengths)):
        reach = min(reach, OUTLYING * median)
    room = LENGTH - 1 - np.sqrt(points.shape[1]) / 2  # what rounding may add to a length
    unit = reach / room if reach else 1.0
    for rows in blocks(len(points)):
        shrink = np.minimum(1.0, reach / np.maximum(lengths[rows], 1.0)) / unit
        exact[rows] = np.rint((exact[rows] - middle) * shrink[:, None])
    return exact, middle * grid.unit, unit * grid.unit


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
        norms = np.einsum("ij,ij->i", block, block)
        squares = norms[:, None] + centre_norms - 2 * (block @ wide_centres.T)
        approximate[start : start + rows] = squares.min(axis=1)
        bound[start : start + rows] = unit * (np.sqrt(norms) + np.sqrt(centre_norms.max())) ** 2
    return approximate, bound
