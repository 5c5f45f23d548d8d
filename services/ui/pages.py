"""The pages: projects, one project. Where people label is in ``services.ui.workplace``."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from services.ui import sample
from services.ui.parts import PartsOf, ProjectPath
from services.ui.permits import Sees
from services.ui.sessions import SignedInAs
from services.ui.state import project_state
from shared.access import Permission, permits, reach
from shared.db import flags, projects
from shared.domain import ProjectId

router = APIRouter(include_in_schema=False)
_PAGE = 50


@router.get("/")
def projects_page(request: Request, parts: PartsOf, who: SignedInAs, after: int = 0) -> Response:
    with parts.system.database.transaction() as tx:
        found = projects.page(tx, after=after, limit=_PAGE + 1, only=reach(who, Permission.SEE))
    states = [project_state(parts.standings.get(project.id)) for project in found[:_PAGE]]
    more = found[_PAGE - 1].id if len(found) > _PAGE else None
    context = {"user": who.user, "here": "projects", "states": states, "more": more, "sample": sample.available()}
    return parts.templates.TemplateResponse(request, "projects.html", context)


@router.get("/projects/{project_id}")
def project_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Sees, who: SignedInAs) -> Response:
    """Who may only label is led to where they do."""
    if not permits(who, Permission.WATCH, ProjectId(project_id)):
        return RedirectResponse(f"/projects/{project_id}/label", 303)
    state = project_state(parts.standings.get(ProjectId(project_id)))
    with parts.system.database.one_by_one() as tx:
        open_flags = flags.count_open(tx, ProjectId(project_id))
    context = {"user": user, "state": state, "open_flags": open_flags, "state_json": state.model_dump(mode="json")}
    return parts.templates.TemplateResponse(request, "project.html", context)
