"""Known labels over HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from services.api.parts import BIGGEST_ID
from services.api.schemas.base import In, Out, Whole

MAX_LABELS = 10_000
_Sha256 = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, pattern=r"^[0-9a-fA-F]{64}$")]


class KnownLabel(In):
    """Names the image by either `sha256` (of the file's bytes, hex) or `image_id`."""

    sha256: _Sha256 | None = None
    image_id: Annotated[Whole, Field(ge=1, le=BIGGEST_ID)] | None = None
    class_: str = Field(alias="class", max_length=200)

    @model_validator(mode="after")
    def _one_name(self) -> KnownLabel:
        if (self.sha256 is None) == (self.image_id is None):
            raise ValueError("name the image by either sha256 or image_id")
        return self


class KnownLabels(In):
    model_config = ConfigDict(json_schema_extra={"examples": [{"labels": [{"image_id": 17, "class": "heron"}]}]})

    labels: list[KnownLabel] = Field(min_length=1, max_length=MAX_LABELS)


class LabelProblem(Out):
    index: int = Field(description="Place in the list that was sent, from 0.")
    reason: str


class ImportOut(Out):
    """`kept`: images that a person has labelled; an import does not overwrite that."""

    labelled: int
    kept: int
    failed: int
    errors: list[LabelProblem]
