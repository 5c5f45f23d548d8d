"""Expected model change: the images whose label, whatever it is, would move the last layer most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.selection.base import (
    NOTHING,
    Floats,
    Labelled,
    Needs,
    Scores,
    Selection,
    ShardScores,
    ShardSource,
    check_k,
)
from shared.selection.sums import add_in_order, in_columns
from shared.selection.topk import Candidates, merge, top
from shared.selection.uncertainty import finish


def expected_gradient_length(probabilities: Floats, features: Floats) -> Scores:
    """``sum_y p_y |p - e_y| sqrt(|h|^2 + 1)``, float64 (n,): EGL (Settles, Craven and Ray 2008; Settles
    2009, section 3.3) of the last layer, in closed form.

    The cross-entropy of ``softmax(W h + b)`` with label y has the gradient ``(p - e_y) h'`` in W and ``p - e_y`` in b,
    so its length is the product of both lengths; with ``|p - e_y|^2 = sum_c p_c^2 - 2 p_y + 1``. What the model was
    trained on has next to no gradient left, so that of the new image is the whole.
    """
    scores = np.empty(len(features))
    for here, h in in_columns(features):
        p = np.ascontiguousarray(probabilities[here].T, dtype=np.float64)
        # Of a certain class nothing is left but rounding, which may be negative.
        error = np.sqrt(np.maximum(add_in_order(p * p) - 2 * p + 1, 0.0))
        scores[here] = add_in_order(p * error) * np.sqrt(add_in_order(h * h) + 1)
    return scores


@dataclass(frozen=True)
class ExpectedGradient:
    """The k highest expected gradient lengths, which are ``scores``."""

    name = "expected_gradient"
    needs = Needs(probabilities=True, features=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``; nothing is random here, so ``rng`` is not used."""
        check_k(k)
        return finish(merge((map_moving(shard, k) for shard in shards()), k))


def map_moving(shard: ShardScores, k: int) -> Candidates:
    """The ``k`` images of a shard that would move the last layer most."""
    scores = expected_gradient_length(shard.needed_probabilities(), shard.needed_features())
    return top(Candidates(shard.ids, scores), k)
