"""What several people's answers say together: by majority, and by the model of Dawid and Skene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.quality.answers import Answers, Floats, votes

MAX_ITERATIONS, TOLERANCE = 100, 1e-5
SMOOTHING = 0.01


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """``probabilities`` float64 (n_items, n_classes): of each class being the truth; of items without an answer it is
    the prior. ``prior`` (n_classes,); ``errors`` (n_annotators, n_classes, n_classes): how likely each annotator says
    the second class where the first is true."""

    probabilities: Floats
    prior: Floats
    errors: Floats
    iterations: int
    converged: bool


def majority(answers: Answers, weights: Floats | None = None) -> Floats:
    """The share of the votes that each class has, float64 (n_items, n_classes); rows without votes are even.

    Ties stay ties: nothing here prefers the class that comes first.
    """
    counted = votes(answers, weights)
    total = counted.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(counted, total, out=np.full_like(counted, 1 / answers.n_classes), where=total > 0)
    return shares


def dawid_skene(
    answers: Answers,
    *,
    smoothing: float = SMOOTHING,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Consensus:
    """Estimate truth and everybody's errors at once, by expectation maximisation from the shares of votes.

    A. P. Dawid and A. M. Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm", Applied
    Statistics 28 (1979), equations 2.3 to 2.5. Each annotator has a confusion matrix of their own; given the truth,
    answers are taken to be independent. It needs many answers by each annotator, and people whose answers are mostly
    right: where most are wrong in the same way, it finds that way to be the truth, and nothing in the answers could
    tell. Few answers by each, or mistakes that many make together (a confusing guideline), make it surer than it
    should be: its probabilities are not calibrated.

    Parameters
    ----------
    smoothing : answers that everybody is taken to have given beforehand of every class for every truth, so that a
        class never seen from somebody is unlikely and not impossible. 0 gives the estimate of the paper.
    tolerance : ends when the mean absolute change of the probabilities is below it.

    Memory: float64 n_annotators * n_classes^2 for the errors; time: iterations * answers * n_classes.
    """
    truth = majority(answers)
    iteration, converged = 0, False
    prior, errors = _maximise(answers, truth, smoothing)
    while iteration < max_iterations and not converged:
        iteration += 1
        updated = _expect(answers, prior, errors)
        converged = bool(np.abs(updated - truth).mean() < tolerance)
        truth = updated
        prior, errors = _maximise(answers, truth, smoothing)
    return Consensus(probabilities=truth, prior=prior, errors=errors, iterations=iteration, converged=converged)


def _maximise(answers: Answers, truth: Floats, smoothing: float) -> tuple[Floats, Floats]:
    """The prior and the errors that make the answers likeliest, given the probabilities of the truth."""
    n_annotators, n_classes = answers.n_annotators, answers.n_classes
    asked = np.bincount(answers.items, minlength=answers.n_items) > 0
    prior = truth[asked].mean(axis=0) if asked.any() else np.full(n_classes, 1 / n_classes)
    counted = np.empty((n_annotators, n_classes, n_classes))
    cells = answers.annotators * n_classes + answers.classes
    for c in range(n_classes):
        said = np.bincount(cells, truth[answers.items, c], minlength=n_annotators * n_classes)
        counted[:, c, :] = said.reshape(n_annotators, n_classes)
    counted += smoothing
    total = counted.sum(axis=2, keepdims=True)
    errors = np.divide(counted, total, out=np.full_like(counted, 1 / n_classes), where=total > 0)
    return prior, errors


def _expect(answers: Answers, prior: Floats, errors: Floats) -> Floats:
    """The probabilities of the truth, given prior and errors; in logarithms, since products run out of range."""
    with np.errstate(divide="ignore"):
        log_prior, log_errors = np.log(prior), np.log(errors)
    logs = np.tile(log_prior, (answers.n_items, 1))
    for c in range(answers.n_classes):
        said = log_errors[answers.annotators, c, answers.classes]
        logs[:, c] += np.bincount(answers.items, said, minlength=answers.n_items)
    logs -= logs.max(axis=1, keepdims=True)
    likely = np.exp(logs)
    normal: Floats = likely / likely.sum(axis=1, keepdims=True)
    return normal
