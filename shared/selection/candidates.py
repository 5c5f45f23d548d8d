"""Strategies that look at many images at once look at candidates: a bounded part of the pool, gathered in one pass.

A map keeps of a shard its best by a score, with what the strategy reads of them; the reduction is ``merge``. Candidates
come in ascending order of id, so whatever is computed of them doesn't depend on how the pool was cut. What a cap costs:
of a pool with more than ``count`` images the rest is not looked at in this round. For ``sampled`` that is an unbiased
part, so a share of the pool that matters is missed only when it is rarer than about one in ``count / k``.
"""

from __future__ import annotations

import numpy as np

from shared.selection.base import ShardScores, ShardSource
from shared.selection.topk import Candidates, merge, top
from shared.selection.uncertainty import MEASURES, hash_to_unit, map_uncertain

PER_CHOICE = 4
"""However low the cap, a strategy sees at least so many candidates for each image that it is to choose."""


def cap(candidates: int, k: int) -> int:
    """How many candidates to gather for ``k`` choices where the option says ``candidates``."""
    return max(candidates, PER_CHOICE * k)


def uncertain(shards: ShardSource, measure: str, count: int) -> Candidates:
    """The ``count`` images that the model is least sure of, with their features; ``scores`` are the measure's."""
    ranks = MEASURES[measure]
    return merge((map_uncertain(one, ranks, count, with_features=True) for one in shards()), count).in_order_of_id()


def sampled(shards: ShardSource, key: np.uint64, count: int, *, with_probabilities: bool = False) -> Candidates:
    """Any ``count`` images, all equally likely, with their features; ``scores`` are the hashes of their ids."""
    partials = (map_sampled(one, key, count, with_probabilities=with_probabilities) for one in shards())
    return merge(partials, count).in_order_of_id()


def map_sampled(shard: ShardScores, key: np.uint64, count: int, *, with_probabilities: bool = False) -> Candidates:
    """The ``count`` images of a shard whose ids hash highest under ``key``."""
    probabilities = shard.needed_probabilities() if with_probabilities else None
    return top(Candidates(shard.ids, hash_to_unit(shard.ids, key), shard.needed_features(), probabilities), count)
