"""Exports that are prepared while people go on with their work: asked for, watched, downloaded, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from services.ui.parts import BIGGEST_ID, PartsOf, ProjectPath
from services.ui.permits import Exports, Manages
from services.ui.sentences import names_in
from services.ui.words import _
from shared import downloads, exports
from shared.db import events, projects
from shared.db import exports as rows
from shared.db.exports import Export, ExportForm, ExportId, ExportState
from shared.db.pool import Tx
from shared.domain import ProjectId
from shared.errors import Invalid

router = APIRouter(include_in_schema=False)
ExportPath = Annotated[int, Path(alias="export_id", ge=1, le=BIGGEST_ID)]
SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class ExportView:
    """An export as the list shows it: ``who`` had it prepared."""

    one: Export
    who: str

    @property
    def under_way(self) -> bool:
        return self.one.state in (ExportState.QUEUED, ExportState.RUNNING)


def shown(tx: Tx, project_id: ProjectId) -> list[ExportView]:
    """Those that were not deleted, the newest first."""
    found: Sequence[Export] = rows.page(tx, project_id, limit=SHOWN, kept=True)
    names = names_in(tx, [], {one.actor for one in found})
    return [ExportView(one=one, who=names.actor(one.actor)) for one in found]


@router.get("/projects/{project_id}/data/exports")
def list_exports(request: Request, project_id: ProjectPath, parts: PartsOf, user: Exports) -> Response:
    """The list alone: what the page's script asks for while one is being prepared."""
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        context: dict[str, Any] = {"user": user, "project": project, "exports": shown(tx, project.id)}
    return parts.templates.TemplateResponse(request, "exports.html", context)


@router.post("/projects/{project_id}/data/exports")
def prepare(project_id: ProjectPath, parts: PartsOf, user: Exports, form: Annotated[ExportForm, Form()]) -> Response:
    with parts.system.ledger.transaction() as tx:
        exports.ask(tx, parts.system.ledger, ProjectId(project_id), form, f"user:{user.id}")
    return _back(project_id)


@router.get("/projects/{project_id}/data/exports/{export_id}/file")
def download(
    request: Request, project_id: ProjectPath, export_id: ExportPath, parts: PartsOf, user: Exports
) -> Response:
    """The file, or what is left of it to a browser whose download broke off."""
    with parts.system.database.transaction() as tx:
        one = exports.downloadable(tx, ProjectId(project_id), ExportId(export_id))
    answer = downloads.sent(request, parts.system.store, one)
    if downloads.begins(request):
        with parts.system.database.transaction() as tx:
            events.record(tx, one.project_id, f"user:{user.id}", "export.downloaded", {"export": one.id})
    return answer


@router.post("/projects/{project_id}/data/exports/{export_id}/delete")
def delete(
    project_id: ProjectPath,
    export_id: ExportPath,
    parts: PartsOf,
    user: Manages,
    confirmed: Annotated[bool, Form()] = False,
) -> Response:
    """One that is not made yet is given up without a question: nothing is lost by that."""
    with parts.system.ledger.transaction() as tx:
        one = exports.offered(tx, ProjectId(project_id), ExportId(export_id))
        if one.state is ExportState.READY and not confirmed:
            raise Invalid(_("say that you mean it: the box beside the button"))
        exports.delete(tx, parts.system.ledger, one.project_id, one.id, f"user:{user.id}")
    return _back(project_id)


def _back(project_id: int) -> Response:
    return RedirectResponse(f"/projects/{project_id}/data#exports", 303)
