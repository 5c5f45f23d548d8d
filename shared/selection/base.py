"""What every strategy takes, gives and keeps to.

A pool is seen one shard at a time, and a strategy makes one or more passes over it. Each pass is a pure ``map_*`` of
every shard to a small partial result and a pure ``reduce_*`` of those, whose result is handed to the next pass or is
the selection. So memory is bounded by one shard and the candidates, the passes can be spread over machines, and the
result depends on which images there are and never on how they were cut into shards or ordered in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

ROUNDING = 1e-4
"""How far a float32 softmax may exceed 1."""
HALF_ROUNDING = 2e-3
"""How far one that was stored as float16 may."""


@dataclass(frozen=True)
class ShardScores:
    """The unlabelled images of one shard, which may be none.

    Attributes
    ----------
    ids : int64 (n,), unique in the pool, in any order.
    probabilities : float32 (n, C) from the current model, or None before there is one.
    features : float32 (n, D), or None.
    members : float32 or float16 (n, M, C), what each of M members of a committee says, or each pass with dropout; or
        None where the model is a single one.
    """

    ids: Ids
    probabilities: Floats | None = None
    features: Floats | None = None
    members: npt.NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        if self.ids.ndim != 1:
            raise Invalid(f"ids must be of shape (n,), not {self.ids.shape}")
        for name, rows in (("probabilities", self.probabilities), ("features", self.features)):
            if rows is not None and (rows.ndim != 2 or len(rows) != len(self.ids)):
                raise Invalid(f"{name} must be of shape ({len(self.ids)}, ...), not {rows.shape}")
        if self.members is not None and (self.members.ndim != 3 or len(self.members) != len(self.ids)):
            raise Invalid(f"members must be of shape ({len(self.ids)}, M, C), not {self.members.shape}")

    def take(self, rows: npt.NDArray[np.int64]) -> ShardScores:
        """Some of the images, with all that is known of them."""
        return ShardScores(
            self.ids[rows],
            None if self.probabilities is None else self.probabilities[rows],
            None if self.features is None else self.features[rows],
            None if self.members is None else self.members[rows],
        )

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

    def needed_members(self) -> Floats:
        """What each member says, float32, checked. Raises ``Invalid`` where the model is a single one."""
        if self.members is None:
            raise Invalid(
                "this strategy needs a committee: set the recipe's committee to 2 or more, or mc_dropout to some passes"
            )
        in_range = (self.members >= 0) & (self.members <= 1 + HALF_ROUNDING)
        self._refuse_bad_rows(np.all(in_range, axis=(1, 2)), "member's probability that is not a number from 0 to 1")
        return self.members.astype(np.float32)

    def _refuse_bad_rows(self, good: npt.NDArray[np.bool_], what: str) -> None:
        bad = self.ids[~good]
        if len(bad):
            raise Invalid(f"{len(bad)} images of a shard, the first of them image {bad.min()}, have a {what}")


@dataclass(frozen=True)
class Labelled:
    """What is labelled in the pool so far, the holdout left out.

    Attributes
    ----------
    ids : int64 (m,), ascending.
    classes : int64 (m,), the column of each one's class.
    n_classes : how many classes there are, those without any label included.
    features : float32 (m, D), or None where no strategy asked for them or there is no model yet.
    """

    ids: Ids
    classes: npt.NDArray[np.int64]
    n_classes: int
    features: Floats | None = None

    def __post_init__(self) -> None:
        if self.ids.shape != self.classes.shape or (len(self.ids) > 1 and not (np.diff(self.ids) > 0).all()):
            raise Invalid("labelled images must come in ascending order of id, with a class each")
        if self.features is not None and (self.features.ndim != 2 or len(self.features) != len(self.ids)):
            raise Invalid(f"features of the labelled must be of shape ({len(self.ids)}, D), not {self.features.shape}")

    @classmethod
    def nothing(cls, n_classes: int = 0) -> Labelled:
        """Nothing is labelled yet."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), n_classes)

    def counts(self) -> npt.NDArray[np.int64]:
        """Labels per class, int64 (n_classes,)."""
        return np.bincount(self.classes, minlength=self.n_classes)


NOTHING = Labelled.nothing()


@dataclass(frozen=True)
class Selection:
    """``ids``, int64 (k,), in the order to ask them; ``scores``, float64 (k,), are what ranked each (see strategy)."""

    ids: Ids
    scores: Scores


ShardSource = Callable[[], Iterable[ShardScores]]
"""Called once for each pass; every call must give the same shards."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a strategy reads, so that a caller need not load the rest."""

    probabilities: bool = False
    features: bool = False
    members: bool = False
    labelled_features: bool = False
    """The features of ``Labelled`` too; its ids and classes are always given."""

    def __or__(self, other: Needs) -> Needs:
        return Needs(**{one.name: getattr(self, one.name) or getattr(other, one.name) for one in fields(self)})


class Strategy(Protocol):
    """A way to choose. Implementations hold only their settings and may be used from several threads."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> Needs: ...

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """The ``k`` images to ask next, or all where there are fewer.

        The same pool, labels, ``k`` and state of ``rng`` give the same selection however the pool is sharded. Raises
        ``PoolEmpty`` when nothing is left to ask, ``Invalid`` for ``k`` below 1 and for columns that are missing or
        not finite.
        """
        ...


def check_k(k: int) -> None:
    """Raise ``Invalid`` for a number of images that can't be asked for."""
    if k < 1:
        raise Invalid(f"can't select {k} images; ask for at least 1")
