"""The flagship: part of the batch by uncertainty, the rest by closeness to clusters of what is uncertain.

Of a batch of K, ``S_u`` is the round(alpha K) images that the model is least sure of. k-means groups THEIR features,
and the other (1 - alpha) K are the unlabelled images nearest to a centre, S_u left out: images of the same difficult
kinds that the model is more sure of than it may have reason to be. Two passes, each map and reduce::

    pass 1  map_uncertain: a shard's top round(alpha K)   reduce_uncertain: their top, k-means -> Clusters
    pass 2  map_near: a shard's nearest (1 - alpha) K     reduce_near: their nearest -> Selection
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from shared.errors import Invalid
from shared.selection.base import NOTHING, Floats, Labelled, Needs, Selection, ShardScores, ShardSource, check_k
from shared.selection.clusters import exact_distances, kmeans, rows_that_may_be_nearest
from shared.selection.topk import Candidates, merge, top
from shared.selection.uncertainty import MEASURES, finish, map_uncertain


@dataclass(frozen=True)
class Clusters:
    """What pass 1 tells pass 2: S_u, the rest of the batch still wanted, and the centres, float32 (c, D)."""

    uncertain: Candidates
    centres: Floats | None
    wanted: int


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """Settings of the hybrid strategy.

    ``scores`` of the selection are the measure's values for S_u, which comes first, and then minus the squared
    distance to the nearest centre. Two edges: with alpha 1 this is the measure alone. Where alpha K rounds to 0 no
    S_u is there to cluster, so the centres are those of the K most uncertain images, which are then not taken as
    such: the batch is what lies nearest to them, themselves included.
    """

    measure: str = "margin"
    alpha: float = 0.5
    clusters: int = 20
    name = "hybrid"
    needs = Needs(probabilities=True, features=True)

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise Invalid(f"unknown measure {self.measure!r}; known are {', '.join(MEASURES)}")
        if not 0 <= self.alpha <= 1:
            raise Invalid(f"alpha is {self.alpha}; it must be from 0 to 1")
        if self.clusters < 1:
            raise Invalid(f"clusters is {self.clusters}; it must be at least 1")

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes one number from ``rng``, the seed of k-means."""
        check_k(k)
        seed = int(rng.integers(2**31 - 1))
        probe = self._by_uncertainty(k) or k
        measure = MEASURES[self.measure]
        uncertain = (map_uncertain(shard, measure, probe, with_features=True) for shard in shards())
        clusters = self.reduce_uncertain(uncertain, k, seed)
        if clusters.centres is None:
            return finish(clusters.uncertain)
        return reduce_near((map_near(shard, clusters) for shard in shards()), clusters)

    def reduce_uncertain(self, partials: Iterable[Candidates], k: int, seed: int) -> Clusters:
        """End of pass 1. No centres where S_u is already the whole batch or the whole pool."""
        by_uncertainty = self._by_uncertainty(k)
        best = merge(partials, by_uncertainty or k)
        uncertain = replace(best.take(np.arange(min(by_uncertainty, len(best)))), features=None)
        if not len(best) or by_uncertainty == k:
            return Clusters(uncertain, None, 0)
        assert best.features is not None
        centres = kmeans(best.features[np.argsort(best.ids)], self.clusters, seed)
        return Clusters(uncertain, centres, k - by_uncertainty)

    def _by_uncertainty(self, k: int) -> int:
        """alpha K to the nearest whole number, halves up."""
        return math.floor(self.alpha * k + 0.5)


def map_near(shard: ShardScores, clusters: Clusters) -> Candidates:
    """The images of a shard that are nearest to a centre, S_u left out; as many as are still wanted."""
    assert clusters.centres is not None
    free = np.flatnonzero(~np.isin(shard.ids, clusters.uncertain.ids))
    ids, features = shard.ids[free], shard.needed_features()[free]
    if not len(ids):
        return Candidates(ids, np.empty(0))
    if features.shape[1] != clusters.centres.shape[1]:
        raise Invalid(f"shards have features of different widths: {features.shape[1]} and {clusters.centres.shape[1]}")
    rows = rows_that_may_be_nearest(features, clusters.centres, clusters.wanted)
    return top(Candidates(ids[rows], -exact_distances(features[rows], clusters.centres)), clusters.wanted)


def reduce_near(partials: Iterable[Candidates], clusters: Clusters) -> Selection:
    """End of pass 2: S_u, then the nearest of all."""
    near = merge(partials, clusters.wanted)
    uncertain = clusters.uncertain
    return finish(
        Candidates(np.concatenate((uncertain.ids, near.ids)), np.concatenate((uncertain.scores, near.scores)))
    )
