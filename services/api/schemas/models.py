"""Models over HTTP: one with its metrics, and two beside each other."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from services.api.schemas.base import Out


class ModelOut(Out):
    """A checkpoint. ``docs/learning.md`` describes its metrics."""

    checkpoint_id: int
    round: int
    labels: int = Field(description="Labels that it was trained on.")
    in_use: bool = Field(description="Whether it is the one that was promoted last.")
    promoted_at: datetime | None
    metrics: dict[str, Any]


class InUseOut(Out):
    """Which model is in use after a promotion or a roll back."""

    checkpoint_id: int | None = Field(description="Null: none is promoted; the newest one counts.")


class ClassDifference(Out):
    name: str
    a: float | None = Field(description="Share of this class's holdout images that the first model recognises.")
    b: float | None
    difference: float | None


class Comparison(Out):
    """The second model against the first, each on the holdout as it was when the model was trained."""

    a: int
    b: int
    accuracy: float | None = Field(description="Accuracy of b less that of a.")
    low: float | None = Field(description="95% interval of the difference, lower end.")
    high: float | None
    verdict: str
    macro_f1: float | None
    nll: float | None = Field(description="Below zero where b is the better one.")
    ece: float | None
    classes: list[ClassDifference]
