"""Making probabilities honest: one number that divides the logits, fitted on labels that the model did not see."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid

PRIOR_SCALE = 0.7
"""Standard deviation of the prior on the logarithm of a temperature: a factor of two either way is nothing unusual, and
twenty examples that happen to be all right can't make a model certain of everything."""
_BOUNDS = (math.log(0.01), math.log(100.0))
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit_temperature(logits: npt.NDArray[Any], y: npt.NDArray[Any], *, prior_scale: float = PRIOR_SCALE) -> float:
    """The temperature T under which ``softmax(logits / T)`` says best how sure to be.

    Parameters
    ----------
    logits : float (n, C), of examples that the model was not trained on.
    y : integers (n,), the true columns.
    prior_scale : of the normal prior on ln T, centred on no change; the summed loss outweighs it as n grows.

    Minimises the negative log-likelihood (Guo et al. 2017, section 4.2) and the prior's: convex in 1/T, so a search by
    the golden section finds it. 1 for no examples. Raises ``Invalid`` for arrays that don't fit each other.
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(y, np.int64)
    if scores.ndim != 2 or truth.shape != (len(scores),) or not np.isfinite(scores).all():
        raise Invalid(f"can't calibrate logits of shape {scores.shape} on labels of shape {truth.shape}")
    if not len(scores):
        return 1.0

    def loss(log_t: float) -> float:
        return _nll(scores / math.exp(log_t), truth) + 0.5 * (log_t / prior_scale) ** 2

    return math.exp(golden_section(loss, *_BOUNDS))


def golden_section(loss: Any, low: float, high: float, tolerance: float = 1e-4) -> float:
    """Where ``loss``, a function of one number with one minimum in between, has it."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > tolerance:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return (low + high) / 2


def _nll(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> float:
    """Summed over the examples, in nats."""
    top = scores.max(axis=1, keepdims=True)
    total = top[:, 0] + np.log(np.exp(scores - top).sum(axis=1))
    return float((total - scores[np.arange(len(truth)), truth]).sum())


def stratified_folds(y: npt.NDArray[Any], k: int, seed: int) -> npt.NDArray[np.int64]:
    """For each example the number of its fold, 0 to ``k - 1``: every class is spread over them as evenly as it goes."""
    rng = np.random.default_rng([seed, k])
    folds = np.empty(len(y), np.int64)
    dealt = 0
    for one in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == one))
        folds[rows] = (dealt + np.arange(len(rows))) % k
        dealt += len(rows)  # the next class goes on where this one ended, so that small classes don't fill one fold
    return folds
