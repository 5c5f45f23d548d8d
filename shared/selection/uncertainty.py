"""Uncertainty sampling (Settles 2009, section 3.1) and its baseline, random sampling.

Every measure maps float (n, C) probabilities to float64 (n,), higher for what the model is less sure of. All of them
work element by element and add columns in order, so that a row's score never depends on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.errors import PoolEmpty
from shared.selection.base import (
    NOTHING,
    Floats,
    Ids,
    Labelled,
    Needs,
    Scores,
    Selection,
    ShardScores,
    ShardSource,
    check_k,
)
from shared.selection.topk import Candidates, merge, top


def least_confidence(probabilities: Floats) -> Scores:
    """``1 - p1``, p1 the highest probability: from 0 to 1 - 1/C."""
    highest: Scores = probabilities.max(axis=1).astype(np.float64)
    return 1.0 - highest


def margin(probabilities: Floats) -> Scores:
    """``1 - (p1 - p2)``, p1 and p2 the two highest: from 0 to 1. With a single class everything is certain: 0."""
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    columns = probabilities.shape[1]
    highest = np.partition(probabilities, columns - 2, axis=1)[:, columns - 2 :].astype(np.float64)
    return 1.0 - (highest[:, 1] - highest[:, 0])


def largest_margin(probabilities: Floats) -> Scores:
    """``1 - (p1 - pC)``, of the highest and the lowest probability: from 0 to 1. A control rather than a choice: with
    many classes the lowest is next to 0 whatever the image, so this is least confidence with noise. A single class: 0.
    """
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    highest: Scores = probabilities.max(axis=1).astype(np.float64)
    lowest: Scores = probabilities.min(axis=1).astype(np.float64)
    return 1.0 - (highest - lowest)


def entropy(probabilities: Floats) -> Scores:
    """``-sum p ln p`` in nats, with 0 ln 0 = 0: from 0 to ln C."""
    total = np.zeros(len(probabilities))
    for column in range(probabilities.shape[1]):
        p = probabilities[:, column].astype(np.float64)
        total -= p * np.log(p, out=np.zeros_like(p), where=p > 0)
    return total


Measure = Callable[[Floats], Scores]
MEASURES: dict[str, Measure] = {
    "least_confidence": least_confidence,
    "margin": margin,
    "largest_margin": largest_margin,
    "entropy": entropy,
}


def map_uncertain(shard: ShardScores, measure: Measure, k: int, *, with_features: bool = False) -> Candidates:
    """The ``k`` images of a shard that the model is least sure of."""
    scores = measure(shard.needed_probabilities())
    return top(Candidates(shard.ids, scores, shard.needed_features() if with_features else None), k)


@dataclass(frozen=True)
class Uncertainty:
    """The k highest by one measure. ``scores`` of the selection are the measure's values."""

    name: str
    needs = Needs(probabilities=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``; nothing is random here, so ``rng`` is not used."""
        check_k(k)
        measure = MEASURES[self.name]
        return finish(merge((map_uncertain(shard, measure, k) for shard in shards()), k))


@dataclass(frozen=True)
class Random:
    """Uniform without replacement: the k highest of a keyed hash of the ids. ``scores`` are those hashes, 0 to 1.

    A hash and not a draw per row, because a draw would depend on where in which shard a row lies.
    """

    name = "random"
    needs = Needs()

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes one number from ``rng``, the key."""
        check_k(k)
        key = rng.integers(2**64, dtype=np.uint64)
        return finish(merge((map_random(shard, key, k) for shard in shards()), k))


def map_random(shard: ShardScores, key: np.uint64, k: int) -> Candidates:
    """The ``k`` images of a shard whose ids hash highest under ``key``."""
    return top(Candidates(shard.ids, hash_to_unit(shard.ids, key)), k)


def hash_to_unit(ids: Ids, key: np.uint64) -> Scores:
    """Uniform numbers in [0, 1) that depend on the id and the key alone, by the finaliser of splitmix64.

    The key is mixed once itself, so that neighbouring keys don't give related orders.
    """
    mixed_key = _splitmix64(np.array([key], dtype=np.uint64))
    hashes = _splitmix64(ids.astype(np.uint64) + mixed_key)
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _splitmix64(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One output of splitmix64 for each state (Steele, Lea and Flood 2014); unsigned sums wrap as they should."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def finish(best: Candidates) -> Selection:
    """The last reduction's result as a selection. Raises ``PoolEmpty`` where it is nothing."""
    if not len(best):
        raise PoolEmpty("no unlabelled image is left to select")
    return Selection(ids=best.ids, scores=best.scores)
