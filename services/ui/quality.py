"""The page that shows how good people are, for reviewers and managers; what may be done about it, for managers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import RedirectResponse, Response

from services.ui import gold
from services.ui.parts import PartsOf, ProjectPath
from services.ui.permits import Manages, Watches
from services.ui.views import BIGGEST_ID
from shared import consensus, trust
from shared.db import adjudication, events, members, projects
from shared.domain import ProjectId, UserId
from shared.measuring import measure

router = APIRouter(include_in_schema=False)
PersonPath = Annotated[int, Path(alias="user_id", ge=1, le=BIGGEST_ID)]


@router.get("/projects/{project_id}/quality")
def quality_page(
    request: Request,
    project_id: ProjectPath,
    parts: PartsOf,
    user: Watches,
    after: Annotated[int, Query(ge=0, le=BIGGEST_ID)] = 0,
) -> Response:
    """``after``: the image behind which the list of known answers goes on."""
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        found = measure(tx, project.id)
        waiting = adjudication.waiting(tx, project.id)
        known = gold.shown(tx, project, found.gold_images, after=after)
    context = {"user": user, "project": project, "found": found, "waiting": waiting, "known": known, "after": after}
    return parts.templates.TemplateResponse(request, "quality.html", context)


@router.post("/projects/{project_id}/quality/consensus")
def renew(project_id: ProjectPath, parts: PartsOf, user: Manages) -> Response:
    """Weigh all overlapping answers anew."""
    with parts.system.ledger.transaction() as tx:
        consensus.renew(tx, ProjectId(project_id), actor=f"user:{user.id}")
    return _back(project_id)


@router.post("/projects/{project_id}/quality/people/{user_id}/pause")
def pause(
    project_id: ProjectPath,
    user_id: PersonPath,
    parts: PartsOf,
    user: Manages,
    reason: Annotated[str, Form(min_length=1, max_length=200)] = "a manager doubts the answers",
) -> Response:
    """Ask nothing more of somebody, and ask others what they said."""
    with parts.system.ledger.transaction() as tx:
        projects.lock(tx, ProjectId(project_id))
        trust.pause(tx, ProjectId(project_id), UserId(user_id), reason, actor=f"user:{user.id}")
    return _back(project_id)


@router.post("/projects/{project_id}/quality/people/{user_id}/resume")
def resume(project_id: ProjectPath, user_id: PersonPath, parts: PartsOf, user: Manages) -> Response:
    """Ask somebody again; what they answered before no longer counts against them."""
    with parts.system.ledger.transaction() as tx:
        members.resume(tx, ProjectId(project_id), UserId(user_id))
        events.record(tx, ProjectId(project_id), f"user:{user.id}", "member.resumed", {"user": user_id})
    return _back(project_id)


def _back(project_id: int) -> Response:
    return RedirectResponse(f"/projects/{project_id}/quality", 303)
