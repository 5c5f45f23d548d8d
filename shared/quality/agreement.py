"""How far people agree with each other beyond chance. Agreement is not accuracy: all may be wrong together."""

from __future__ import annotations

import numpy as np

from shared.quality.answers import Answers, Floats, Ints, votes


def krippendorff_alpha(answers: Answers) -> float | None:
    """Krippendorff's alpha for nominal answers: 1 is perfect agreement, 0 what chance gives, below 0 worse than that.

    K. Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), section C: any number of annotators, answers
    that are missing, items with fewer than two left out. None where nothing can be compared, or where all answers name
    one class, so that there is no chance to agree beyond.
    """
    counted = votes(answers)
    per_item = counted.sum(axis=1)
    counted, per_item = counted[per_item >= 2], per_item[per_item >= 2]
    if not len(counted):
        return None
    # Coincidences of unlike answers within an item, each weighed by the pairs it has part in.
    observed = ((per_item**2 - (counted**2).sum(axis=1)) / (per_item - 1)).sum()
    totals, n = counted.sum(axis=0), per_item.sum()
    expected = (n**2 - (totals**2).sum()) / (n - 1)
    return None if expected == 0 else float(1 - observed / expected)


def pairwise_kappa(answers: Answers) -> tuple[Floats, Ints]:
    """Cohen's kappa of every two annotators, float64 (A, A), and the items both answered, int64 (A, A).

    J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20 (1960). NaN
    where two share no item or chance alone would agree always. Where somebody answered an item twice, the last counts.
    """
    A, C = answers.n_annotators, answers.n_classes
    table = np.full((A, answers.n_items), -1, np.int64)
    table[answers.annotators, answers.items] = answers.classes
    kappas, shared = np.full((A, A), np.nan), np.zeros((A, A), np.int64)
    for a in range(A):
        for b in range(a, A):
            both = (table[a] >= 0) & (table[b] >= 0)
            shared[a, b] = shared[b, a] = both.sum()
            kappas[a, b] = kappas[b, a] = cohen_kappa(table[a, both], table[b, both], C)
    return kappas, shared


def cohen_kappa(one: Ints, other: Ints, n_classes: int) -> float:
    """Of two annotators' answers about the same items, int64 (n,) each. NaN if there is no chance to agree beyond."""
    if not len(one):
        return float("nan")
    cells = np.bincount(one * n_classes + other, minlength=n_classes**2).reshape(n_classes, n_classes) / len(one)
    by_chance = float(cells.sum(axis=1) @ cells.sum(axis=0))
    return float((np.trace(cells) - by_chance) / (1 - by_chance)) if by_chance < 1 else float("nan")
