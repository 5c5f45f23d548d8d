"""Expected error reduction: the images after whose labels the head would be surest of the rest of the pool.

Two passes, each map and reduce::

    pass 1  map_candidates: a shard's most uncertain    merge: the most uncertain of all
    pass 2  map_reference: a shard's random sample      merge: the sample of the pool -> scores, Selection
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.errors import Invalid
from shared.selection.base import NOTHING, Labelled, Needs, Scores, Selection, ShardScores, ShardSource, check_k
from shared.selection.linear import LinearHead, Matrix, can_fit, fit_head
from shared.selection.topk import Candidates, merge, top
from shared.selection.uncertainty import MEASURES, Uncertainty, finish, hash_to_unit

LABELS = 5
"""Of so many likeliest labels of a candidate the expectation is taken; their probabilities are made to sum to 1."""
_BLOCK = 64


@dataclass(frozen=True, kw_only=True)
class ErrorReduction:
    """``R - sum_y p(y|x) R(x, y)`` with ``R(x, y) = 1/|U| sum_u (1 - max_c q_c(u))``, q the head's probabilities once x
    is labelled y (Roy and McCallum 2001, with 0/1 loss), and R the same of the head as it is.

    The head is ridge, so nothing is trained: by Sherman and Morrison a label y for x changes the outputs on u to
    ``f(u) + a (t_y - f(x))``, ``a = u' A^-1 x / (1 + x' A^-1 x)``. Its outputs sum to 2 - C, so ``q = (1 + f) / 2``
    sums to 1; what exceeds 1 counts as 1. ``p(y|x)`` are the model's own probabilities.

    Exact for the head, but for two caps: only the most uncertain images are candidates (``candidates``, and never fewer
    than twice the batch), and U is a random sample of ``reference`` images, by a keyed hash. The batch are the K best
    one by one. Work and time go with candidates x reference x C x ``LABELS``. With fewer than two labelled classes this
    is ``margin``. ``scores`` are the reductions, of either sign.
    """

    measure: str = "margin"
    candidates: int = 2000
    reference: int = 500
    name = "error_reduction"
    needs = Needs(probabilities=True, features=True, labelled_features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes one number from ``rng``, the key of the sample."""
        check_k(k)
        key = rng.integers(2**64, dtype=np.uint64)
        if not can_fit(labelled):
            return Uncertainty("margin").select(shards, k, rng, labelled)
        head = fit_head(labelled)
        limit = max(self.candidates, 2 * k)
        candidates = merge((self.map_candidates(shard, limit) for shard in shards()), limit).in_order_of_id()
        reference = merge((self.map_reference(shard, key) for shard in shards()), self.reference).in_order_of_id()
        if not len(candidates):
            return finish(candidates)
        return finish(top(Candidates(candidates.ids, reductions(head, candidates, reference)), k))

    def map_candidates(self, shard: ShardScores, limit: int) -> Candidates:
        """The ``limit`` most uncertain images of a shard, with all that is known of them."""
        probabilities, features = shard.needed_probabilities(), shard.needed_features()
        return top(Candidates(shard.ids, MEASURES[self.measure](probabilities), features, probabilities), limit)

    def map_reference(self, shard: ShardScores, key: np.uint64) -> Candidates:
        """The images of a shard that may be in the sample: those whose ids hash highest."""
        return top(Candidates(shard.ids, hash_to_unit(shard.ids, key), shard.needed_features()), self.reference)


def reductions(head: LinearHead, candidates: Candidates, reference: Candidates) -> Scores:
    """By how much each candidate's label is expected to lower the error on the reference, float64 (n,)."""
    assert candidates.features is not None and candidates.probabilities is not None and reference.features is not None
    if candidates.probabilities.shape[1] > head.weight.shape[1]:
        known = f"{candidates.probabilities.shape[1]} classes and the labels {head.weight.shape[1]}"
        raise Invalid(f"the model has {known}")
    x = head.standardised(candidates.features.T.astype(np.float64)).T
    u = head.standardised(reference.features.T.astype(np.float64))
    outputs, now = x @ head.weight, (u.T @ head.weight).T
    projected = x @ head.covariance()
    own = (projected * x).sum(axis=1)
    likeliest = np.argsort(-candidates.probabilities, axis=1, kind="stable")[:, :LABELS]
    chances = np.take_along_axis(candidates.probabilities, likeliest, axis=1).astype(np.float64)
    chances /= chances.sum(axis=1, keepdims=True)
    expected = np.zeros(len(x))
    for start in range(0, len(x), _BLOCK):
        here = slice(start, start + _BLOCK)
        moved = (projected[here] @ u) / (1 + own[here, None])
        for rank in range(likeliest.shape[1]):
            target = np.where(likeliest[here, rank, None] == np.arange(outputs.shape[1]), 1.0, -1.0)
            expected[here] += chances[here, rank] * _risk(now, moved, target - outputs[here])
    return _risk(now, np.zeros((1, u.shape[1])), np.zeros((1, len(now)))) - expected


def _risk(now: Matrix, moved: Matrix, surprise: Matrix) -> Scores:
    """The mean of ``1 - max_c q_c`` after each of b labels: ``now`` (C, r), ``moved`` (b, r), ``surprise`` (b, C)."""
    best = now[0] + moved * surprise[:, :1]
    step = np.empty_like(best)
    for outputs, column in zip(now[1:], surprise.T[1:], strict=True):
        np.multiply(moved, column[:, None], out=step)
        step += outputs
        np.maximum(best, step, out=best)
    result: Scores = 1 - (1 + np.minimum(best, 1.0)).mean(axis=1) / 2
    return result
