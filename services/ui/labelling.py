"""The calls of the labelling page. What they mean is in ``shared.labelling``; nobody learns here why they are asked."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, Field, ValidationError

from services.ui.narration import Waiting, paused_because, wait_for_image
from services.ui.parts import Parts, PartsOf, ProjectPath, TaskPath
from services.ui.permits import Labels
from services.ui.sessions import SignedInAs
from services.ui.views import (
    BIGGEST_ID,
    BIGGEST_INT,
    MOST_LEASES,
    HeldLease,
    MyProgress,
    TaskView,
    my_progress,
    task_views,
)
from shared.access import Principal
from shared.db.tasks import Lease
from shared.domain import AnnotationId, ClassId, PassOn, ProjectId, TaskId, User
from shared.errors import Conflict, Invalid, Retryable
from shared.telemetry import logger

log = logger(__name__)
router = APIRouter(prefix="/v1/projects/{project_id}", tags=["labelling"])
IdempotencyKey = Annotated[str, Header(min_length=1, max_length=200)]


class LeaseWish(BaseModel):
    count: int = Field(5, ge=1, le=MOST_LEASES)


class Leased(BaseModel):
    tasks: list[TaskView]
    waiting: Waiting | None
    progress: MyProgress


class HeldLeases(BaseModel):
    leases: list[HeldLease] = Field(max_length=2 * MOST_LEASES)


class Renewed(BaseModel):
    held: list[int]


class Released(BaseModel):
    released: list[int]


class Answer(BaseModel):
    fence: int = Field(ge=0, le=BIGGEST_INT)
    class_id: int = Field(ge=1, le=BIGGEST_ID)
    duration_ms: int | None = Field(None, ge=0, le=BIGGEST_INT)
    lease: int | None = Field(None, ge=1, le=MOST_LEASES)
    """So many tasks are wanted next, as ``LeaseWish`` has it: who answers and goes on needs one call for both."""


class Answered(BaseModel):
    """``replayed``: this very answer had been recorded before. ``next``: the tasks that were wanted; None if none were,
    or if they can't be had just now: the answer stands all the same."""

    annotation_id: int
    replayed: bool
    next: Leased | None


class Skip(BaseModel):
    """``way``: to whom the image goes next; ``reason``: why, where nobody could tell."""

    fence: int = Field(ge=0, le=BIGGEST_INT)
    reason: str = Field("", max_length=200)
    way: PassOn = PassOn.LATER


class Skipped(BaseModel):
    task_id: int


class Undo(BaseModel):
    """``annotation_id`` None: the newest answer."""

    annotation_id: int | None = Field(None, ge=1, le=BIGGEST_ID)


class TakenBack(BaseModel):
    task: TaskView


@router.post("/leases", response_model=Leased)
def lease(project_id: ProjectPath, wish: LeaseWish, parts: PartsOf, user: Labels, who: SignedInAs) -> Response:
    """Tasks for the one who asks: first those already held, then new ones. None free: ``waiting`` says why."""
    return _as_json(_lease(parts, ProjectId(project_id), user, who, wish.count))


def _lease(parts: Parts, project: ProjectId, user: User, who: Principal, count: int) -> Leased:
    paused = who.paused(project)
    leased = [] if paused else parts.system.labelling.lease(project, user.id, count=count)
    standing = parts.standings.get(project)
    with parts.system.database.one_by_one() as tx:
        return Leased(
            tasks=task_views(tx, project, leased),
            waiting=None if leased else paused_because(paused) if paused else wait_for_image(standing),
            progress=my_progress(tx, standing, user),
        )


@router.post("/leases/renew")
def renew(project_id: ProjectPath, mine: HeldLeases, parts: PartsOf, user: Labels) -> Renewed:
    return Renewed(held=list(parts.system.labelling.renew(ProjectId(project_id), user.id, _leases(mine))))


async def _held_leases(request: Request) -> HeldLeases:
    """The body whatever its content type says: a page that is being left can't always send JSON as JSON."""
    try:
        return HeldLeases.model_validate_json(await request.body())
    except ValidationError as error:
        raise Invalid('the body must be JSON like {"leases": [{"task_id": 1, "fence": 1}]}') from error


@router.post("/leases/release")
def release(
    project_id: ProjectPath, parts: PartsOf, user: Labels, mine: Annotated[HeldLeases, Depends(_held_leases)]
) -> Released:
    return Released(released=list(parts.system.labelling.release(user.id, _leases(mine))))


@router.post("/tasks/{task_id}/annotation", status_code=201, response_model=Answered)
def annotate(
    project_id: ProjectPath,
    task_id: TaskPath,
    answer: Answer,
    parts: PartsOf,
    user: Labels,
    who: SignedInAs,
    idempotency_key: IdempotencyKey,
) -> Response:
    """201 for a new answer, 200 for one that was recorded before, 409 if the lease was lost."""
    project = ProjectId(project_id)
    submitted = parts.system.labelling.submit(
        project,
        user.id,
        Lease(task_id=TaskId(task_id), fence=answer.fence),
        ClassId(answer.class_id),
        key=idempotency_key,
        duration_ms=answer.duration_ms,
    )
    following = None
    if answer.lease is not None:
        try:
            following = _lease(parts, project, user, who, answer.lease)
        except (Retryable, Conflict) as error:  # the answer is recorded, and that must be told
            log.warning("tasks.not_leased", project_id=project_id, error=str(error))
    answered = Answered(annotation_id=submitted.annotation.id, replayed=submitted.replayed, next=following)
    return _as_json(answered, 200 if submitted.replayed else 201)


@router.post("/tasks/{task_id}/skip")
def skip(project_id: ProjectPath, task_id: TaskPath, body: Skip, parts: PartsOf, user: Labels) -> Skipped:
    held = Lease(task_id=TaskId(task_id), fence=body.fence)
    skipped = parts.system.labelling.skip(ProjectId(project_id), user.id, held, body.reason, way=body.way)
    return Skipped(task_id=skipped.id)


@router.post("/undo")
def undo(project_id: ProjectPath, body: Undo, parts: PartsOf, user: Labels) -> TakenBack:
    """Take an answer back; its task comes again, under a new fence."""
    chosen = None if body.annotation_id is None else AnnotationId(body.annotation_id)
    task = parts.system.labelling.undo(ProjectId(project_id), user.id, chosen)
    with parts.system.database.transaction() as tx:
        return TakenBack(task=task_views(tx, task.project_id, [task])[0])


def _as_json(answer: BaseModel, status: int = 200) -> Response:
    """Written as it is: FastAPI would check what was built here once more, and in another thread."""
    return Response(answer.model_dump_json(), status, media_type="application/json")


def _leases(mine: HeldLeases) -> list[Lease]:
    return [one.lease() for one in mine.leases]
