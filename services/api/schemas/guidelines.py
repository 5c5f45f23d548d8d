"""What annotators are told, and what they flagged, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from services.api.parts import BIGGEST_ID
from services.api.schemas.base import In, NextCursor, Out, Whole

MAX_EXAMPLES = 12


_ImageId = Annotated[Whole, Field(ge=1, le=BIGGEST_ID)]


class ClassGuideIn(In):
    """What is left out stays as it is. `examples` are ids of images, in their order; none: labelled ones are shown."""

    class_: str = Field(alias="class", max_length=200)
    description: Annotated[str, Field(max_length=2000)] | None = None
    examples: Annotated[list[_ImageId], Field(max_length=MAX_EXAMPLES)] | None = None


class GuidelinesIn(In):
    """What is left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "text": "Label the bird in the middle. If there are two, label the nearer one.",
                    "classes": [{"class": "heron", "description": "Grey, long legs.", "examples": [17, 23]}],
                }
            ]
        }
    )

    text: Annotated[str, Field(max_length=20_000)] | None = None
    classes: list[ClassGuideIn] = Field(default_factory=list, max_length=1000)


class ClassGuideOut(Out):
    """`picked`: somebody chose the examples; else they are images that people labelled so."""

    class_id: int
    description: str
    examples: list[int]
    picked: bool


class GuidelinesOut(Out):
    text: str
    classes: list[ClassGuideOut]


class FlagOut(Out):
    """`label` is the image's present class; `resolved_at` is null while the flag is open."""

    id: int
    image_id: int
    filename: str
    note: str
    by_name: str
    created_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    label: str | None


class FlagPage(Out):
    items: list[FlagOut]
    next_cursor: NextCursor
