"""What annotators look at beside the image, and back at: history, guidelines, the model's suggestion; and flags."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from services.ui.labelling import IdempotencyKey
from services.ui.parts import Parts, PartsOf, ProjectPath, TaskPath
from services.ui.permits import Labels, Reviews
from services.ui.views import BIGGEST_ID, BIGGEST_INT, ImageView, image_view
from shared.db import flags, guidelines, images, projects, tasks
from shared.domain import AnnotationId, ClassId, FlagId, ImageId, ProjectId, Task, TaskId, TaskState, User
from shared.errors import Forbidden, StaleFence
from shared.suggesting import suggest

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["labelling"])
AnnotationPath = Annotated[int, Path(ge=1, le=BIGGEST_ID)]
FlagPath = Annotated[int, Path(ge=1, le=BIGGEST_ID)]


class PastAnswer(BaseModel):
    annotation_id: int
    class_id: int
    created_at: datetime
    image: ImageView


class History(BaseModel):
    """The newest first; ``before`` is what to ask on with, None at the end."""

    answers: list[PastAnswer]
    before: int | None


class Change(BaseModel):
    class_id: int = Field(ge=1, le=BIGGEST_ID)


class Changed(BaseModel):
    annotation_id: int
    replayed: bool


class NewFlag(BaseModel):
    image_id: int = Field(ge=1, le=BIGGEST_ID)
    note: str = Field("", max_length=2000)


class Flagged(BaseModel):
    flag_id: int


class Resolved(BaseModel):
    flag_id: int
    open: int


class AskedUnder(BaseModel):
    fence: int = Field(ge=0, le=BIGGEST_INT)


class SuggestionView(BaseModel):
    class_id: int
    confidence: float


class Suggested(BaseModel):
    """None where the model has not looked at the image, or must not be looked at for it."""

    suggestion: SuggestionView | None


class ClassGuideView(BaseModel):
    class_id: int
    description: str
    examples: list[ImageView]
    picked: bool


class GuidelinesView(BaseModel):
    text: str
    classes: list[ClassGuideView]


@router.get("/history")
def history(
    project_id: ProjectPath,
    parts: PartsOf,
    user: Labels,
    before: Annotated[int | None, Query(ge=1, le=BIGGEST_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
) -> History:
    """One's own answers that stand."""
    project = ProjectId(project_id)
    found = parts.system.labelling.history(project, user.id, before=before, limit=limit + 1)
    pictures = _pictures(parts, project, [one.image_id for one in found])
    answers = [
        PastAnswer(
            annotation_id=one.id,
            class_id=one.class_id,
            created_at=one.created_at,
            image=pictures[one.image_id],
        )
        for one in found[:limit]
    ]
    return History(answers=answers, before=found[limit - 1].id if len(found) > limit else None)


@router.post("/annotations/{annotation_id}/change", status_code=201)
def change(
    project_id: ProjectPath,
    annotation_id: AnnotationPath,
    body: Change,
    response: Response,
    parts: PartsOf,
    user: Labels,
    idempotency_key: IdempotencyKey,
) -> Changed:
    """Another answer in place of one's own. 409 if it no longer gives the image its label."""
    changed = parts.system.labelling.change(
        ProjectId(project_id), user.id, AnnotationId(annotation_id), ClassId(body.class_id), key=idempotency_key
    )
    if changed.replayed:
        response.status_code = 200
    return Changed(annotation_id=changed.annotation.id, replayed=changed.replayed)


@router.post("/flags", status_code=201)
def flag(
    project_id: ProjectPath, body: NewFlag, parts: PartsOf, user: Labels, idempotency_key: IdempotencyKey
) -> Flagged:
    """Let a lead see an image."""
    labelling = parts.system.labelling
    flag_id = labelling.flag(ProjectId(project_id), user.id, ImageId(body.image_id), body.note, key=idempotency_key)
    return Flagged(flag_id=flag_id)


@router.post("/flags/{flag_id}/resolve")
def resolve(project_id: ProjectPath, flag_id: FlagPath, parts: PartsOf, user: Reviews) -> Resolved:
    """It has been seen to."""
    with parts.system.database.transaction() as tx:
        flags.resolve(tx, ProjectId(project_id), FlagId(flag_id), f"user:{user.id}")
        return Resolved(flag_id=flag_id, open=flags.count_open(tx, ProjectId(project_id)))


@router.post("/tasks/{task_id}/suggestion")
def suggestion(project_id: ProjectPath, task_id: TaskPath, body: AskedUnder, parts: PartsOf, user: Labels) -> Suggested:
    """What the model thinks of the image, to who holds its task and asks; from then on the answer says it was seen.

    403 where the project shows no suggestions, 409 if the lease was lost.
    """
    task = _held(parts, ProjectId(project_id), TaskId(task_id), body.fence, user)
    system = parts.system
    found = suggest(system.database, system.store, task.project_id, [task.image_id]).get(task.image_id)
    if found is None:
        return Suggested(suggestion=None)
    held = tasks.Lease(task_id=task.id, fence=task.fence)
    system.labelling.show_suggestions(user.id, [(held, found.class_id)])
    return Suggested(suggestion=SuggestionView(class_id=found.class_id, confidence=found.confidence))


@router.get("/guidelines")
def read_guidelines(project_id: ProjectPath, parts: PartsOf, user: Labels) -> GuidelinesView:
    project = ProjectId(project_id)
    with parts.system.database.transaction() as tx:
        told = guidelines.get(tx, project)
    pictures = _pictures(parts, project, [image for one in told.classes for image in one.examples])
    return GuidelinesView(
        text=told.text,
        classes=[
            ClassGuideView(
                class_id=one.class_id,
                description=one.description,
                examples=[pictures[image] for image in one.examples],
                picked=one.picked,
            )
            for one in told.classes
        ],
    )


def _held(parts: Parts, project_id: ProjectId, task_id: TaskId, fence: int, user: User) -> Task:
    with parts.system.database.transaction() as tx:
        if not projects.get(tx, project_id).settings.suggestions:
            raise Forbidden("this project shows no suggestions: they would sway the answers")
        task = tasks.get(tx, project_id, task_id)
    if (task.state, task.fence, task.holder) != (TaskState.LEASED, fence, user.id):
        raise StaleFence(f"task {task.id} is not held under this lease")
    return task


def _pictures(parts: Parts, project_id: ProjectId, ids: Sequence[ImageId]) -> dict[ImageId, ImageView]:
    with parts.system.database.transaction() as tx:
        return {one.id: image_view(one) for one in images.by_ids(tx, project_id, ids).values()}
