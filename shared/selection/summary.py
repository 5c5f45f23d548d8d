"""What stopping rules need to know of the pool, as map and reduce over shards: a few numbers of each, added up.

The images are those that no person has labelled. NumPy only, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shared.selection.base import Floats

BINS = 20
"""Of the histogram of confidences, equally wide from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class PoolSummary:
    """Of ``images``: how many the model predicts with a confidence below ``unsure_below``, and the histogram.

    compared : those that the model before has scored, too; ``agreed`` of them it had predicted to be of the same class.
    now, before : of the compared ones, how many each of the two models predicts to be of each class, by column.
    """

    images: int
    unsure: int
    histogram: tuple[int, ...]
    compared: int
    agreed: int
    now: tuple[int, ...]
    before: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PoolSummary:
        read: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**read)

    @property
    def unsure_share(self) -> float | None:
        return self.unsure / self.images if self.images else None

    @property
    def kappa(self) -> float | None:
        """Agreement of the two models beyond chance (Cohen 1960), 1 at the most; None with nothing to compare.

        As Bloodgood and Vijay-Shanker 2009 (CoNLL, "A method for stopping active learning based on stabilizing
        predictions") have it for successive models, on the pool in place of a stop set.
        """
        if not self.compared:
            return None
        agreed = self.agreed / self.compared
        chance = float(np.dot(np.asarray(self.now, np.float64), np.asarray(self.before, np.float64))) / self.compared**2
        return 1.0 if chance >= 1 else (agreed - chance) / (1 - chance)


def map_summary(probabilities: Floats, previous: Floats | None, *, unsure_below: float) -> PoolSummary:
    """One shard's. ``probabilities`` and ``previous`` (None: there is none) are float32 (n, C) of the same images."""
    n, classes = probabilities.shape
    confidence = probabilities.max(axis=1) if n else np.empty(0, np.float32)
    predicted = probabilities.argmax(axis=1)
    counted = np.histogram(np.clip(confidence, 0, 1), bins=BINS, range=(0, 1))[0]
    compared, before = (0, predicted[:0]) if previous is None else (n, previous.argmax(axis=1))
    return PoolSummary(
        images=n,
        unsure=int((confidence < unsure_below).sum()),
        histogram=tuple(counted.tolist()),
        compared=compared,
        agreed=int((predicted[:compared] == before).sum()),
        now=tuple(np.bincount(predicted[:compared], minlength=classes).tolist()),
        before=tuple(np.bincount(before, minlength=classes).tolist()),
    )


def reduce_summaries(parts: Iterable[PoolSummary]) -> PoolSummary | None:
    """Of all shards together; None of none. In whatever order they come."""
    total: PoolSummary | None = None
    for part in parts:
        total = part if total is None else _added(total, part)
    return total


def _added(a: PoolSummary, b: PoolSummary) -> PoolSummary:
    return PoolSummary(
        images=a.images + b.images,
        unsure=a.unsure + b.unsure,
        histogram=_sums(a.histogram, b.histogram),
        compared=a.compared + b.compared,
        agreed=a.agreed + b.agreed,
        now=_sums(a.now, b.now),
        before=_sums(a.before, b.before),
    )


def _sums(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))
