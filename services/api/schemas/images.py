"""Images, uploads and predictions over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from pydantic import Field

from services.api.predictions import Prediction
from services.api.schemas.base import NextCursor, Out
from shared.db.labels import ImageLabel
from shared.domain import Image, ImageState, LabelSource, Split
from shared.intake.ingest import FileResult, FileStatus


class FileOut(Out):
    """What became of one file. `reason` says why a file was rejected."""

    filename: str
    status: FileStatus
    image_id: int | None
    sha256: str | None
    reason: str | None


class UploadOut(Out):
    """A result for every file, in the order in which they were sent."""

    results: list[FileOut]
    stored: int
    duplicates: int
    rejected: int

    @classmethod
    def of_files(cls, results: Sequence[FileResult]) -> UploadOut:
        counts = {status: sum(r.status is status for r in results) for status in FileStatus}
        return cls(
            results=[FileOut.of(r) for r in results],
            stored=counts[FileStatus.STORED],
            duplicates=counts[FileStatus.DUPLICATE],
            rejected=counts[FileStatus.REJECTED],
        )


class ImageOut(Out):
    id: int
    sha256: str = Field(description="Of the file's bytes, hex.")
    filename: str
    width: int = Field(description="Of the upright image, in pixels.")
    height: int
    bytes: int
    format: str
    state: ImageState
    split: Split
    error: str | None = Field(description="Why the image is unreadable.")
    created_at: datetime
    tags: list[str] = Field(description="In order of name.")

    @classmethod
    def tagged(cls, image: Image, tags: Sequence[str]) -> ImageOut:
        return cls.model_validate({**asdict(image), "tags": list(tags)})


class LabelOut(Out):
    class_: str = Field(serialization_alias="class", validation_alias="name")
    source: LabelSource
    labelled_at: datetime = Field(validation_alias="created_at")


class ImageDetail(ImageOut):
    label: LabelOut | None

    @classmethod
    def whole(cls, image: Image, tags: Sequence[str], label: ImageLabel | None) -> ImageDetail:
        return cls(**dict(ImageOut.tagged(image, tags)), label=label and LabelOut.of(label))


class ImagePage(Out):
    items: list[ImageOut]
    next_cursor: NextCursor


class PredictionOut(Out):
    """`confidence` is the probability of `class`, the likeliest. Probabilities sum to 1."""

    image_id: int
    class_: str = Field(serialization_alias="class")
    confidence: float
    probabilities: dict[str, float]
    checkpoint_id: int
    round: int
    asked: bool = Field(description="Whether people are or were asked about it.")

    @classmethod
    def whole(cls, prediction: Prediction) -> PredictionOut:
        names = [c.name for c in prediction.classes]
        values = [float(p) for p in prediction.probabilities]
        return cls(
            image_id=prediction.image_id,
            class_=names[prediction.best],
            confidence=values[prediction.best],
            probabilities=dict(zip(names, values, strict=False)),
            checkpoint_id=prediction.checkpoint.id,
            round=prediction.round_number,
            asked=prediction.asked,
        )


class PendingOut(Out):
    """There is no prediction yet: ask again after `Retry-After` seconds."""

    image_id: int
    waiting_for: str = Field(description="The step that comes next: `embed` or `score`.")
    detail: str
