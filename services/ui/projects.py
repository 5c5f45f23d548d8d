"""The state of a project, its classes, and its start and pause."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from services.ui.hotkeys import ClassView, with_hotkeys
from services.ui.parts import PartsOf, ProjectPath
from services.ui.permits import Labels, Manages, Watches
from services.ui.state import State, project_state
from shared.db import projects
from shared.domain import ProjectId

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["projects"])


@router.get("/state")
def state(project_id: ProjectPath, parts: PartsOf, user: Watches) -> State:
    """Where the project stands, at most a second old."""
    return project_state(parts.standings.get(ProjectId(project_id)))


@router.get("/live")
def live(project_id: ProjectPath, parts: PartsOf, user: Watches) -> StreamingResponse:
    """The project's state now and each time it changes: server-sent events named ``state``, for about a minute."""
    parts.telling.word(ProjectId(project_id))  # who asks for a project that isn't there hears so at once
    events = parts.telling.stream(ProjectId(project_id))
    return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


@router.get("/classes")
def classes(project_id: ProjectPath, parts: PartsOf, user: Labels) -> list[ClassView]:
    with parts.system.database.transaction() as tx:
        projects.get(tx, ProjectId(project_id))
        return with_hotkeys(projects.classes(tx, ProjectId(project_id)))


@router.post("/start")
def start(project_id: ProjectPath, parts: PartsOf, user: Manages) -> State:
    """Start, or go on after a pause or a stopping rule."""
    with parts.system.ledger.transaction() as tx:
        parts.system.rounds.start(tx, ProjectId(project_id), f"user:{user.id}")
    parts.standings.forget(ProjectId(project_id))
    return project_state(parts.standings.get(ProjectId(project_id)))


@router.post("/label-rest")
def label_rest(project_id: ProjectPath, parts: PartsOf, user: Manages) -> State:
    """Ask people about everything that has no label, the most uncertain first."""
    with parts.system.ledger.transaction() as tx:
        parts.system.rounds.label_rest(tx, ProjectId(project_id), f"user:{user.id}")
    parts.standings.forget(ProjectId(project_id))
    return project_state(parts.standings.get(ProjectId(project_id)))


@router.post("/pause")
def pause(project_id: ProjectPath, parts: PartsOf, user: Manages) -> State:
    """Hand out no tasks and start no jobs until it is started again."""
    with parts.system.ledger.transaction() as tx:
        parts.system.rounds.pause(tx, ProjectId(project_id), f"user:{user.id}")
    parts.standings.forget(ProjectId(project_id))
    return project_state(parts.standings.get(ProjectId(project_id)))
