"""Projects: make, list, look at, change, start, pause."""

from __future__ import annotations

from fastapi import APIRouter, Response

from services.api.auth import AnyManager, AnyReader, Manager, Reader
from services.api.parts import CursorQuery, LimitQuery, ProjectPath, SystemPart, decode_cursor, encode_cursor
from services.api.problems import errors
from services.api.schemas.projects import NewProject, ProjectChange, ProjectOut, ProjectPage, ProjectSummary
from shared.access import Permission
from shared.configuring import changed_settings, new_settings
from shared.db import events, images, projects
from shared.domain import ProjectId, ProjectState
from shared.errors import Conflict

router = APIRouter(prefix="/v1/projects", tags=["projects"])


@router.post("", status_code=201, summary="Create a project", responses=errors(409))
def create_project(body: NewProject, response: Response, caller: AnyManager, system: SystemPart) -> ProjectOut:
    """A project in the state `draft`. Names are unique, so a request repeated by mistake makes no second one (409)."""
    settings = new_settings(body.settings)
    with system.database.transaction() as tx:
        try:
            project = projects.create(tx, body.name, body.classes, settings)
        except Conflict:
            raise Conflict(f"there is a project named '{body.name}' already") from None
        events.record(tx, project.id, caller.actor, "project.created", {"name": project.name})
        created = ProjectOut.whole(project, projects.classes(tx, project.id))
    response.headers["Location"] = f"{router.prefix}/{created.id}"
    return created


@router.get("", summary="List projects", responses=errors())
def list_projects(
    caller: AnyReader, system: SystemPart, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> ProjectPage:
    """In order of id. A key limited to one project sees that one only."""
    after = decode_cursor(cursor) or 0
    with system.database.transaction() as tx:
        found = projects.page(tx, after=after, limit=limit + 1, only=caller.reach(Permission.SEE))
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return ProjectPage(items=[ProjectSummary.of(p) for p in found[:limit]], next_cursor=more)


@router.get("/{project_id}", summary="Look at a project", responses=errors(404))
def get_project(project_id: ProjectPath, caller: Reader, system: SystemPart) -> ProjectOut:
    """With its classes and all of its settings."""
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        return ProjectOut.whole(project, projects.classes(tx, project.id))


@router.patch("/{project_id}", summary="Change settings", responses=errors(404, 409))
def change_project(project_id: ProjectPath, body: ProjectChange, caller: Manager, system: SystemPart) -> ProjectOut:
    """Settings that are not named stay as they are.

    `arch`, `train_mode`, `image_size`, `channels` and `shard_size` can change only while the project is a draft and
    none of its images has been prepared for a model (409 after that). `initial` and `holdout_size` have no effect once
    the project was started.
    """
    with system.database.transaction() as tx:
        project = projects.lock(tx, ProjectId(project_id))
        fixed = project.state is not ProjectState.DRAFT or bool(images.shards(tx, project.id))
        settings = changed_settings(project.settings, body.settings, sealed=fixed)
        changed = projects.set_settings(tx, project.id, settings)
        named = body.settings.model_dump(mode="json", include=body.settings.model_fields_set)
        events.record(tx, project.id, caller.actor, "project.settings_changed", named)
        return ProjectOut.whole(changed, projects.classes(tx, project.id))


@router.post("/{project_id}/start", summary="Start, or go on", responses=errors(404))
def start_project(project_id: ProjectPath, caller: Manager, system: SystemPart) -> ProjectSummary:
    """Starts a draft, and goes on after a pause or after a stopping rule was met. Nothing changes if it is running.

    The pool must have images. The first start draws the holdout.
    """
    with system.ledger.transaction() as tx:
        return ProjectSummary.of(system.rounds.start(tx, ProjectId(project_id), caller.actor))


@router.post("/{project_id}/label-rest", summary="Have people label what is left", responses=errors(404, 409))
def label_rest(project_id: ProjectPath, caller: Manager, system: SystemPart) -> ProjectSummary:
    """Opens tasks for everything in the pool that has no label, a person's or the model's, the most uncertain first.

    The project runs until nothing is left; no model is trained and no stopping rule is asked meanwhile. 409 if it was
    never started, or if nothing is left.
    """
    with system.ledger.transaction() as tx:
        return ProjectSummary.of(system.rounds.label_rest(tx, ProjectId(project_id), caller.actor))


@router.post("/{project_id}/pause", summary="Pause", responses=errors(404, 409))
def pause_project(project_id: ProjectPath, caller: Manager, system: SystemPart) -> ProjectSummary:
    """Hands out no more tasks and begins no more work. Answers to tasks already handed out are still taken."""
    with system.ledger.transaction() as tx:
        return ProjectSummary.of(system.rounds.pause(tx, ProjectId(project_id), caller.actor))
