"""What every strategy takes, gives and keeps to.

A pool is seen one shard at a time, and a strategy makes one or more passes over it. Each pass is a pure ``map_*`` of
every shard to a small partial result and a pure ``reduce_*`` of those, whose result is handed to the next pass or is
the selection. So memory is bounded by one shard and the candidates, the passes can be spread over machines, and the
result depends on which images there are and never on how they were cut into shards or ordered in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

ROUNDING = 1e-4
"""How far a float32 softmax may exceed 1."""


@dataclass(frozen=True)
class ShardScores:
    """The unlabelled images of one shard, which may be none.

    Attributes
    ----------
    ids : int64 (n,), unique in the pool, in any order.
    probabilities : float32 (n, C) from the current model, or None before there is one.
    features : float32 (n, D), or None.
    """

    ids: Ids
    probabilities: Floats | None = None
    features: Floats | None = None

    def __post_init__(self) -> None:
        if self.ids.ndim != 1:
            raise Invalid(f"ids must be of shape (n,), not {self.ids.shape}")
        for name, rows in (("probabilities", self.probabilities), ("features", self.features)):
            if rows is not None and (rows.ndim != 2 or len(rows) != len(self.ids)):
                raise Invalid(f"{name} must be of shape ({len(self.ids)}, ...), not {rows.shape}")

    def needed_probabilities(self) -> Floats:
        """The probabilities, checked. Raises ``Invalid`` when there are none or one is not a number from 0 to 1."""
        if self.probabilities is None:
            raise Invalid("this strategy needs a trained model's probabilities; use 'random' before there is one")
        in_range = (self.probabilities >= 0) & (self.probabilities <= 1 + ROUNDING)
        self._refuse_bad_rows(np.all(in_range, axis=1), "probability that is not a number from 0 to 1")
        return self.probabilities

    def needed_features(self) -> Floats:
        """The features, checked. Raises ``Invalid`` when there are none or one is not finite."""
        if self.features is None:
            raise Invalid("this strategy needs a trained model's features; use 'random' before there is one")
        self._refuse_bad_rows(np.all(np.isfinite(self.features), axis=1), "feature that is not a finite number")
        return self.features

    def _refuse_bad_rows(self, good: npt.NDArray[np.bool_], what: str) -> None:
        bad = self.ids[~good]
        if len(bad):
            raise Invalid(f"{len(bad)} images of a shard, the first of them image {bad.min()}, have a {what}")


@dataclass(frozen=True)
class Selection:
    """``ids``, int64 (k,), in the order to ask them; ``scores``, float64 (k,), are what ranked each (see strategy)."""

    ids: Ids
    scores: Scores


ShardSource = Callable[[], Iterable[ShardScores]]
"""Called once for each pass; every call must give the same shards."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Which columns of ``ShardScores`` a strategy reads, so that a caller need not load the others."""

    probabilities: bool = False
    features: bool = False


class Strategy(Protocol):
    """A way to choose. Implementations hold only their settings and may be used from several threads."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> Needs: ...

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator) -> Selection:
        """The ``k`` images to ask next, or all where there are fewer.

        The same pool, ``k`` and state of ``rng`` give the same selection however the pool is sharded. Raises
        ``PoolEmpty`` when nothing is left to ask, ``Invalid`` for ``k`` below 1 and for columns that are missing or
        not finite.
        """
        ...


def check_k(k: int) -> None:
    """Raise ``Invalid`` for a number of images that can't be asked for."""
    if k < 1:
        raise Invalid(f"can't select {k} images; ask for at least 1")
