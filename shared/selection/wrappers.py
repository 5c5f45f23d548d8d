"""What may be asked of any strategy beside its own choice: to look at less, to even out classes, to ask no doubles.

Each wraps a strategy and is one; it hands the inner one a narrower pool, and more than once if need be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from shared.errors import PoolEmpty
from shared.selection.base import (
    NOTHING,
    Floats,
    Ids,
    Labelled,
    Needs,
    Selection,
    ShardScores,
    ShardSource,
    Strategy,
    check_k,
)
from shared.selection.candidates import sampled
from shared.selection.grid import Grid, nearest, squared_distances
from shared.selection.topk import Candidates
from shared.selection.uncertainty import finish, hash_to_unit

_Row = TypeVar("_Row", bound=np.generic)
NONE = Selection(np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True)
class Subsampled:
    """The inner strategy over a share of the pool: the images whose ids hash below it, others every time.

    A smaller pool makes a selection cheaper and its batches more varied. What it costs: of the images worth most, only
    the share is found. Where the share holds fewer than K images, the rest come from the others.
    """

    inner: Strategy
    share: float

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def needs(self) -> Needs:
        return self.inner.needs

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes one number from ``rng``, the key, before the inner strategy's."""
        check_k(k)
        key = rng.integers(2**64, dtype=np.uint64)
        looked_at = _filtered(shards, lambda shard: hash_to_unit(shard.ids, key) < self.share)
        chosen = _tried(self.inner, looked_at, k, rng, labelled)
        if len(chosen.ids) == k:
            return chosen
        others = _filtered(shards, lambda shard: hash_to_unit(shard.ids, key) >= self.share)
        return _finished(_joined(chosen, _tried(self.inner, others, k - len(chosen.ids), rng, labelled)))


