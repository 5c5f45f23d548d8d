"""The k best of many by score, and among equals those with the lowest ids, whatever the order they came in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid
from shared.selection.base import Floats, Ids, Scores


@dataclass(frozen=True)
class Candidates:
    """Images that may be chosen, best first: ids int64 (n,), scores float64 (n,), features float32 (n, D) or None."""

    ids: Ids
    scores: Scores
    features: Floats | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: npt.NDArray[np.int64]) -> Candidates:
        return Candidates(self.ids[rows], self.scores[rows], None if self.features is None else self.features[rows])


def top(candidates: Candidates, k: int) -> Candidates:
    """The ``k`` with the highest scores, ties by ascending id, best first. O(n) before the sort of those that remain.

    Raises ``Invalid`` for a score that is not a number, because nothing could be said about its rank.
    """
    scores = candidates.scores
    if np.isnan(scores).any():
        raise Invalid(f"image {candidates.ids[np.isnan(scores)].min()} has a score that is not a number")
    rows = np.arange(len(scores))
    if 0 < k < len(scores):
        # Everything as good as the k-th is kept, so that ties across the cut are decided by id below.
        worst_kept = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = np.flatnonzero(scores >= worst_kept)
    order = np.lexsort((candidates.ids[rows], -scores[rows]))
    return candidates.take(rows[order[: max(k, 0)]])


def merge(partials: Iterable[Candidates], k: int) -> Candidates:
    """The ``k`` best of several; never holds more than ``2 k`` rows, if no partial has more than ``k``."""
    best: Candidates | None = None
    for partial in partials:
        best = top(partial if best is None else _joined(best, partial), k)
    return best if best is not None else Candidates(np.empty(0, np.int64), np.empty(0, np.float64))


def _joined(a: Candidates, b: Candidates) -> Candidates:
    if not len(a) or not len(b):
        return a if len(a) else b
    features = None
    if a.features is not None and b.features is not None:
        if a.features.shape[1] != b.features.shape[1]:
            raise Invalid(f"shards have features of different widths: {a.features.shape[1]} and {b.features.shape[1]}")
        features = np.concatenate((a.features, b.features))
    return Candidates(np.concatenate((a.ids, b.ids)), np.concatenate((a.scores, b.scores)), features)
