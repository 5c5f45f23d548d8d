"""The state of a project, its classes, and its start and pause."""

from __future__ import annotations

from fastapi import APIRouter

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
