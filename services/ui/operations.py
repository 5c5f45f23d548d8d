"""The system page: whether its parts can be reached, queues, jobs under way, jobs that failed for good, workers."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from services.ui.parts import Parts, PartsOf
from services.ui.permits import Operates
from services.ui.words import _, ngettext
from shared.db import events, gauges, jobs, projects
from shared.db.migrate import migrations, require_schema
from shared.domain import Job, JobId, JobKind, JobState, User
from shared.errors import Conflict, Invalid, WinnowError

router = APIRouter(include_in_schema=False)
JobPath = Annotated[int, Path(alias="job_id", ge=1, le=2**63 - 1)]
SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the system, what it is, and what is wrong with it, if anything."""

    name: str
    kind: str
    trouble: str | None


@dataclass(frozen=True, kw_only=True)
class Queue:
    kind: JobKind
    queued: int
    running: int
    dead: int
    oldest_s: float
    """How long the oldest due job has waited."""


@router.get("/system")
def system_page(request: Request, parts: PartsOf, user: Operates) -> Response:
    with parts.system.database.transaction() as tx:
        reading = gauges.read(tx)
        running = jobs.newest(tx, state=JobState.RUNNING, limit=SHOWN)
        dead = jobs.newest(tx, state=JobState.DEAD, limit=SHOWN)
        seen = jobs.workers(tx)
        postgres, schema = jobs.server_version(tx)
        names = projects.names(tx, {job.project_id for job in (*running, *dead)})
    queues = [
        Queue(
            kind=kind,
            queued=reading.jobs.get((kind.value, "queued"), 0),
            running=reading.jobs.get((kind.value, "running"), 0),
            dead=reading.jobs.get((kind.value, "dead"), 0),
            oldest_s=reading.oldest_due_s.get(kind.value, 0.0),
        )
        for kind in JobKind
    ]
    said = request.query_params.get("requeued", "")
    context = {
        "user": user,
        "here": "system",
        "parts": _checked(parts),
        "queues": queues,
        "running": running,
        "dead": dead,
        "dead_in_all": sum(queue.dead for queue in queues),
        "workers": seen,
        "names": names,
        "versions": _versions(postgres, schema),
        "backup_at": reading.backup_at,
        "done": _said(int(said)) if said.isascii() and said.isdecimal() and len(said) < 9 else None,
    }
    return parts.templates.TemplateResponse(request, "system.html", context)


@router.post("/system/jobs/{job_id}/retry")
def retry(job_id: JobPath, parts: PartsOf, user: Operates) -> Response:
    """Give a job that failed for good another life. Raises ``Conflict`` for one that isn't dead any more."""
    with parts.system.database.transaction() as tx:
        jobs.get(tx, JobId(job_id))
    requeued = parts.system.ledger.requeue(job_id=JobId(job_id))
    if not requeued:
        raise Conflict(_("job %s is not dead: somebody has tried it again already") % job_id)
    return _requeued(parts, user, requeued)


@router.post("/system/jobs/retry")
def retry_all(parts: PartsOf, user: Operates) -> Response:
    """The same for all of them."""
    return _requeued(parts, user, parts.system.ledger.requeue())


@router.post("/system/jobs/{job_id}/cancel")
def cancel(job_id: JobPath, parts: PartsOf, user: Operates, confirmed: Annotated[bool, Form()] = False) -> Response:
    """End a job that waits or runs. It counts as dead, so that it can be tried again; a map is simply not drawn."""
    if not confirmed:
        raise Invalid(_("say that you mean it: the box beside the button"))
    with parts.system.ledger.transaction() as tx:
        job = jobs.get(tx, JobId(job_id))
        parts.system.ledger.cancel(tx, job.id, job.project_id, f"user:{user.id}")
        data = {"job": job.id, "kind": job.kind.value}
        events.record(tx, job.project_id, f"user:{user.id}", "job.cancelled", data)
    parts.standings.forget(job.project_id)
    return RedirectResponse("/system", 303)


def _requeued(parts: Parts, user: User, requeued: Sequence[Job]) -> Response:
    with parts.system.database.transaction() as tx:
        for project in sorted({job.project_id for job in requeued}):
            ids = [job.id for job in requeued if job.project_id == project]
            events.record(tx, project, f"user:{user.id}", "jobs.requeued", {"jobs": ids})
            parts.standings.forget(project)
    return RedirectResponse(f"/system?requeued={len(requeued)}", 303)


def _said(count: int) -> str:
    return ngettext("%d job is tried again.", "%d jobs are tried again.", count) % count


def _checked(parts: Parts) -> list[Part]:
    """What can't be reached has its trouble; addresses and secrets are for the log."""
    system = parts.system

    def schema() -> None:
        with system.database.transaction() as tx:
            require_schema(tx)

    checks: Sequence[tuple[str, str, Callable[[], None]]] = (
        (_("Database"), "Postgres", schema),
        (_("Message bus"), _kind(system.bus), system.bus.check),
        (_("Object store"), _kind(system.store), system.store.check),
    )
    return [Part(name=name, kind=kind, trouble=_trouble(check)) for name, kind, check in checks]


def _kind(part: object) -> str:
    name = type(part).__name__
    return {"LocalBus": "Postgres", "AmqpBus": "RabbitMQ", "DiskStore": _("a folder"), "S3Store": "S3"}.get(name, name)


def _trouble(check: Callable[[], None]) -> str | None:
    try:
        check()
    except WinnowError as error:
        return str(error)
    return None


def _versions(postgres: str, schema: int) -> list[tuple[str, str]]:
    known = migrations()[-1].number
    told = str(schema) if schema == known else _("%s; this code knows %s") % (schema, known)
    return [
        ("Winnow", version("winnow")),
        (_("Schema"), told),
        ("Python", platform.python_version()),
        ("PostgreSQL", postgres),
    ]
