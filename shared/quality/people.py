"""Figures of one annotator, or of a vendor's together: confusions with a truth, and speed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.quality.answers import Answers, Floats, Ints

OUTLIER = 3.5
"""B. Iglewicz and D. Hoaglin, "How to detect and handle outliers" (1993), of the robust z score."""
LEAST_TIMED = 10
"""Timed answers before anybody's speed is judged."""
_TO_SIGMA = 1.4826
"""By which the median absolute deviation of normal values is their standard deviation."""


def confusions(answers: Answers, truth: Ints) -> Ints:
    """Counts, int64 (n_annotators, C, C): row is the truth, column what was said. ``truth`` int64 (n_items,), -1: not
    known, and left out."""
    known = truth[answers.items] >= 0
    A, C = answers.n_annotators, answers.n_classes
    cells = (answers.annotators * C + truth[answers.items]) * C + answers.classes
    counted: Ints = np.bincount(cells[known], minlength=A * C * C).reshape(A, C, C).astype(np.int64)
    return counted


@dataclass(frozen=True, kw_only=True)
class Speed:
    """``median_s`` float64 (n_annotators,), NaN without a timed answer; ``z`` how many robust standard deviations its
    logarithm lies from the project's; ``outlier`` bool."""

    median_s: Floats
    z: Floats
    outlier: np.ndarray


def speeds(annotators: Ints, seconds: Floats, n_annotators: int) -> Speed:
    """Who answers far faster, or slower, than the project's answers do.

    Durations are skewed, so logarithms are compared; their centre is the median of all answers and their spread the
    median absolute deviation from it, which a few extreme people hardly move. What is fast is not wrong: it is a
    reason to look. Nobody is judged by fewer than ``LEAST_TIMED`` answers.

    Parameters
    ----------
    annotators : int64 (n,). seconds : float64 (n,), above 0, of the same answers.
    """
    logs = np.log(np.maximum(seconds, 1e-3))
    medians = np.full(n_annotators, np.nan)
    counted = np.bincount(annotators, minlength=n_annotators)
    for one in np.flatnonzero(counted):
        medians[one] = np.median(logs[annotators == one])
    if not len(logs):
        return Speed(median_s=medians, z=medians.copy(), outlier=np.zeros(n_annotators, np.bool_))
    centre = np.median(logs)
    spread = _TO_SIGMA * np.median(np.abs(logs - centre))
    z = (medians - centre) / spread if spread > 0 else np.where(medians == centre, 0.0, np.nan)
    outlier = (np.abs(np.nan_to_num(z)) > OUTLIER) & (counted >= LEAST_TIMED)
    return Speed(median_s=np.exp(medians), z=z, outlier=outlier)
