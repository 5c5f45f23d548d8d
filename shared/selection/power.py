"""Stochastic batches: images drawn by their scores instead of the highest scores taken.

Kirsch, Farquhar, Atighehchian, Jesson, Branchaud-Charron and Gal, "Stochastic Batch Acquisition: A Simple Baseline for
Deep Active Learning" (2023): the K highest of ``beta ln s + g``, with g Gumbel noise, are K draws without replacement
with probabilities that go with ``s^beta``. With beta 0 that is random, and the higher beta, the more it is the top K.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.selection.base import NOTHING, Ids, Labelled, Needs, Scores, Selection, ShardScores, ShardSource, check_k
from shared.selection.topk import Candidates, merge, top
from shared.selection.uncertainty import MEASURES, finish, hash_to_unit

LEAST = 1e-12
"""Scores below are rounding; all count as this one, so that certain images are drawn last, at random."""


def powered(ids: Ids, scores: Scores, beta: float, key: np.uint64) -> Scores:
    """``beta ln s + g``, float64 (n,): g is Gumbel noise from a keyed hash of the id, so that it is the same in any
    shard."""
    uniform = np.maximum(hash_to_unit(ids, key), 2.0**-54)
    noise: Scores = -np.log(-np.log(uniform))
    return beta * np.log(np.maximum(scores, LEAST)) + noise


@dataclass(frozen=True, kw_only=True)
class Power:
    """Power sampling over an uncertainty measure. ``scores`` are ``beta ln s`` plus the noise."""

    measure: str = "margin"
    beta: float = 1.0
    name = "power"
    needs = Needs(probabilities=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes one number from ``rng``, the key of the noise."""
        check_k(k)
        key = rng.integers(2**64, dtype=np.uint64)
        return finish(merge((self.map_drawn(shard, key, k) for shard in shards()), k))

    def map_drawn(self, shard: ShardScores, key: np.uint64, k: int) -> Candidates:
        """The ``k`` images of a shard with the highest noisy scores."""
        scores = MEASURES[self.measure](shard.needed_probabilities())
        return top(Candidates(shard.ids, powered(shard.ids, scores, self.beta, key)), k)
