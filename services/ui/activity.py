"""The audit log as a page and as a table to take along, of one project or of everything."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import Audits, AuditsSomewhere
from services.ui.sentences import KINDS, names_in, sentence
from services.ui.sessions import SignedInAs
from services.ui.words import _
from shared import auditing
from shared.access import Permission, Principal, permits, reach
from shared.auditing import MEDIA_TYPES, AuditForm, row
from shared.db import events, members, projects
from shared.db.events import Event, Wanted
from shared.db.pool import Tx
from shared.domain import Project, ProjectId, User
from shared.errors import Invalid

router = APIRouter(include_in_schema=False)
PAGE = 50
_BATCH = 1000
_NEWEST = 2**62
_FIELDS = ("actor", "kind", "since", "until")


@router.get("/activity")
def everything(request: Request, parts: PartsOf, user: AuditsSomewhere, who: SignedInAs) -> Response:
    return _page(request, parts, user, None, _reach(who))


@router.get("/projects/{project_id}/activity")
def of_project(request: Request, project_id: ProjectPath, parts: PartsOf, user: Audits, who: SignedInAs) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
    return _page(request, parts, user, project, None if permits(who, Permission.OPERATE) else frozenset({project.id}))


@router.get("/activity.csv")
def everything_as_csv(request: Request, parts: PartsOf, user: AuditsSomewhere, who: SignedInAs) -> Response:
    return _table(parts, _wanted(request.query_params, None, _reach(who)), "activity.csv")


@router.get("/projects/{project_id}/activity.csv")
def of_project_as_csv(request: Request, project_id: ProjectPath, parts: PartsOf, user: Audits) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
    return _table(parts, _wanted(request.query_params, project), f"project-{project.id}-activity.csv")


@router.get("/activity.jsonl")
def everything_as_lines(request: Request, parts: PartsOf, user: AuditsSomewhere, who: SignedInAs) -> Response:
    return _log(parts, _wanted(request.query_params, None, _reach(who)), "activity.jsonl")


@router.get("/projects/{project_id}/activity.jsonl")
def of_project_as_lines(request: Request, project_id: ProjectPath, parts: PartsOf, user: Audits) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
    return _log(parts, _wanted(request.query_params, project), f"project-{project.id}-activity.jsonl")


def _reach(who: Principal) -> frozenset[ProjectId] | None:
    """The projects whose log may be read; None: everything, that of the system, too."""
    return None if permits(who, Permission.OPERATE) else reach(who, Permission.AUDIT)


def _page(
    request: Request, parts: Parts, user: User, project: Project | None, within: frozenset[ProjectId] | None
) -> Response:
    given = request.query_params
    wanted = _wanted(given, project, within)
    before = given.get("before", "")
    place = int(before) if before.isascii() and before.isdecimal() and len(before) < 19 else _NEWEST
    with parts.system.database.transaction() as tx:
        found = events.search(tx, wanted, before=place, limit=PAGE + 1)
        known = _actors(tx, found, within)
        names = names_in(tx, found, known)
    chosen = {name: given[name] for name in _FIELDS if given.get(name)}
    older = {**chosen, "before": str(found[PAGE - 1].id)} if len(found) > PAGE else None
    context = {
        "user": user,
        "here": None if project else "activity",
        "project": project,
        "base": f"/projects/{project.id}/activity" if project else "/activity",
        "events": [(event, names.actor(event.actor), sentence(event, names)) for event in found[:PAGE]],
        "projects": names.projects,
        "actors": sorted(((actor, names.actor(actor)) for actor in known), key=lambda one: one[1].lower()),
        "kinds": KINDS,
        "chosen": defaultdict(str, chosen),
        "filtered": bool(chosen),
        "query": urlencode(chosen),
        "older": urlencode(older) if older else None,
        "newest": place != _NEWEST,
    }
    return parts.templates.TemplateResponse(request, "activity.html", context)


def _actors(tx: Tx, found: Sequence[Event], within: frozenset[ProjectId] | None) -> list[str]:
    """Whom one can choose: everybody who has done anything, or of some projects those who work there or are shown."""
    if within is None:
        return events.actors(tx)
    shown = {event.actor for event in found}
    return sorted(shown | {f"user:{one.user.id}" for project in within for one in members.of_project(tx, project)})


def _wanted(given: Mapping[str, str], project: Project | None, within: frozenset[ProjectId] | None = None) -> Wanted:
    """Raises ``Invalid``. Days are of UTC; the last one is included."""
    until = _day(given.get("until", ""))
    return Wanted(
        project_id=project.id if project else None,
        only=within,
        actor=given.get("actor") or None,
        kind=given.get("kind") or None,
        since=_day(given.get("since", "")),
        until=until + timedelta(days=1) if until else None,
    )


def _day(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Invalid(_("“%s” is not a day like 2026-03-31") % text[:100]) from None


def _table(parts: Parts, wanted: Wanted, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_lines(parts, wanted), media_type="text/csv; charset=utf-8", headers=headers)


def _log(parts: Parts, wanted: Wanted, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    body = auditing.lines(parts.system.database, wanted, AuditForm.JSONL)
    return StreamingResponse(body, media_type=MEDIA_TYPES[AuditForm.JSONL], headers=headers)


def _lines(parts: Parts, wanted: Wanted) -> Iterator[str]:
    """With the names of people and the sentences of the page, which the bare log has not."""
    yield row("event", "at", "project", "who", "what", "from", "kind", "data")
    found = auditing.read(parts.system.database, wanted)
    while batch := list(islice(found, _BATCH)):
        with parts.system.database.transaction() as tx:
            names = names_in(tx, batch)
        for event in batch:
            data = json.dumps(dict(event.data), ensure_ascii=False)
            who, what, where = names.actor(event.actor), sentence(event, names), event.address or ""
            at, project = event.at.isoformat(), str(event.project_id or "")
            yield row(str(event.id), at, project, who, what, where, event.kind, data)
