"""The audit log: of everything, and to take along."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from services.api.auth import Auditor, Operator
from services.api.parts import CursorQuery, LimitQuery, Moment, ProjectPath, SystemPart, decode_cursor, encode_cursor
from services.api.problems import errors
from services.api.schemas.progress import EventOut, EventPage
from shared import auditing
from shared.auditing import MEDIA_TYPES, AuditForm
from shared.db import events, projects
from shared.db.events import Wanted
from shared.domain import ProjectId

router = APIRouter(prefix="/v1", tags=["progress"])
FormQuery = Annotated[AuditForm, Query(alias="format", description="A line of JSON for each event, or a row of CSV.")]
ActorQuery = Annotated[str | None, Query(max_length=100, description="Only what this one did.", examples=["user:3"])]
SinceQuery = Annotated[Moment | None, Query(description="Only what happened from then on.")]
UntilQuery = Annotated[Moment | None, Query(description="Only what happened before then.")]
_SCHEMA = {"schema": {"type": "string"}}
_LOG: dict[int | str, dict[str, Any]] = {
    200: {"description": "The log.", "content": {"application/x-ndjson": _SCHEMA, "text/csv": _SCHEMA}}
}


@router.get("/events", summary="Who did what, anywhere", responses=errors())
def list_all_events(
    caller: Operator,
    system: SystemPart,
    actor: ActorQuery = None,
    since: SinceQuery = None,
    until: UntilQuery = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> EventPage:
    """The audit log of the whole system, the newest first, for a key to manage that is not limited to a project."""
    before = decode_cursor(cursor)
    with system.database.transaction() as tx:
        place = {} if before is None else {"before": before}
        found = events.search(tx, Wanted(actor=actor, since=since, until=until), limit=limit + 1, **place)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return EventPage(items=[EventOut.of(event) for event in found[:limit]], next_cursor=more)


@router.get(
    "/events/export", summary="The whole log as a file", response_class=StreamingResponse, responses=errors() | _LOG
)
def export_all_events(
    caller: Operator,
    system: SystemPart,
    form: FormQuery = AuditForm.JSONL,
    since: SinceQuery = None,
    until: UntilQuery = None,
) -> StreamingResponse:
    """All of it, or of some time, the newest first."""
    return _file(system, Wanted(since=since, until=until), form, "events")


@router.get(
    "/projects/{project_id}/events/export",
    summary="The project's log as a file",
    response_class=StreamingResponse,
    responses=errors(404) | _LOG,
)
def export_events(
    project_id: ProjectPath,
    caller: Auditor,
    system: SystemPart,
    form: FormQuery = AuditForm.JSONL,
    since: SinceQuery = None,
    until: UntilQuery = None,
) -> StreamingResponse:
    """Who did what in this project, the newest first."""
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
    wanted = Wanted(project_id=project.id, since=since, until=until)
    return _file(system, wanted, form, f"project-{project.id}-events")


def _file(system: SystemPart, wanted: Wanted, form: AuditForm, name: str) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}.{form.value}"'}
    body = auditing.lines(system.database, wanted, form)
    return StreamingResponse(body, media_type=MEDIA_TYPES[form], headers=headers)
