"""The pages where people label: one image at a time, the grid, and what was flagged on the way."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.ui.hotkeys import ClassView, with_hotkeys
from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import Labels, Reviews
from services.ui.sessions import SignedInAs
from shared.access import Permission, Principal, permits
from shared.db import flags, projects, tasks
from shared.domain import Project, ProjectId, User

router = APIRouter(include_in_schema=False)
_MOST_LISTED = 200


@router.get("/projects/{project_id}/label")
def label_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Labels, who: SignedInAs) -> Response:
    return parts.templates.TemplateResponse(request, "label.html", _context(parts, ProjectId(project_id), user, who))


@router.get("/projects/{project_id}/grid")
def grid_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Labels, who: SignedInAs) -> Response:
    return parts.templates.TemplateResponse(request, "grid.html", _context(parts, ProjectId(project_id), user, who))


@router.get("/projects/{project_id}/flags")
def flags_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Reviews) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        context = {
            "user": user,
            "project": project,
            "flags": flags.page(tx, project.id, limit=_MOST_LISTED),
            "untold": tasks.could_not_tell(tx, project.id, _MOST_LISTED),
        }
    return parts.templates.TemplateResponse(request, "flags.html", context)


def _context(parts: Parts, project_id: ProjectId, user: User, who: Principal) -> dict[str, Any]:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, project_id)
        classes = with_hotkeys(projects.classes(tx, project.id))
        open_flags = flags.count_open(tx, project.id) if permits(who, Permission.REVIEW, project.id) else 0
    return {
        "user": user,
        "project": project,
        "classes": classes,
        "open_flags": open_flags,
        "page": _for_scripts(project, user, classes),
    }


def _for_scripts(project: Project, user: User, classes: list[ClassView]) -> dict[str, Any]:
    return {
        "project": project.id,
        "user": user.id,
        "lease_seconds": project.settings.lease_seconds,
        "suggestions": project.settings.suggestions,
        "classes": [one.model_dump() for one in classes],
    }
