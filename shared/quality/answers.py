"""Answers as arrays: who said what about which image, each as a number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """One row an answer; most people see few of the images, so there is no table of all against all.

    items : int64 (n,), from 0 to ``n_items`` - 1. annotators : int64 (n,). classes : int64 (n,). An annotator may have
    answered about an item more than once. Raises ``Invalid`` for arrays of different lengths or numbers out of range.
    """

    items: Ints
    annotators: Ints
    classes: Ints
    n_items: int
    n_annotators: int
    n_classes: int

    def __post_init__(self) -> None:
        pairs = ((self.items, self.n_items), (self.annotators, self.n_annotators), (self.classes, self.n_classes))
        if len({len(values) for values, _ in pairs}) != 1:
            raise Invalid("items, annotators and classes must be of one length")
        for values, count in pairs:
            if len(values) and (values.min() < 0 or values.max() >= count):
                raise Invalid(f"a number lies outside 0 to {count - 1}")

    def __len__(self) -> int:
        return len(self.items)


def votes(answers: Answers, weights: Floats | None = None) -> Floats:
    """The weight of the answers for each class, float64 (n_items, n_classes); ``weights`` (n,) are 1 if left out."""
    cells = answers.items * answers.n_classes + answers.classes
    counted = np.bincount(cells, weights, minlength=answers.n_items * answers.n_classes)
    return counted.reshape(answers.n_items, answers.n_classes).astype(np.float64)
