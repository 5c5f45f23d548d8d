"""Variance reduction: the images whose labels would make the head's predictions on the pool vary least.

Two passes, each map and reduce::

    pass 1  map_moments: the sum of g(u) u u' over a shard   add_up, prepare -> Reduction
    pass 2  map_reducing: a shard's top candidates           merge, reduce_greedily: one after the other -> Selection
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shared.selection.base import NOTHING, Floats, Labelled, Needs, Scores, Selection, ShardScores, ShardSource, check_k
from shared.selection.linear import LinearHead, Matrix, can_fit, fit_head
from shared.selection.sums import GRID, ExactSum, GridMatrix, add_in_order, add_up, in_columns, on_grid
from shared.selection.topk import Candidates, merge, top
from shared.selection.uncertainty import Uncertainty, finish

CHOICES = 500
"""A batch is chosen in so many steps at most."""
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

    The images with the highest scores are alike, so a batch is chosen one by one: each image counts as labelled, with
    its weight g, for the choice of the next. That needs no labels, and is exact for batches of at most ``CHOICES``,
    among the ``candidates`` images with the highest scores, never fewer than twice the batch. Of a larger batch as many
    are chosen at a time as make that number of choices. ``scores`` are by how much the variance falls with each.

    Features are standardised and cut off at 32 deviations. With fewer than two labelled classes this is ``margin``.
    """

    head: str = "softmax"
    candidates: int = 5000
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
        moments = add_up(
            map_moments(shard, head, self._information(shard.needed_probabilities())) for shard in shards()
        )
        if moments is None:
            return finish(merge((), k))
        reduction = prepare(head, moments, weights / scale, scale)
        limit = max(self.candidates, 2 * k)
        best = merge(
            (
                map_reducing(shard, reduction, self._information(shard.needed_probabilities()), limit)
                for shard in shards()
            ),
            limit,
        ).in_order_of_id()
        assert best.probabilities is not None
        return finish(reduce_greedily(best, reduction, self._information(best.probabilities), k))

    def _information(self, probabilities: Floats) -> Scores:
        return information(probabilities) if self.head == "softmax" else np.ones(len(probabilities))

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
    """What pass 1 tells pass 2: A^-1, S, both (D + 1, D + 1), and what a weight g is divided by."""

    head: LinearHead
    covariance: Matrix
    pool: Matrix
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
    pool = moments.total / (moments.count * GRID * GRID)
    return Reduction(head, head.covariance(weights), pool, scale)


def map_reducing(shard: ShardScores, reduction: Reduction, g: Scores, k: int) -> Candidates:
    """The ``k`` images of a shard whose labels would each reduce the variance most, with all that is known of them."""
    features = shard.needed_features()
    own, through = _forms(reduction)
    scores = np.empty(len(features))
    for here, columns in in_columns(features):
        steps = on_grid(reduction.head.standardised(columns))
        scores[here] = _fall(g[here] / reduction.scale, own.quadratic(steps), through.quadratic(steps))
    return top(Candidates(shard.ids, scores, features, shard.probabilities), k)


def reduce_greedily(candidates: Candidates, reduction: Reduction, g: Scores, k: int) -> Candidates:
    """``k`` of the candidates, in order of id, each the best once those before it are labelled; of a large
    batch several at a time.

    With ``p = A^-1 x`` of the image that is chosen and ``s = g / (1 + g x' p)``, A^-1 becomes ``A^-1 - s p p'``. So of
    every other z, with ``c = z' p``, ``z' A^-1 z`` falls by ``s c^2`` and ``|A^-1 z|_S^2`` by ``2 s c z' A^-1 S p - s^2
    c^2 p' S p``: for each choice one product of two vectors with all candidates.
    """
    assert candidates.features is not None
    steps = on_grid(reduction.head.standardised(candidates.features.T.astype(np.float64)))
    own, through = (form.quadratic(steps) for form in _forms(reduction))
    weights, inverse = g / reduction.scale, reduction.covariance
    left = np.arange(len(candidates))
    chosen = merge((), k)
    while len(chosen) < k and len(left):
        falls = Candidates(candidates.ids[left], _fall(weights[left], own[left], through[left]))
        best = top(falls, min(math.ceil(k / CHOICES), k - len(chosen)))
        rows = np.searchsorted(candidates.ids, best.ids)
        vectors, shares = list[Scores](), list[tuple[float, float]]()
        for row in rows:
            x = steps[:, row] / GRID
            p = inverse @ x
            sp = reduction.pool @ p
            share = float(weights[row] / (1 + weights[row] * (x @ p)))
            vectors += [p, inverse @ sp]
            shares.append((share, share * float(p @ sp)))
            inverse = inverse - share * np.outer(p, p)
        products = GridMatrix.of(np.stack(vectors)).product(steps)
        for c, d, (share, square) in zip(products[::2], products[1::2], shares, strict=True):
            own -= share * c * c
            through -= share * c * (2 * d - square * c)
        left = np.setdiff1d(left, rows)
        chosen = Candidates(np.concatenate((chosen.ids, best.ids)), np.concatenate((chosen.scores, best.scores)))
    return chosen


def _forms(reduction: Reduction) -> tuple[GridMatrix, GridMatrix]:
    """A^-1 and A^-1 S A^-1, for exact products."""
    inverse = reduction.covariance
    return GridMatrix.of(inverse), GridMatrix.of(inverse @ reduction.pool @ inverse)


def _fall(weights: Scores, own: Scores, through: Scores) -> Scores:
    """``g |A^-1 x|_S^2 / (1 + g x' A^-1 x)``; what rounding made negative is 0."""
    result: Scores = weights * np.maximum(through, 0.0) / (1 + weights * np.maximum(own, 0.0))
    return result