@dataclass(frozen=True)
class Balanced:
    """Quotas over predicted classes, so that what is labelled evens out (Aggarwal et al. 2020, Bengar et al. 2022).

    The quotas fill up the classes with the fewest labels to one level, as far as the pool has images predicted as
    such; the inner strategy chooses among the images of classes that are still wanted, again until the quotas are met.
    The batch is in the order of that level, so that any beginning of it evens out too. A class that the model never
    predicts gets nothing; an image predicted wrongly counts for the wrong class.
    """

    inner: Strategy

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def needs(self) -> Needs:
        return self.inner.needs | Needs(probabilities=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. One pass counts the predictions; then at most one selection for each class."""
        check_k(k)
        counts, supply = _counts(shards, labelled)
        quotas = even_quotas(counts, supply, k)
        chosen, classes = NONE, np.empty(0, np.int64)
        while (wanted := quotas - np.bincount(classes, minlength=len(quotas))).any():
            of_use = _filtered(_without(shards, chosen.ids), _predicted_in(wanted > 0))
            found = self.inner.select(of_use, int(wanted.sum()), rng, labelled)
            predicted = _rows_of(shards, found.ids, _predicted)
            kept = _rank_within(predicted) < wanted[predicted]
            chosen = _joined(chosen, Selection(found.ids[kept], found.scores[kept]))
            classes = np.concatenate((classes, predicted[kept]))
        level = counts[classes] + _rank_within(classes)
        order = np.argsort(level, kind="stable")
        return _finished(Selection(chosen.ids[order], chosen.scores[order]))


def even_quotas(counts: npt.NDArray[np.int64], supply: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.int64]:
    """How many of the ``k`` each class gets, int64 (C,): the least labelled first, none more than its ``supply``."""
    k = min(k, int(supply.sum()))
    low, high = 0, int(counts.max(initial=0)) + k + 1
    while high - low > 1:  # the highest level that k labels can fill
        level = (low + high) // 2
        if int(np.clip(level - counts, 0, supply).sum()) <= k:
            low = level
        else:
            high = level
    quotas: npt.NDArray[np.int64] = np.clip(low - counts, 0, supply)
    room = np.flatnonzero((counts <= low) & (quotas < supply))
    quotas[room[: k - int(quotas.sum())]] += 1
    return quotas


@dataclass(frozen=True)
class Distinct:
    """Of a burst of images that are nearly the same only one is asked, and none that is next to a labelled one.

    The inner strategy is asked for ``ASK`` times K; in its order, an image is kept if no kept or labelled one is
    nearer than ``share`` of the typical distance, the median between any two images of the pool. Where that leaves
    fewer than K it is asked over the rest of the pool for what is missing, with twice the surplus each time; after
    ``TRIES`` the ones left out follow in their order.
    """

    inner: Strategy
    share: float

    ASK = 3
    TRIES = 4
    PROBES = 512

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def needs(self) -> Needs:
        return self.inner.needs | Needs(features=True, labelled_features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes one number from ``rng``, the key of a sample, before the inner strategy's."""
        check_k(k)
        near = self.share * typical_distance(shards, rng.integers(2**64, dtype=np.uint64), self.PROBES)
        chosen, doubles, kept_features = NONE, NONE, labelled.features
        for attempt in range(self.TRIES):
            seen = np.concatenate((chosen.ids, doubles.ids))
            found = _tried(
                self.inner, _without(shards, seen), self.ASK * 2**attempt * (k - len(chosen.ids)), rng, labelled
            )
            if not len(found.ids):
                break
            features = _rows_of(shards, found.ids, ShardScores.needed_features)
            kept = apart(features, kept_features, near, k - len(chosen.ids))
            chosen = _joined(chosen, Selection(found.ids[kept], found.scores[kept]))
            if len(chosen.ids) == k:
                return chosen
            new = features[kept]
            kept_features = new if kept_features is None else np.concatenate((kept_features, new))
            doubles = _joined(doubles, Selection(np.delete(found.ids, kept), np.delete(found.scores, kept)))
        left = k - len(chosen.ids)
        return _finished(_joined(chosen, Selection(doubles.ids[:left], doubles.scores[:left])))


def apart(features: Floats, known: Floats | None, near: float, k: int) -> Ids:
    """The first ``k`` rows, int64, none nearer than ``near`` to a row taken before it or to one that is known."""
    grid = Grid.of(features, known)
    points, limit = grid.place(features), (near / grid.unit) ** 2
    free = np.ones(len(points), np.bool_)
    if known is not None and len(known):
        free = nearest(points, grid.place(known)) >= limit
    taken: list[int] = []
    for start in range(0, len(points), 256):
        if len(taken) == k:
            break
        block = start + np.flatnonzero(free[start : start + 256])
        block = block[nearest(points[block], points[taken]) >= limit]
        between, open_ = squared_distances(points[block], points[block]) >= limit, np.ones(len(block), np.bool_)
        for at in range(len(block)):
            if open_[at] and len(taken) < k:
                taken.append(int(block[at]))
                open_ &= between[at]
    return np.array(taken, np.int64)


def typical_distance(shards: ShardSource, key: np.uint64, probes: int) -> float:
    """The median distance between two images, over some that are drawn by their ids' hashes; of one image, 0."""
    found = sampled(shards, key, probes)
    if len(found) < 2:
        return 0.0
    assert found.features is not None
    grid = Grid.of(found.features)
    points = grid.place(found.features)
    pairs = squared_distances(points, points)[np.triu_indices(len(points), 1)]
    return float(np.sqrt(np.median(pairs))) * grid.unit


def _filtered(shards: ShardSource, keep: Callable[[ShardScores], npt.NDArray[np.bool_]]) -> ShardSource:
    def narrower() -> Iterator[ShardScores]:
        for shard in shards():
            yield shard.take(np.flatnonzero(keep(shard)))

    return narrower


def _tried(inner: Strategy, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled) -> Selection:
    """The inner selection, or nothing where nothing is left."""
    try:
        return inner.select(shards, k, rng, labelled)
    except PoolEmpty:
        return NONE


def _joined(first: Selection, second: Selection) -> Selection:
    return Selection(np.concatenate((first.ids, second.ids)), np.concatenate((first.scores, second.scores)))


def _finished(chosen: Selection) -> Selection:
    return finish(Candidates(chosen.ids, chosen.scores))


def _without(shards: ShardSource, ids: Ids) -> ShardSource:
    return _filtered(shards, lambda shard: ~np.isin(shard.ids, ids)) if len(ids) else shards


def _predicted(shard: ShardScores) -> Ids:
    classes: Ids = shard.needed_probabilities().argmax(axis=1)
    return classes


def _predicted_in(wanted: npt.NDArray[np.bool_]) -> Callable[[ShardScores], npt.NDArray[np.bool_]]:
    return lambda shard: wanted[_predicted(shard)]


def _counts(shards: ShardSource, labelled: Labelled) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Labels, and images predicted, per class: int64 (C,) each."""
    supply = np.zeros(labelled.n_classes, np.int64)
    for shard in shards():
        if len(shard.ids):
            found = np.bincount(_predicted(shard), minlength=len(supply))
            found[: len(supply)] += supply
            supply = found
    counts = np.zeros(len(supply), np.int64)
    counts[: labelled.n_classes] = labelled.counts()
    return counts, supply


def _rank_within(classes: Ids) -> npt.NDArray[np.int64]:
    """How many of its own class stand before each, int64 (n,)."""
    order = np.argsort(classes, kind="stable")
    starts = np.flatnonzero(np.diff(classes[order], prepend=-1))
    rank = np.empty(len(classes), np.int64)
    rank[order] = np.arange(len(classes)) - np.repeat(starts, np.diff(starts, append=len(classes)))
    return rank


def _rows_of(shards: ShardSource, ids: Ids, read: Callable[[ShardScores], npt.NDArray[_Row]]) -> npt.NDArray[_Row]:
    """What ``read`` says of these images, in their order. One pass."""
    found_ids, found = [], []
    for shard in shards():
        rows = np.flatnonzero(np.isin(shard.ids, ids))
        if len(rows):
            part = shard.take(rows)
            found_ids.append(part.ids)
            found.append(read(part))
    order = np.argsort(np.concatenate(found_ids))
    rows = order[np.searchsorted(np.concatenate(found_ids)[order], ids)]
    return np.concatenate(found)[rows]
