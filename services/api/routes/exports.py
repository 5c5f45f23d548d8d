"""Taking everything out again: labels with their provenance, and the labelled images themselves.

At once, as a stream; or as an export that is made while nobody waits, and downloaded in as many pieces as it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse

from services.api.auth import Downloader, Manager
from services.api.parts import (
    BIGGEST_ID,
    CursorQuery,
    LimitQuery,
    ProjectPath,
    SystemPart,
    decode_cursor,
    encode_cursor,
)
from services.api.problems import errors, file_of
from services.api.schemas.exports import ExportOut, ExportPage, NewExport
from shared import downloads, exports
from shared.db import events, projects
from shared.db import exports as rows
from shared.db.exports import ExportId
from shared.domain import ProjectId
from shared.exporting import Exporter

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["exports"])
ExportPath = Annotated[int, Path(ge=1, le=BIGGEST_ID, description="The export's id.", examples=[3])]
_FILE_SCHEMA = {"schema": {"type": "string", "format": "binary"}}
_FILES = {media_type.partition(";")[0]: _FILE_SCHEMA for media_type in downloads.MEDIA_TYPES.values()}
_DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": _FILES},
    206: {"description": "The range of the file that was asked for.", "content": _FILES},
}


def _attachment(body: Iterator[bytes], media_type: str, name: str) -> StreamingResponse:
    return StreamingResponse(
        body, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@router.get(
    "/export.csv",
    summary="Export labels as CSV",
    response_class=StreamingResponse,
    responses=errors(404) | file_of("text/csv"),
)
def export_csv(project_id: ProjectPath, caller: Downloader, system: SystemPart) -> StreamingResponse:
    """A row for every image: its label with where it comes from, and the newest model's prediction."""
    body = Exporter(system.database, system.store).csv(ProjectId(project_id))
    return _attachment(body, "text/csv; charset=utf-8", f"project-{project_id}.csv")


@router.get(
    "/export.zip",
    summary="Export labelled images as a ZIP",
    response_class=StreamingResponse,
    responses=errors(404) | file_of("application/zip"),
)
def export_zip(project_id: ProjectPath, caller: Downloader, system: SystemPart) -> StreamingResponse:
    """Every labelled image as `<class>/<id>_<filename>`, as torchvision's ImageFolder reads it; `labels.csv`; and
    `models.json`, which lists every model with its metrics."""
    body = Exporter(system.database, system.store).zip(ProjectId(project_id))
    return _attachment(body, "application/zip", f"project-{project_id}.zip")


@router.post("/exports", status_code=202, summary="Prepare an export", responses=errors(404, 409))
def prepare_export(
    project_id: ProjectPath, body: NewExport, response: Response, caller: Downloader, system: SystemPart
) -> ExportOut:
    """The same as the streams, made while nobody waits: a file that can be downloaded once it is whole, in as many
    pieces as it takes, and is kept for a week unless the system is set otherwise.

    `Location` is the operation that says how it goes. Asked again before it was begun it is the same export; 409 while
    the project has 50 of them.
    """
    with system.ledger.transaction() as tx:
        asked = exports.ask(tx, system.ledger, ProjectId(project_id), body.format, caller.actor)
    response.headers["Location"] = f"/v1/operations/export-{asked.id}"
    return ExportOut.about(asked)


@router.get("/exports", summary="List exports", responses=errors(404))
def list_exports(
    project_id: ProjectPath,
    caller: Downloader,
    system: SystemPart,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> ExportPage:
    """The newest first. Those whose file was deleted stay on record, with what they held."""
    before = decode_cursor(cursor)
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        found = rows.page(tx, project.id, before=before, limit=limit + 1)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return ExportPage(items=[ExportOut.about(one) for one in found[:limit]], next_cursor=more)


@router.get("/exports/{export_id}", summary="Look at an export", responses=errors(404))
def get_export(project_id: ProjectPath, export_id: ExportPath, caller: Downloader, system: SystemPart) -> ExportOut:
    """How far it is, and once it is ready what it holds and where its file is. 404 once it is deleted: the list has it
    still."""
    with system.database.transaction() as tx:
        return ExportOut.about(exports.offered(tx, ProjectId(project_id), ExportId(export_id)))


@router.get(
    "/exports/{export_id}/file",
    summary="Download an export",
    response_class=StreamingResponse,
    responses=errors(404, 409, 416) | _DOWNLOAD,
)
def download_export(
    project_id: ProjectPath, export_id: ExportPath, request: Request, caller: Downloader, system: SystemPart
) -> StreamingResponse:
    """A download that broke off goes on with `Range: bytes=N-`, and `If-Range` with the `ETag` that came with the
    beginning. 409 while it is being prepared."""
    with system.database.transaction() as tx:
        one = exports.downloadable(tx, ProjectId(project_id), ExportId(export_id))
    answer = downloads.sent(request, system.store, one)
    if downloads.begins(request):
        with system.database.transaction() as tx:
            events.record(tx, one.project_id, caller.actor, "export.downloaded", {"export": one.id})
    return answer


@router.delete("/exports/{export_id}", status_code=204, summary="Delete an export", responses=errors(404))
def delete_export(project_id: ProjectPath, export_id: ExportPath, caller: Manager, system: SystemPart) -> None:
    """Its file can't be downloaded any more, and one that is not made yet never will be. What it held stays on
    record."""
    with system.ledger.transaction() as tx:
        exports.delete(tx, system.ledger, ProjectId(project_id), ExportId(export_id), caller.actor)
