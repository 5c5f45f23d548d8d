"""Expected error reduction: the images after whose labels the head would be surest of the rest of the pool.

Two passes, each map and reduce::

    pass 1  map_candidates: a shard's most uncertain    merge: the most uncertain of all
    pass 2  map_reference: a shard's random sample      merge: the sample of the pool -> scores, Selection
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid
from shared.selection.base import NOTHING, Floats, Labelled, Needs, Scores, Selection, ShardScores, ShardSource, check_k
from shared.selection.linear import LinearHead, Matrix, can_fit, fit_head
from shared.selection.topk import Candidates, merge, top
from shared.selection.uncertainty import MEASURES, Uncertainty, finish, hash_to_unit

LABELS = 5
"""Of so many likeliest labels of a candidate the expectation is taken; their probabilities are made to sum to 1."""
MOST_CANDIDATES = 50_000
"""No more than so many are tried, unless two batches are more."""
WORK = 4_000_000_000
"""Of so many outputs, each after one label, the highest is found in one selection: under a minute on two cores."""
_BLOCK = 64


@dataclass(frozen=True, kw_only=True)
class ErrorReduction:
    """``R - sum_y p(y|x) R(x, y)`` with ``R(x, y) = 1/|U| sum_u (1 - max_c q_c(u))``, q the head's probabilities once x
    is labelled y (Roy and McCallum 2001, with 0/1 loss), and R the same of the head as it is.

    The head is ridge, so nothing is trained: by Sherman and Morrison a label y for x changes the outputs on u to
    ``f(u) + a (t_y - f(x))``, ``a = u' A^-1 x / (1 + x' A^-1 x)``. Its outputs sum to 2 - C, so ``q = (1 + f) / 2``
    sums to 1; what exceeds 1 counts as 1. ``p(y|x)`` are the model's own probabilities.

    Exact for the head, but for two caps: only the most uncertain images are candidates, ``candidates`` for each that is
    to be chosen, and U is a random sample of ``reference`` images, by a keyed hash. The best are alike, so a
    batch is chosen one by one, each image counting as labelled with its likeliest label for the choice of the next; or
    more at a time where that would take more than ``WORK``: a choice takes candidates x reference x C x ``LABELS``.
    With fewer than two labelled classes this is ``margin``. ``scores`` are the reductions, of either sign, as each is
    chosen.
    """

    measure: str = "margin"
    candidates: int = 10
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
        limit = max(2 * k, min(self.candidates * k, MOST_CANDIDATES))
        candidates = merge((self.map_candidates(shard, limit) for shard in shards()), limit).in_order_of_id()
        reference = merge((self.map_reference(shard, key) for shard in shards()), self.reference).in_order_of_id()
        if not len(candidates):
            return finish(candidates)
        return finish(choose(head, candidates, reference, k))

    def map_candidates(self, shard: ShardScores, limit: int) -> Candidates:
        """The ``limit`` most uncertain images of a shard, with all that is known of them."""
        probabilities, features = shard.needed_probabilities(), shard.needed_features()
        return top(Candidates(shard.ids, MEASURES[self.measure](probabilities), features, probabilities), limit)

    def map_reference(self, shard: ShardScores, key: np.uint64) -> Candidates:
        """The images of a shard that may be in the sample: those whose ids hash highest."""
        return top(Candidates(shard.ids, hash_to_unit(shard.ids, key), shard.needed_features()), self.reference)


@dataclass(frozen=True)
class Belief:
    """The head's weights (D + 1, C) and ``A^-1`` (D + 1, D + 1)."""

    weight: Matrix
    covariance: Matrix

    def after(self, rows: Matrix, targets: Matrix) -> Belief:
        """With b more labels: rows (b, D + 1), targets (b, C). The update by Sherman, Morrison and Woodbury."""
        reach = rows @ self.covariance
        gain = np.linalg.solve(np.eye(len(rows)) + reach @ rows.T, reach).T
        return Belief(self.weight + gain @ (targets - rows @ self.weight), self.covariance - gain @ reach)


def choose(head: LinearHead, candidates: Candidates, reference: Candidates, k: int) -> Candidates:
    """``k`` of the candidates, in order of id: some at a time, and those count as labelled, each with its likeliest
    label, for the choice of the next. How many at a time follows from the sizes alone."""
    assert candidates.features is not None and candidates.probabilities is not None and reference.features is not None
    classes = head.weight.shape[1]
    if candidates.probabilities.shape[1] > classes:
        raise Invalid(f"the model has {candidates.probabilities.shape[1]} classes and the labels {classes}")
    x = head.standardised(candidates.features.T.astype(np.float64)).T
    u = head.standardised(reference.features.T.astype(np.float64))
    belief, likely = Belief(head.weight, head.covariance()), _likeliest(candidates.probabilities)
    work = len(x) * u.shape[1] * classes * likely.labels.shape[1]
    at_once = math.ceil(k / max(1, WORK // work))
    chosen = merge((), k)
    left = np.arange(len(x))
    while len(chosen) < k and len(left):
        # Rounded, because equal images may differ in the last bit of a matrix product; ties are by id.
        scores = np.round(reductions(belief, x[left], u, likely.take(left)), 9)
        best = top(Candidates(candidates.ids[left], scores), min(at_once, k - len(chosen)))
        rows = np.searchsorted(candidates.ids, best.ids)
        belief = belief.after(x[rows], _targets(likely.labels[rows, 0], classes))
        left = np.setdiff1d(left, rows)
        chosen = Candidates(np.concatenate((chosen.ids, best.ids)), np.concatenate((chosen.scores, best.scores)))
    return chosen


@dataclass(frozen=True)
class Likely:
    """Of n images the ``LABELS`` likeliest labels, int64 (n, l), likeliest first, and their chances, float64 (n, l)."""

    labels: npt.NDArray[np.int64]
    chances: Matrix

    def take(self, rows: npt.NDArray[np.int64]) -> Likely:
        return Likely(self.labels[rows], self.chances[rows])


def _likeliest(probabilities: Floats) -> Likely:
    labels = np.argsort(-probabilities, axis=1, kind="stable")[:, :LABELS]
    chances = np.take_along_axis(probabilities, labels, axis=1).astype(np.float64)
    return Likely(labels, chances / chances.sum(axis=1, keepdims=True))


def _targets(labels: npt.NDArray[np.int64], classes: int) -> Matrix:
    return np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)


def reductions(belief: Belief, x: Matrix, u: Matrix, likely: Likely) -> Scores:
    """By how much a label for each of x (n, D + 1) is expected to lower the error on u (D + 1, r): float64 (n,)."""
    outputs, now = x @ belief.weight, (u.T @ belief.weight).T
    projected = x @ belief.covariance
    own = (projected * x).sum(axis=1)
    expected = np.zeros(len(x))
    for start in range(0, len(x), _BLOCK):
        here = slice(start, start + _BLOCK)
        moved = (projected[here] @ u) / (1 + own[here, None])
        for rank in range(likely.labels.shape[1]):
            surprise = _targets(likely.labels[here, rank], outputs.shape[1]) - outputs[here]
            expected[here] += likely.chances[here, rank] * _risk(now, moved, surprise)
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
