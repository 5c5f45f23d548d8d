"""Sums that have the same last bit however the pool is cut, in any company and on every machine.

A sum of floats depends on the order of its terms; a sum of whole numbers doesn't, as long as it fits. So what is added
up over the pool is first rounded to a fixed grid, row by row. float64 holds whole numbers up to 2^53, so a matrix
product of such rows is exact in whatever order BLAS adds, and int64 carries it on from block to block.

What is added up within a row goes one dimension after the other, by element-wise operations, each fixed by IEEE 754.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid
from shared.selection.base import Floats, Scores

Columns = npt.NDArray[np.float64]
"""float64 (D, r): r images, one a column, so that a dimension of all of them lies together."""

BLOCK_ROWS = 1024
UNIT_GRID = 2.0**20
"""Steps to 1 for the coordinates of unit vectors: int64 holds the sum of 2^43 of them."""
GRID = 2.0**14
"""Steps to 1 for standardised features, which are cut off at ``FARTHEST``: a product of two is at most 2^38, a block's
sum 2^48, and int64 holds the sum over 2^25 images even if all of them were at the edge."""
FARTHEST = 32.0
_GRID_BITS = 19
_EXACT_BITS = 53


def in_columns(rows: Floats) -> Iterator[tuple[slice, Columns]]:
    """Blocks of float32 (n, D) rows as float64 columns, each with where its rows are."""
    for start in range(0, len(rows), BLOCK_ROWS):
        here = slice(start, min(start + BLOCK_ROWS, len(rows)))
        yield here, np.ascontiguousarray(rows[here].T, dtype=np.float64)


def add_in_order(terms: Columns) -> Scores:
    """The sum of each column of (D, r), float64 (r,), from the first term to the last.

    ``terms.sum(axis=0)`` adds in an order that depends on how many columns there are.
    """
    total = np.zeros(terms.shape[1])
    for term in terms:
        total += term
    return total


def lengths(columns: Columns) -> Scores:
    """The Euclidean norm of each column."""
    return np.sqrt(add_in_order(columns * columns))


def on_grid(columns: Columns) -> Columns:
    """Standardised features as whole numbers of grid steps, cut off at ``FARTHEST``."""
    return np.rint(np.clip(columns, -FARTHEST, FARTHEST) * GRID)


@dataclass(frozen=True)
class ExactSum:
    """``total``, int64 of any shape, in grid steps, over ``count`` images."""

    total: npt.NDArray[np.int64]
    count: int


def add_up(partials: Iterable[ExactSum]) -> ExactSum | None:
    """The sum of partial sums, in whatever order they come; None where there are none or they are over no images."""
    whole: ExactSum | None = None
    for part in partials:
        if whole is not None and whole.total.shape != part.total.shape:
            widths = f"{whole.total.shape[-1]} and {part.total.shape[-1]}"
            raise Invalid(f"shards have features of different widths: {widths}")
        whole = part if whole is None else ExactSum(whole.total + part.total, whole.count + part.count)
    return whole if whole is not None and whole.count else None


@dataclass(frozen=True)
class GridMatrix:
    """A matrix as whole numbers, ``values / scale``, small enough for exact products with what ``on_grid`` gives.

    values float64 (r, D), scale float64 (r, 1), a power of two for each row.
    """

    values: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]

    @classmethod
    def of(cls, matrix: npt.NDArray[np.float64]) -> GridMatrix:
        """float64 (r, D), rounded to 2^-23 of the largest entry of each row, or finer where D is less than 2,048."""
        bits = _EXACT_BITS - _GRID_BITS - math.ceil(math.log2(max(matrix.shape[1], 2)))
        largest = np.abs(matrix).max(axis=1, keepdims=True)
        scale = 2.0 ** (bits - np.frexp(largest)[1])
        return cls(np.rint(matrix * scale), scale)

    def product(self, steps: Columns) -> Columns:
        """``M z`` of each column z, given in grid steps: (r, n)."""
        result: Columns = (self.values @ steps) / (self.scale * GRID)
        return result

    def quadratic(self, steps: Columns) -> Scores:
        """``z' M z`` of each column z, given in grid steps: float64 (n,)."""
        return add_in_order(steps * self.product(steps)) / GRID
