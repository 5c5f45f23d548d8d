"""How good people are, and what is known, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from services.api.parts import BIGGEST_ID
from services.api.schemas.base import In, NextCursor, Out

MOST_IMAGES = 1000


class RateOut(Out):
    """`right` of `answers`; `low` and `high` are the share's 95% interval (Wilson). Null without answers."""

    answers: int
    right: int
    share: float | None
    low: float | None
    high: float | None


class PersonQualityOut(Out):
    """`confusion`: counts, a row for each class that is true, a column for each that was said."""

    user_id: int
    name: str
    vendor_id: int | None
    vendor: str | None
    role: str | None
    pause_reason: str | None = Field(description="Why nothing more is asked of them; null: they may be asked.")
    answers: int
    gold: RateOut = Field(description="Where the answer is known.")
    consensus: RateOut = Field(
        description="Against what several people or a reviewer decided; their own part flatters."
    )
    kappa: float | None = Field(description="Cohen's, the mean with everybody who answered the same images.")
    shared: int
    median_s: float | None
    speed_z: float | None = Field(description="Robust standard deviations from the project's answers, of log seconds.")
    outlier: bool = Field(description="Far faster or slower than the project's answers.")
    confusion: list[list[int]]


class VendorQualityOut(Out):
    """All of a vendor's people together."""

    vendor_id: int
    name: str
    people: int
    answers: int
    gold: RateOut
    consensus: RateOut
    confusion: list[list[int]]


class QualityOut(Out):
    """`classes` name the rows and columns of every confusion."""

    classes: list[str]
    answers: int
    gold_images: int
    alpha: float | None = Field(description="Krippendorff's, nominal, over images that several people answered.")
    overlapping: int
    questions: dict[str, int] = Field(description="Images asked of several people, by what became of each.")
    people: list[PersonQualityOut]
    vendors: list[VendorQualityOut]


class GoldIn(In):
    """Images with a label by a person or an import: it is the known answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image_ids": [17, 23]}]})

    image_ids: list[Annotated[int, Field(ge=1, le=BIGGEST_ID)]] = Field(min_length=1, max_length=MOST_IMAGES)


class GoldOut(Out):
    """`right` of the `answers` to it. Where most are wrong, the known answer may be."""

    image_id: int
    class_id: int
    name: str
    actor: str
    created_at: datetime
    answers: int
    right: int


class GoldPage(Out):
    items: list[GoldOut]
    next_cursor: NextCursor


class ImagesOut(Out):
    """Those that it was done to."""

    image_ids: list[int]


class RenewedOut(Out):
    """`labels` by consensus after it was weighed anew; `changed` name another class than before; `settled` had been a
    reviewer's to decide."""

    labels: int
    changed: int
    settled: int
