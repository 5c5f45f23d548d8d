"""The calls of the page where reviewers decide. What they mean is in ``shared.adjudication``.

What people said is in an answer of its own, which the page asks for only when the reviewer does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from services.ui.labelling import IdempotencyKey
from services.ui.parts import PartsOf, ProjectPath
from services.ui.permits import Reviews
from services.ui.views import BIGGEST_ID, BIGGEST_INT, ImageView, image_view
from shared.adjudication import MOST
from shared.db import images
from shared.db.questions import Question
from shared.domain import ClassId, ImageId, ProjectId, QuestionId
from shared.system import System

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["adjudication"])
QuestionPath = Annotated[int, Path(alias="question_id", ge=1, le=BIGGEST_ID)]
Limit = Annotated[int, Query(ge=1, le=200)]
Place = Annotated[int, Query(ge=0, le=BIGGEST_ID)]


class QuestionView(BaseModel):
    """``answers``: how many there are, and never which."""

    question_id: int
    kind: Literal["overlap", "second_opinion"]
    image: ImageView
    answers: int
    since: datetime


class Queue(BaseModel):
    """``waiting``: how many wait for any reviewer; those that this one has answered are left out of ``questions``."""

    questions: list[QuestionView]
    next_after: int | None
    waiting: int


class AnswerView(BaseModel):
    """``accuracy``: the share that was right of their ``known`` answers that are known; null without any."""

    class_id: int
    by: str
    at: datetime
    known: int
    accuracy: float | None


class LabelView(BaseModel):
    class_id: int
    source: str


class RevealedView(BaseModel):
    answers: list[AnswerView]
    label: LabelView | None


class Decision(BaseModel):
    class_id: int = Field(ge=1, le=BIGGEST_ID)
    duration_ms: int | None = Field(None, ge=0, le=BIGGEST_INT)


class Decided(BaseModel):
    """``replayed``: this very decision had been recorded before."""

    annotation_id: int
    replayed: bool


class Wanted(BaseModel):
    image_ids: list[Annotated[int, Field(ge=1, le=BIGGEST_ID)]] = Field(min_length=1, max_length=MOST)


class Asked(BaseModel):
    asked: list[int]


class OpinionView(BaseModel):
    question_id: int
    image: ImageView
    state: str
    asked_at: datetime


class Opinions(BaseModel):
    opinions: list[OpinionView]
    next_before: int | None


@router.get("/adjudication")
def queue(project_id: ProjectPath, parts: PartsOf, user: Reviews, after: Place = 0, limit: Limit = 50) -> Queue:
    """Images on which people disagree, the oldest first."""
    project = ProjectId(project_id)
    found, waiting = parts.system.adjudication.queue(project, user.id, after=after, limit=limit)
    pictures = _pictures(parts.system, project, found)
    return Queue(
        questions=[
            QuestionView(
                question_id=one.id,
                kind=one.kind.value,
                image=pictures[one.image_id],
                answers=one.answered,
                since=one.created_at,
            )
            for one in found
        ],
        next_after=found[-1].id if len(found) == limit else None,
        waiting=waiting,
    )


@router.get("/adjudication/{question_id}/answers")
def reveal(project_id: ProjectPath, question_id: QuestionPath, parts: PartsOf, user: Reviews) -> RevealedView:
    """What people said. That it was looked at is recorded."""
    found = parts.system.adjudication.reveal(ProjectId(project_id), user.id, QuestionId(question_id))
    return RevealedView(
        answers=[
            AnswerView(
                class_id=one.class_id,
                by=one.by_name,
                at=one.created_at,
                known=record.answers if record else 0,
                accuracy=record.right / record.answers if record else None,
            )
            for one, record in found.answers
        ],
        label=found.label and LabelView(class_id=found.label.class_id, source=found.label.source.value),
    )


@router.post("/adjudication/{question_id}", status_code=201)
def decide(
    project_id: ProjectPath,
    question_id: QuestionPath,
    decision: Decision,
    response: Response,
    parts: PartsOf,
    user: Reviews,
    idempotency_key: IdempotencyKey,
) -> Decided:
    """201 for a new decision, 200 for one that was recorded before, 409 if it was settled meanwhile."""
    given = parts.system.adjudication.decide(
        ProjectId(project_id),
        user.id,
        QuestionId(question_id),
        ClassId(decision.class_id),
        key=idempotency_key,
        duration_ms=decision.duration_ms,
    )
    if given.replayed:
        response.status_code = 200
    return Decided(annotation_id=given.annotation.id, replayed=given.replayed)


@router.post("/second-opinions")
def ask(project_id: ProjectPath, wanted: Wanted, parts: PartsOf, user: Reviews) -> Asked:
    """Ask another person about each image. Those that can't be asked are left out of the answer."""
    chosen = [ImageId(one) for one in wanted.image_ids]
    return Asked(asked=list(parts.system.adjudication.ask_second_opinions(ProjectId(project_id), user.id, chosen)))


@router.get("/second-opinions")
def opinions(project_id: ProjectPath, parts: PartsOf, user: Reviews, before: Place = 0, limit: Limit = 50) -> Opinions:
    """The newest first; ``before`` 0: from the newest."""
    project = ProjectId(project_id)
    found = parts.system.adjudication.opinions(project, before=before or None, limit=limit)
    pictures = _pictures(parts.system, project, found)
    return Opinions(
        opinions=[
            OpinionView(
                question_id=one.id, image=pictures[one.image_id], state=one.state.value, asked_at=one.created_at
            )
            for one in found
        ],
        next_before=found[-1].id if len(found) == limit else None,
    )


def _pictures(system: System, project_id: ProjectId, found: Sequence[Question]) -> dict[ImageId, ImageView]:
    with system.database.transaction() as tx:
        rows = images.by_ids(tx, project_id, [one.image_id for one in found])
    return {image_id: image_view(image) for image_id, image in rows.items()}
