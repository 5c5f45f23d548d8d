"""Taking everything out again: labels with their provenance, and the labelled images themselves."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from services.api.auth import Downloader
from services.api.parts import ProjectPath, SystemPart
from services.api.problems import errors, file_of
from shared.domain import ProjectId
from shared.exporting import Exporter

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["exports"])


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
