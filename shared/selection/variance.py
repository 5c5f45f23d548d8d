"""Variance reduction: the images whose labels would make the head's predictions on the pool vary least.

Two passes, each map and reduce::

    pass 1  map_moments: the sum of g(u) u u' over a shard   add_up, prepare -> Reduction
    pass 2  map_reducing: a shard's top k                    merge: their top -> Selection
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.selection.base import NOTHING, Floats, Labelled, Needs, Scores, Selection, ShardScores, ShardSource, check_k
from shared.selection.linear import LinearHead, can_fit, fit_head
from shared.selection.sums import GRID, ExactSum, GridMatrix, add_in_order, add_up, in_columns, on_grid
from shared.selection.topk import Candidates, merge, top
from shared.selection.uncertainty import Uncertainty, finish

LEAST_INFORMATION = 1e-6
"""What a labelled image of which the head is sure still counts, so that A can be inverted."""


@dataclass(frozen=True, kw_only=True)
class Variance:
    """``g |A^-1 x|_S^2 / (1 + g x' A^-1 x)``: by how much the mean variance of the pool's predictions falls with x.

    The inverse A^-1 of the Fisher information of what is labelled is the head's variance (Cohn, Ghahramani and Jordan
    1996), so the mean variance of its outputs on the pool is ``tr(A^-1 S)``, with S the mean of ``g(u) u u'`` over the
    pool. A label for x adds ``g x x'`` to A, and by Sherman and Morrison the trace falls by the score (Zhang and Oles
    2000 for logistic regression; Ji and Han 2012 for the sum over the pool, V-optimality).

    ``head`` says what g is. Of a ridge head every image has the same information: g = 1, ``A = X'X + penalty``, and the
    labels matter for the penalty alone. Of a softmax head an image has ``(diag(p) - p p') (x) x x'``, of CD by CD;
    replacing the first factor by the mean of its diagonal, as is exact for two classes, leaves ``g = sum_c p_c (1 -
    p_c)`` and D by D. For the pool p is the model's; for what is labelled, ``(1 + f) / 2`` of the ridge head's outputs
    with the image left out. g counts relative to its mean over what is labelled, so that the penalty keeps its weight.

    Features are standardised and cut off at 32 deviations. With fewer than two labelled classes this is ``margin``.
    """

    head: str = "softmax"
    name = "variance"
    needs = Needs(probabilities=True, features=True, labelled_features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``; nothing is random here, so ``rng`` is not used."""
        check_k(k)
        if not can_fit(labelled):
            return Uncertainty("margin").select(shards, k, rng, labelled)
        head = fit_head(labelled)
        weights = self._labelled_information(head)
        scale = float(weights.mean())
        moments = add_up(map_moments(shard, head, self._information(shard)) for shard in shards())
        if moments is None:
            return finish(merge((), k))
        reduction = prepare(head, moments, weights / scale, scale)
        return finish(merge((map_reducing(shard, reduction, self._information(shard), k) for shard in shards()), k))

    def _information(self, shard: ShardScores) -> Scores:
        return information(shard.needed_probabilities()) if self.head == "softmax" else np.ones(len(shard.ids))

    def _labelled_information(self, head: LinearHead) -> Scores:
        if self.head != "softmax":
            return np.ones(len(head.rows))
        p = np.clip((1 + head.left_out) / 2, 0, 1)
        result: Scores = np.maximum((p * (1 - p)).sum(axis=1), LEAST_INFORMATION)
        return result


def information(probabilities: Floats) -> Scores:
    """``g = sum_c p_c (1 - p_c)``, float64 (n,)."""
    g = np.empty(len(probabilities))
    for here, p in in_columns(probabilities):
        g[here] = np.maximum(add_in_order(p * (1 - p)), 0.0)
    return g


@dataclass(frozen=True)
class Reduction:
    """What pass 1 tells pass 2: A^-1, A^-1 S A^-1, and what a weight g is divided by."""

    head: LinearHead
    covariance: GridMatrix
    through_pool: GridMatrix
    scale: float


def map_moments(shard: ShardScores, head: LinearHead, g: Scores) -> ExactSum:
    """The sum of ``g x x'`` over a shard, int64 (D + 1, D + 1), in steps of ``GRID`` squared."""
    features = shard.needed_features()
    total = np.zeros((features.shape[1] + 1,) * 2, dtype=np.int64)
    for here, columns in in_columns(features):
        steps = on_grid(np.sqrt(g[here]) * head.standardised(columns))
        total += (steps @ steps.T).astype(np.int64)
    return ExactSum(total, len(features))


def prepare(head: LinearHead, moments: ExactSum, weights: Scores, scale: float) -> Reduction:
    """End of pass 1; ``weights`` (m,) are those of what is labelled."""
    inverse = head.covariance(weights)
    pool = moments.total / (moments.count * GRID * GRID)
    return Reduction(head, GridMatrix.of(inverse), GridMatrix.of(inverse @ pool @ inverse), scale)


def map_reducing(shard: ShardScores, reduction: Reduction, g: Scores, k: int) -> Candidates:
    """The ``k`` images of a shard whose labels would reduce the variance most."""
    features = shard.needed_features()
    scores = np.empty(len(features))
    for here, columns in in_columns(features):
        steps = on_grid(reduction.head.standardised(columns))
        weight = g[here] / reduction.scale
        gained = weight * np.maximum(reduction.through_pool.quadratic(steps), 0.0)
        scores[here] = gained / (1 + weight * np.maximum(reduction.covariance.quadratic(steps), 0.0))
    return top(Candidates(shard.ids, scores), k)
