"""What an annotator's record says of the next answer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PRIOR_ANSWERS, PRIOR_ACCURACY = 5.0, 0.8
"""Somebody of whom nothing is known counts as if 4 of 5 answers had been right: few answers move nobody far."""


def accuracy(right: npt.ArrayLike, answers: npt.ArrayLike) -> Floats:
    """The share of right answers to expect: the mean of a Beta prior that the record has updated.

    Parameters
    ----------
    right, answers : counts, of any shape. Without answers: ``PRIOR_ACCURACY``.
    """
    right, answers = np.asarray(right, np.float64), np.asarray(answers, np.float64)
    updated: Floats = (right + PRIOR_ANSWERS * PRIOR_ACCURACY) / (answers + PRIOR_ANSWERS)
    return updated


def vote_weight(accuracies: npt.ArrayLike, classes: int) -> Floats:
    """The weight of an answer in a vote: log((C - 1) q / (1 - q)), and never below 0.

    The optimal rule for independent people who err evenly over the other classes: S. Nitzan and J. Paroush, "Optimal
    decision rules in uncertain dichotomous choice situations", International Economic Review 23 (1982), theorem 1, for
    C = 2; for more classes the same log likelihood ratio. Who does no better than guessing weighs nothing: turning
    answers around would be optimal, but would trust a person for being wrong.
    """
    q = np.clip(np.asarray(accuracies, np.float64), 1e-6, 1 - 1e-6)
    weights: Floats = np.maximum(np.log(max(classes - 1, 1) * q / (1 - q)), 0.0)
    return weights


def training_weight(accuracies: npt.ArrayLike, classes: int) -> Floats:
    """How much of a label a trainer should believe: accuracy above chance, (C q - 1) / (C - 1), from 0 to 1.

    Under even errors a label is right with probability w and drawn at random otherwise, where w is this weight: it is
    the share of the label that carries information.
    """
    q = np.asarray(accuracies, np.float64)
    weights: Floats = np.clip((classes * q - 1) / max(classes - 1, 1), 0.0, 1.0)
    return weights
