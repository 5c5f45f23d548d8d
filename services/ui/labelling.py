"""The calls of the labelling page. What they mean is in ``shared.labelling``; nobody learns here why they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, Field, ValidationError

from services.ui.narration import Waiting, wait_for_image
from services.ui.parts import Parts, PartsOf, ProjectPath, TaskPath
from services.ui.sessions import SignedIn
from shared.db import images, tasks
from shared.db.tasks import Lease
from shared.domain import AnnotationId, ClassId, ProjectId, Task, TaskId, User
from shared.errors import Invalid

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["labelling"])
MOST_LEASES = 50
_BIGGEST_INT, _BIGGEST_ID = 2**31 - 1, 2**63 - 1


class ImageView(BaseModel):
    id: int
    url: str
    width: int
    height: int


class TaskView(BaseModel):
    """A question. Whether it is a query or of the holdout, and what chose it, would sway the answer: it isn't said."""

    task_id: int
    fence: int
    lease_until: datetime
    image: ImageView


class MyProgress(BaseModel):
    """``share``, ``done`` and ``total`` are of the round's present step."""

    answered_by_me: int
    labels: int
    round: int | None
    step: str | None
    share: float | None
    done: int | None
    total: int | None
    unit: str | None


class LeaseWish(BaseModel):
    count: int = Field(5, ge=1, le=MOST_LEASES)


class Leased(BaseModel):
    tasks: list[TaskView]
    waiting: Waiting | None
    progress: MyProgress


class HeldLease(BaseModel):
    task_id: int = Field(ge=1, le=_BIGGEST_ID)
    fence: int = Field(ge=0, le=_BIGGEST_INT)


class HeldLeases(BaseModel):
    leases: list[HeldLease] = Field(max_length=2 * MOST_LEASES)


class Renewed(BaseModel):
    held: list[int]


class Released(BaseModel):
    released: list[int]


class Answer(BaseModel):
    fence: int = Field(ge=0, le=_BIGGEST_INT)
    class_id: int = Field(ge=1, le=_BIGGEST_ID)
    duration_ms: int | None = Field(None, ge=0, le=_BIGGEST_INT)


class Answered(BaseModel):
    """``replayed``: this very answer had been recorded before."""

    annotation_id: int
    replayed: bool


class Skip(BaseModel):
    fence: int = Field(ge=0, le=_BIGGEST_INT)
    reason: str = Field("", max_length=200)


class Skipped(BaseModel):
    task_id: int


class Undo(BaseModel):
    """``annotation_id`` None: the newest answer."""

    annotation_id: int | None = Field(None, ge=1, le=_BIGGEST_ID)


class TakenBack(BaseModel):
    task: TaskView


@router.post("/leases")
def lease(project_id: ProjectPath, wish: LeaseWish, parts: PartsOf, user: SignedIn) -> Leased:
    """Tasks for the one who asks: first those already held, then new ones. None free: ``waiting`` says why."""
    project = ProjectId(project_id)
    leased = parts.system.labelling.lease(project, user.id, count=wish.count)
    standing = parts.standings.get(project)
    return Leased(
        tasks=_views(parts, project, leased),
        waiting=None if leased else wait_for_image(standing),
        progress=_my_progress(parts, project, user),
    )


@router.post("/leases/renew")
def renew(project_id: ProjectPath, mine: HeldLeases, parts: PartsOf, user: SignedIn) -> Renewed:
    return Renewed(held=list(parts.system.labelling.renew(ProjectId(project_id), user.id, _leases(mine))))


async def _held_leases(request: Request) -> HeldLeases:
    """The body whatever its content type says: a page that is being left can't always send JSON as JSON."""
    try:
        return HeldLeases.model_validate_json(await request.body())
    except ValidationError as error:
        raise Invalid('the body must be JSON like {"leases": [{"task_id": 1, "fence": 1}]}') from error


@router.post("/leases/release")
def release(
    project_id: ProjectPath, mine: Annotated[HeldLeases, Depends(_held_leases)], parts: PartsOf, user: SignedIn
) -> Released:
    return Released(released=list(parts.system.labelling.release(user.id, _leases(mine))))


@router.post("/tasks/{task_id}/annotation", status_code=201)
def annotate(
    project_id: ProjectPath,
    task_id: TaskPath,
    answer: Answer,
    response: Response,
    parts: PartsOf,
    user: SignedIn,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
) -> Answered:
    """201 for a new answer, 200 for one that was recorded before, 409 if the lease was lost."""
    submitted = parts.system.labelling.submit(
        ProjectId(project_id),
        user.id,
        Lease(task_id=TaskId(task_id), fence=answer.fence),
        ClassId(answer.class_id),
        key=idempotency_key,
        duration_ms=answer.duration_ms,
    )
    if submitted.replayed:
        response.status_code = 200
    return Answered(annotation_id=submitted.annotation.id, replayed=submitted.replayed)


@router.post("/tasks/{task_id}/skip")
def skip(project_id: ProjectPath, task_id: TaskPath, body: Skip, parts: PartsOf, user: SignedIn) -> Skipped:
    held = Lease(task_id=TaskId(task_id), fence=body.fence)
    return Skipped(task_id=parts.system.labelling.skip(ProjectId(project_id), user.id, held, body.reason).id)


@router.post("/undo")
def undo(project_id: ProjectPath, body: Undo, parts: PartsOf, user: SignedIn) -> TakenBack:
    """Take an answer back; its task comes again, under a new fence."""
    chosen = None if body.annotation_id is None else AnnotationId(body.annotation_id)
    task = parts.system.labelling.undo(ProjectId(project_id), user.id, chosen)
    return TakenBack(task=_views(parts, ProjectId(project_id), [task])[0])


def _leases(mine: HeldLeases) -> list[Lease]:
    return [Lease(task_id=TaskId(one.task_id), fence=one.fence) for one in mine.leases]


def _views(parts: Parts, project_id: ProjectId, leased: Sequence[Task]) -> list[TaskView]:
    with parts.system.database.transaction() as tx:
        pictures = [images.get(tx, project_id, task.image_id) for task in leased]
    return [
        TaskView(
            task_id=task.id,
            fence=task.fence,
            lease_until=task.lease_until or datetime.now(UTC),
            image=ImageView(
                id=picture.id,
                url=f"/projects/{project_id}/images/{picture.id}",
                width=picture.width,
                height=picture.height,
            ),
        )
        for task, picture in zip(leased, pictures, strict=True)
    ]


def _my_progress(parts: Parts, project_id: ProjectId, user: User) -> MyProgress:
    with parts.system.database.transaction() as tx:
        answered = tasks.answered_by(tx, project_id, user.id)
    standing = parts.standings.get(project_id)
    now, step = standing.overview, standing.progress
    return MyProgress(
        answered_by_me=answered,
        labels=now.labels.pool + now.labels.holdout,
        round=now.round.number if now.round else None,
        step=now.round.state.value if now.round else None,
        share=step.share if step else None,
        done=step.done if step else None,
        total=step.total if step else None,
        unit=step.unit if step else None,
    )
