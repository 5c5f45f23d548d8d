"""Predictions of what callers ask about, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from services.api.schemas.base import Out
from shared.domain import Job, JobState
from shared.predicting import Answer, Item, Request, Result


class PictureOut(Out):
    """What the model says of one picture, or in `error` why it says nothing; then all but the name is null."""

    filename: str
    image_id: int | None = Field(description="Of an image of the project; null for a file that was sent.")
    class_: str | None = Field(serialization_alias="class", description="The likeliest.")
    confidence: float | None = Field(description="Probability of `class`.")
    probabilities: dict[str, float] | None = Field(description="By class; they sum to 1.")
    checkpoint_id: int | None = Field(description="The model that says so.")
    error: str | None

    @classmethod
    def whole(cls, item: Item, answer: Answer, classes: Sequence[str], checkpoint_id: int) -> PictureOut:
        said = dict(zip(classes, answer.probabilities, strict=True)) if answer.probabilities is not None else None
        best = None if said is None else max(said, key=said.__getitem__)  # the first of equals
        return cls(
            filename=item.filename,
            image_id=item.image_id,
            class_=best,
            confidence=None if said is None or best is None else said[best],
            probabilities=said,
            checkpoint_id=None if said is None else checkpoint_id,
            error=answer.error,
        )


class PredictionsOut(Out):
    """A result for every picture: first the images that were named, then the files, each in the order given."""

    job_id: int | None = Field(
        description="Where the results can be fetched again for a day; null if there was no picture to predict."
    )
    checkpoint_id: int
    round: int
    promoted: bool = Field(description="Whether the model was promoted; else it is the newest one.")
    results: list[PictureOut]
    failed: int

    @classmethod
    def whole(cls, request: Request, result: Result, job: Job | None) -> PredictionsOut:
        pairs = zip(request.items, result.answers, strict=True)
        return cls(
            job_id=None if job is None else job.id,
            checkpoint_id=request.checkpoint_id,
            round=request.round,
            promoted=request.promoted,
            results=[PictureOut.whole(item, said, result.classes, request.checkpoint_id) for item, said in pairs],
            failed=sum(said.error is not None for said in result.answers),
        )


class UnderWayOut(Out):
    """Not predicted yet: ask `/v1/projects/{project_id}/predictions/{job_id}` after `Retry-After` seconds."""

    job_id: int
    operation: str = Field(description="Where it can be asked how this goes, as of all work of this kind.")
    state: JobState
    detail: str
