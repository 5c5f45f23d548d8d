"""Information density: uncertain images that many others are like, and not outliers.

Two passes, each map and reduce::

    pass 1  map_directions: the sum of a shard's unit vectors   add_up: their sum -> the pool's mean direction
    pass 2  map_dense: a shard's top k                          merge: their top -> Selection
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.selection.base import NOTHING, Labelled, Needs, Selection, ShardScores, ShardSource, check_k
from shared.selection.sums import UNIT_GRID, ExactSum, add_in_order, add_up, in_columns, lengths
from shared.selection.topk import Candidates, merge, top
from shared.selection.uncertainty import MEASURES, finish

LEAST_SIMILARITY = 1e-6
"""What images unlike the pool count as, so that those too are ranked among themselves, by their uncertainty."""


@dataclass(frozen=True, kw_only=True)
class Density:
    """``u(x) (1/|U| sum_u cos(x, u))^beta`` (information density: Settles and Craven 2008), u(x) an uncertainty measure
    and U the unlabelled pool, x itself included.

    The mean of the cosines is one product with the mean of the unit vectors, so no pair of images is ever compared.
    A mean cosine that is not positive counts as ``LEAST_SIMILARITY``; an image without a direction has cosine 0.
    """

    measure: str = "margin"
    beta: float = 1.0
    name = "density"
    needs = Needs(probabilities=True, features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``; nothing is random here, so ``rng`` is not used."""
        check_k(k)
        pool = add_up(map_directions(shard) for shard in shards())
        if pool is None:
            return finish(merge((), k))
        mean = pool.total / (pool.count * UNIT_GRID)
        return finish(merge((self.map_dense(shard, mean, k) for shard in shards()), k))

    def map_dense(self, shard: ShardScores, mean: npt.NDArray[np.float64], k: int) -> Candidates:
        """The ``k`` images of a shard with the highest product; ``mean`` float64 (D,) is of the pool's unit vectors."""
        uncertain, features = MEASURES[self.measure](shard.needed_probabilities()), shard.needed_features()
        similarity = np.empty(len(features))
        for here, columns in in_columns(features):
            similarity[here] = add_in_order(columns * mean[:, None]) / _length_or_one(columns)
        return top(Candidates(shard.ids, uncertain * np.maximum(similarity, LEAST_SIMILARITY) ** self.beta), k)


def map_directions(shard: ShardScores) -> ExactSum:
    """The sum of a shard's unit vectors, in steps of ``UNIT_GRID``."""
    features = shard.needed_features()
    total = np.zeros(features.shape[1], dtype=np.int64)
    for _, columns in in_columns(features):
        # Whole numbers, so NumPy may add them in any order.
        total += np.rint(columns / _length_or_one(columns) * UNIT_GRID).sum(axis=1).astype(np.int64)
    return ExactSum(total, len(features))


def _length_or_one(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    length = lengths(columns)
    return np.where(length > 0, length, 1.0)
