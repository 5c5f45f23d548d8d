"""The calls of the grid: many tasks at once, with what the model thinks of each, and many answers in one request.

Answers that were given here have seen the model's suggestion, and say so. The holdout is left out of it, since it must
measure the model and not echo it.
"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.ui.looking import SuggestionView
from services.ui.narration import Waiting, paused_because, wait_for_image
from services.ui.parts import PartsOf, ProjectPath
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
from shared.db.tasks import Lease
from shared.domain import AnnotationId, ClassId, ImageId, ProjectId, TaskId
from shared.errors import StaleFence, WinnowError
from shared.labelling import Given, Submitted
from shared.suggesting import has_model, suggest

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["labelling"])
MOST_SET_ASIDE = 1000


class PageWish(BaseModel):
    """``blind``: without the model's suggestions. ``without``: tasks that were set aside to be seen one by one."""

    count: int = Field(60, ge=1, le=MOST_LEASES)
    blind: bool = False
    without: list[int] = Field(default_factory=list, max_length=MOST_SET_ASIDE)


class TileView(TaskView):
    suggestion: SuggestionView | None


class Page(BaseModel):
    """``suggested``: whether there is a model and it was looked at."""

    tiles: list[TileView]
    suggested: bool
    waiting: Waiting | None
    progress: MyProgress


class OneAnswer(HeldLease):
    key: str = Field(min_length=1, max_length=200)
    class_id: int = Field(ge=1, le=BIGGEST_ID)
    duration_ms: int | None = Field(None, ge=0, le=BIGGEST_INT)


class Answers(BaseModel):
    answers: list[OneAnswer] = Field(min_length=1, max_length=MOST_LEASES)


class Outcome(BaseModel):
    """``lost``: the lease was; ``refused``: for what ``detail`` says."""

    key: str
    outcome: Literal["recorded", "replayed", "lost", "refused"]
    annotation_id: int | None = None
    detail: str = ""


class Outcomes(BaseModel):
    outcomes: list[Outcome]


class UndoMany(BaseModel):
    annotation_ids: list[int] = Field(min_length=1, max_length=MOST_LEASES)


class TakenBackMany(BaseModel):
    tasks: list[TaskView]


@router.post("/grid")
def take_page(project_id: ProjectPath, wish: PageWish, parts: PartsOf, user: Labels, who: SignedInAs) -> Page:
    """Tasks for a page of the grid: first those already held, then new ones."""
    project, system = ProjectId(project_id), parts.system
    suggested = not wish.blind and has_model(system.database, project)
    paused = who.paused(project)
    leased = (
        []
        if paused
        else system.labelling.lease(
            project,
            user.id,
            count=wish.count,
            only_queries=suggested,
            without=[TaskId(one) for one in wish.without],
        )
    )
    thought = suggest(system.database, system.store, project, [t.image_id for t in leased]) if suggested else {}
    shown = [
        (Lease(task_id=task.id, fence=task.fence), thought[task.image_id].class_id)
        for task in leased
        if task.image_id in thought
    ]
    if shown:
        system.labelling.show_suggestions(user.id, shown)
    views = {
        t.image_id: SuggestionView(class_id=s.class_id, confidence=s.confidence)
        for t in leased
        if (s := thought.get(t.image_id))
    }
    standing = parts.standings.get(project)
    with system.database.one_by_one() as tx:
        tasks = task_views(tx, project, leased)
        progress = my_progress(tx, standing, user)
    return Page(
        tiles=[TileView(**dict(task), suggestion=views.get(ImageId(task.image.id))) for task in tasks],
        suggested=suggested,
        waiting=None if leased else paused_because(paused) if paused else wait_for_image(standing),
        progress=progress,
    )


@router.post("/answers")
def answer_many(project_id: ProjectPath, body: Answers, parts: PartsOf, user: Labels) -> Outcomes:
    """Each is recorded for itself, once by its key however often it is sent."""
    given = [
        Given(lease=one.lease(), class_id=ClassId(one.class_id), key=one.key, duration_ms=one.duration_ms)
        for one in body.answers
    ]
    became = parts.system.labelling.submit_many(ProjectId(project_id), user.id, given)
    return Outcomes(outcomes=[_outcome(one.key, what) for one, what in zip(given, became, strict=True)])


@router.post("/undo-many")
def undo_many(project_id: ProjectPath, body: UndoMany, parts: PartsOf, user: Labels) -> TakenBackMany:
    """Take back answers that were given together, those that still can be."""
    chosen = [AnnotationId(one) for one in body.annotation_ids]
    taken = parts.system.labelling.undo_many(ProjectId(project_id), user.id, chosen)
    with parts.system.database.transaction() as tx:
        return TakenBackMany(tasks=task_views(tx, ProjectId(project_id), taken))


def _outcome(key: str, what: Submitted | WinnowError) -> Outcome:
    if isinstance(what, Submitted):
        outcome: Literal["recorded", "replayed"] = "replayed" if what.replayed else "recorded"
        return Outcome(key=key, outcome=outcome, annotation_id=what.annotation.id)
    return Outcome(key=key, outcome="lost" if isinstance(what, StaleFence) else "refused", detail=str(what))
