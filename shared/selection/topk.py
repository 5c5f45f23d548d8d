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
    """Images that may be chosen, best first, and what is known of each: the columns are those of ``ShardScores``.

    ids int64 (n,), scores float64 (n,), features float32 (n, D) or None, probabilities float32 (n, C) or None.
    """

    ids: Ids
    scores: Scores
    features: Floats | None = None
    probabilities: Floats | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: npt.NDArray[np.int64]) -> Candidates:
        return Candidates(
            self.ids[rows],
            self.scores[rows],
            None if self.features is None else self.features[rows],
            None if self.probabilities is None else self.probabilities[rows],
        )

    def in_order_of_id(self) -> Candidates:
        """The same images in the one order that doesn't depend on how they were found."""
        return self.take(np.argsort(self.ids))


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
    """The ``k`` best of several; never holds more than ``3 k`` rows, if no partial has more than ``k``.

    Of a partial only what is as good as the worst of the best so far is kept, and these wait until there are enough of
    them to be worth sorting in.
    """
    best: Candidates | None = None
    waiting: list[Candidates] = []
    for partial in partials:
        if best is not None and len(best) == k > 0:
            # Not "at least as good", because a score that is not a number must get as far as ``top``.
            partial = partial.take(np.flatnonzero(~(partial.scores < best.scores[-1])))
        waiting.append(partial)
        if best is None or sum(map(len, waiting)) >= k:
            best, waiting = top(_joined([*([best] if best else []), *waiting]), k), []
    if waiting and best is not None:
        best = top(_joined([best, *waiting]), k)
    return best if best is not None else Candidates(np.empty(0, np.int64), np.empty(0, np.float64))


def _joined(parts: list[Candidates]) -> Candidates:
    parts = [part for part in parts if len(part)] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    return Candidates(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.scores for part in parts]),
        _stacked([part.features for part in parts], "features"),
        _stacked([part.probabilities for part in parts], "probabilities"),
    )


def _stacked(columns: list[Floats | None], what: str) -> Floats | None:
    there = [column for column in columns if column is not None]
    if len(there) < len(columns):
        return None
    widths = sorted({column.shape[1] for column in there})
    if len(widths) > 1:
        raise Invalid(f"shards have {what} of different widths: {' and '.join(map(str, widths))}")
    return np.concatenate(there)
