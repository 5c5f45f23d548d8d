"""Tags of images over HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from services.api.parts import BIGGEST_ID
from services.api.schemas.base import In, Out, Whole
from shared.curation import MOST

MOST_AT_ONCE = 20


class TaggingIn(In):
    """A tag has at most 50 characters and no comma. It is found whatever its case and keeps that in which it came."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image_ids": [17, 23], "tags": ["blurry"]}]})

    image_ids: list[Annotated[Whole, Field(ge=1, le=BIGGEST_ID)]] = Field(min_length=1, max_length=MOST)
    tags: list[Annotated[str, Field(max_length=200)]] = Field(min_length=1, max_length=MOST_AT_ONCE)


class TaggedOut(Out):
    """The images that were changed: those of the project that lacked any of the tags, or had any."""

    image_ids: list[int]


class TagOut(Out):
    name: str
    images: int = Field(description="On how many it is.")


class TagsOut(Out):
    items: list[TagOut]
