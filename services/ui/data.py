"""What goes into a project and what comes out: uploads, what imports brought, exports, versions of the labels."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from services.ui import exports
from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import Exports, Manages, Uploads
from services.ui.sentences import names_in
from shared.db import events, imports, projects, rounds
from shared.db.imports import PATIENCE_S, Import, ImportId
from shared.domain import ProjectId, ProjectState, Split
from shared.errors import Conflict, WinnowError
from shared.exporting import Exporter
from shared.imaging import FORMATS
from shared.intake.ingest import FileStatus, Intake
from shared.intake.receiving import Sender, destination
from shared.web import Problem, problem_from

router = APIRouter(include_in_schema=False)
ImportPath = Annotated[int, Path(alias="import_id", ge=1, le=2**63 - 1)]
_MOST_ANNOUNCED = 10_000_000
Form = Literal["csv", "zip"]


class Announced(BaseModel):
    """A series of uploads that is about to come."""

    expected: int = Field(ge=1, le=_MOST_ANNOUNCED)
    split: Split = Split.POOL


class Begun(BaseModel):
    import_id: int


class FileOutcome(BaseModel):
    filename: str
    status: FileStatus
    reason: str | None
    image_id: int | None


class Outcome(BaseModel):
    """What became of each file of an upload, in order."""

    results: list[FileOutcome]


@router.get("/projects/{project_id}/data")
def data_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Manages) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        classes = projects.classes(tx, project.id)
        brought = imports.page(tx, project.id)
        names = names_in(tx, [], {one.actor for one in brought})
        curve = rounds.curve(tx, project.id)
        prepared = exports.shown(tx, project.id)
        checkpoints = {point.checkpoint_id: rounds.checkpoint(tx, point.checkpoint_id) for point in curve[-20:]}
    now = parts.standings.get(project.id).overview
    context = {
        "user": user,
        "project": project,
        "classes": classes,
        "draft": project.state is ProjectState.DRAFT,
        "images": now.images,
        "labels": now.labels,
        "imports": [(one, names.actor(one.actor), _standing(one)) for one in brought],
        "versions": [(point, checkpoints[point.checkpoint_id]) for point in reversed(curve[-20:])],
        "exports": prepared,
        "formats": FORMATS,
        "max_file_bytes": parts.settings.max_file_bytes,
        "page": {"project": project.id, "classes": [one.name for one in classes]},
    }
    return parts.templates.TemplateResponse(request, "data.html", context)


@router.post("/projects/{project_id}/data/imports", status_code=201)
def announce(project_id: ProjectPath, series: Announced, parts: PartsOf, user: Uploads) -> Begun:
    """An upload of many files begins: from here on it is on record, however it ends."""
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        begun = imports.announce(tx, project.id, f"user:{user.id}", series.split, series.expected)
        data = {"import": begun.id, "expected": series.expected, "split": series.split.value}
        events.record(tx, project.id, f"user:{user.id}", "import.announced", data)
    return Begun(import_id=begun.id)


@router.post("/projects/{project_id}/data/imports/{import_id}/end", status_code=204)
def end(project_id: ProjectPath, import_id: ImportPath, parts: PartsOf, user: Uploads) -> None:
    """All of it has come."""
    with parts.system.database.transaction() as tx:
        actor = f"user:{user.id}"
        done = imports.end(tx, ProjectId(project_id), actor, ImportId(import_id))
        counts = {"stored": done.stored, "duplicate": done.duplicates, "rejected": done.rejected}
        events.record(tx, done.project_id, actor, "images.uploaded", {"split": done.split.value, **counts})
    parts.standings.forget(ProjectId(project_id))


@router.post("/projects/{project_id}/data/upload")
async def upload(
    project_id: ProjectPath,
    request: Request,
    parts: PartsOf,
    user: Uploads,
    split: Split = Split.POOL,
    class_name: Annotated[str | None, Query(alias="class", max_length=200)] = None,
    part_of: Annotated[int | None, Query(alias="import", ge=1, le=2**63 - 1)] = None,
) -> Response:
    """Files of a form; scripts get what became of each, a form without a script the page of its import."""
    actor = f"user:{user.id}"
    to = await to_thread.run_sync(destination, parts.system, ProjectId(project_id), split, class_name)
    sender = Sender(actor=actor, part_of=await to_thread.run_sync(_under_way, parts, to.project_id, actor, part_of))
    intake = Intake()
    try:
        await parts.receiver.receive(request, to, sender, intake)
    except Problem as problem:
        problem.members |= _outcome(intake).model_dump(mode="json")
        raise
    except WinnowError as error:
        raise problem_from(error, **_outcome(intake).model_dump(mode="json")) from error
    parts.standings.forget(to.project_id)
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(await to_thread.run_sync(_newest_import, parts, to.project_id), 303)
    return Response(_outcome(intake).model_dump_json(), media_type="application/json")


@router.get("/projects/{project_id}/data/imports/{import_id}")
def import_page(
    request: Request, project_id: ProjectPath, import_id: ImportPath, parts: PartsOf, user: Manages
) -> Response:
    """What one import brought, and each file that was refused with its reason."""
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        one = imports.get(tx, project.id, ImportId(import_id))
        names = names_in(tx, [], [one.actor])
    context = {
        "user": user,
        "project": project,
        "one": one,
        "who": names.actor(one.actor),
        "standing": _standing(one),
        "draft": project.state is ProjectState.DRAFT,
    }
    return parts.templates.TemplateResponse(request, "import.html", context)


@router.get("/projects/{project_id}/data/export.{form}")
def export(project_id: ProjectPath, form: Form, parts: PartsOf, user: Exports) -> Response:
    """Every image with its label and where it comes from; as a ZIP with the labelled images by class."""
    exporter, project = Exporter(parts.system.database, parts.system.store), ProjectId(project_id)
    body: Iterator[bytes] = exporter.csv(project) if form == "csv" else exporter.zip(project)
    with parts.system.database.transaction() as tx:
        events.record(tx, project, f"user:{user.id}", "data.exported", {"form": form})
    headers = {"Content-Disposition": f'attachment; filename="project-{project_id}.{form}"'}
    media_type = "text/csv; charset=utf-8" if form == "csv" else "application/zip"
    return StreamingResponse(body, media_type=media_type, headers=headers)


def _under_way(parts: Parts, project: ProjectId, actor: str, part_of: int | None) -> ImportId | None:
    """Raises ``NotFound``, ``Conflict`` for an import that is somebody else's or has ended."""
    if part_of is None:
        return None
    with parts.system.database.transaction() as tx:
        one = imports.get(tx, project, ImportId(part_of))
    if one.actor != actor or one.ended_at is not None:
        raise Conflict(f"import {part_of} is not yours, or has ended")
    return one.id


def _newest_import(parts: Parts, project: ProjectId) -> str:
    with parts.system.database.transaction() as tx:
        (newest,) = imports.page(tx, project, limit=1)
    return f"/projects/{project}/data/imports/{newest.id}"


def _outcome(intake: Intake) -> Outcome:
    results: list[Any] = intake.results
    return Outcome(results=[FileOutcome.model_validate(one, from_attributes=True) for one in results])


def _standing(one: Import) -> str:
    """``done``, ``under_way``, or ``broken_off``: it was announced and went silent."""
    if one.ended_at is not None:
        return "done"
    quiet = (datetime.now(UTC) - one.heard_at).total_seconds() > PATIENCE_S
    if not quiet:
        return "under_way"
    return "broken_off" if one.expected is not None and one.files < one.expected else "done"
