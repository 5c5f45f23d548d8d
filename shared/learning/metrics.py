"""How good a model is, measured on images it was not trained on. NumPy only.

Throughout, ``probabilities`` is float (n, C) and ``labels`` holds the true columns, integers (n,). A class that has
no image among them has no recall: it is reported as None and left out of the macro averages. A class that is there
but was never predicted has precision 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid

Ints = npt.NDArray[np.int64]
Z_95 = 1.959963984540054
ECE_BINS = 15
SMALLEST = 1e-12
"""What a probability is raised to before its logarithm is taken."""
CONFIDENCES = 1 / (1 + np.exp(-np.arange(0, 47) / 5))
"""Confidences from 0.5 to 0.9999, evenly apart as log-odds. Fixed, so that none of them was picked by any data."""


def evaluate(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any]) -> dict[str, Any]:
    """Everything below as one JSON-ready record.

    Keys: n, accuracy, accuracy_low and accuracy_high (95% Wilson), macro_precision, macro_recall, macro_f1, per_class
    (recall by column, None where absent), support (images by column), confusion (rows truth, columns prediction),
    nll, ece, auroc (of two classes, else None), reliability. Raises ``Invalid`` where there is nothing to measure on,
    or the arrays don't fit.
    """
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if probabilities.ndim != 2 or labels.shape != (len(probabilities),) or len(labels) == 0:
        raise Invalid(f"can't measure probabilities of shape {probabilities.shape} on labels of shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise Invalid(f"a label is outside the {probabilities.shape[1]} columns of the probabilities")
    confusion = confusion_matrix(probabilities.argmax(axis=1), labels, probabilities.shape[1])
    right, n = int(np.trace(confusion)), len(labels)
    low, high = wilson_interval(right, n)
    precision, recall, f1 = macro_scores(confusion)
    support = confusion.sum(axis=1)
    return {
        "n": n,
        "accuracy": right / n,
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
        "per_class": [int(confusion[c, c]) / int(total) if total else None for c, total in enumerate(support)],
        "support": support.tolist(),
        "confusion": confusion.tolist(),
        "nll": negative_log_likelihood(probabilities, labels),
        "ece": expected_calibration_error(probabilities, labels),
        "auroc": auroc(probabilities[:, 1], labels) if probabilities.shape[1] == 2 else None,
        "reliability": reliability(probabilities, labels),
    }


def confusion_matrix(predicted: Ints, labels: Ints, n_classes: int) -> Ints:
    """Counts, int64 (C, C): row is the truth, column the prediction."""
    cells = np.bincount(labels * n_classes + predicted, minlength=n_classes * n_classes)
    return cells.reshape(n_classes, n_classes).astype(np.int64)


def wilson_interval(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Interval for a share, from 0 to 1; 95% by default (Wilson 1927). Nothing is known of no trials: (0, 1)."""
    if n == 0:
        return 0.0, 1.0
    share, z2n = successes / n, z * z / n
    middle = (share + z2n / 2) / (1 + z2n)
    half = z / (1 + z2n) * math.sqrt(share * (1 - share) / n + z2n / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def macro_scores(confusion: Ints) -> tuple[float, float, float]:
    """Precision, recall and F1, each averaged over the classes that are there."""
    right = np.diag(confusion).astype(np.float64)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    there = support > 0
    precision = np.divide(right, predicted, out=np.zeros_like(right), where=predicted > 0)
    recall = np.divide(right, support, out=np.zeros_like(right), where=there)
    f1 = 2 * right / np.maximum(support + predicted, 1)
    return float(precision[there].mean()), float(recall[there].mean()), float(f1[there].mean())


def negative_log_likelihood(probabilities: npt.NDArray[np.float64], labels: Ints) -> float:
    """Mean of -ln of the probability given to the truth, in nats."""
    of_truth = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_truth, SMALLEST)).mean())


def expected_calibration_error(probabilities: npt.NDArray[np.float64], labels: Ints, bins: int = ECE_BINS) -> float:
    """Mean distance between confidence and accuracy over equal-width bins of confidence (Guo et al. 2017, eq. 3)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    # A confidence on an edge belongs to the bin below it, as in the paper.
    in_bin = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(in_bin, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def reliability(probabilities: npt.NDArray[np.float64], labels: Ints, bins: int = ECE_BINS) -> list[dict[str, Any]]:
    """The diagram behind the calibration error: of each bin of confidence that isn't empty its ends ``low`` and
    ``high``, how many images are in it (``n``), their mean ``confidence`` and their ``accuracy``."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    in_bin = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return [
        {
            "low": one / bins,
            "high": (one + 1) / bins,
            "n": int((in_bin == one).sum()),
            "confidence": float(confidence[in_bin == one].mean()),
            "accuracy": float(right[in_bin == one].mean()),
        }
        for one in np.unique(in_bin).tolist()
    ]


def auroc(scores: npt.NDArray[np.float64], labels: Ints) -> float | None:
    """The chance that an image of class 1 has a higher score than one of class 0; a tie counts half (Hanley and McNeil
    1982). None where either class is missing."""
    positive = labels == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]  # of equals the mean of their ranks
    above = rank[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def right_above(probabilities: npt.NDArray[Any], labels: Ints) -> dict[str, list[Any]]:
    """How many of the labels are predicted with at least each of ``CONFIDENCES``, and how many of those rightly.

    JSON-ready: ``{thresholds, n, right}``, each of the same length.
    """
    confidence = probabilities.max(axis=1)
    wrong = probabilities.argmax(axis=1) != labels
    n = len(labels) - np.searchsorted(np.sort(confidence), CONFIDENCES)
    errors = int(wrong.sum()) - np.searchsorted(np.sort(confidence[wrong]), CONFIDENCES)
    return {"thresholds": CONFIDENCES.tolist(), "n": n.tolist(), "right": (n - errors).tolist()}


def calibration_report(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], labels: Ints
) -> dict[str, float]:
    """ECE and NLL of the same images by probabilities (n, C) ``before`` and ``after`` calibration."""
    return {
        "ece_before": expected_calibration_error(before, labels),
        "ece_after": expected_calibration_error(after, labels),
        "nll_before": negative_log_likelihood(before, labels),
        "nll_after": negative_log_likelihood(after, labels),
    }
