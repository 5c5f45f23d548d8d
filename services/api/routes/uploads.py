"""Uploading images: an endpoint that reads its body as it arrives."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated

import anyio
from anyio import to_thread
from fastapi import APIRouter, Query, Request

from services.api.auth import Caller, Ingester
from services.api.ingest import Destination, FileStatus, Ingest, Intake
from services.api.multipart import read_parts
from services.api.parts import IngestPart, ProjectPath, SystemPart
from services.api.problems import errors
from services.api.receiving import FILES_BODY, Gate, boundary, pieces
from services.api.routes.labels import nudge
from services.api.schemas.images import UploadOut
from shared.db import events, projects
from shared.domain import ClassId, ProjectId, Split
from shared.errors import Invalid, WinnowError
from shared.system import System
from shared.telemetry import logger
from shared.web import Problem, problem_from, streams_body

log = logger(__name__)
router = APIRouter(prefix="/v1/projects/{project_id}/images", tags=["images"])
MAX_FILES = 10_000
"""Of one request: their results are held until its end."""
RECEIVING, THREADS = 16, 8
"""See ``Gate``."""

SplitQuery = Annotated[
    Split, Query(description="`pool`: may be asked and trained on. `holdout`: only measures the model.")
]
ClassQuery = Annotated[
    str | None, Query(alias="class", max_length=200, description="A class: all files of this request are labelled so.")
]


@router.post("", summary="Upload images", responses=errors(404, 408, 415), openapi_extra=FILES_BODY)
async def upload_images(
    project_id: ProjectPath,
    request: Request,
    caller: Ingester,
    system: SystemPart,
    ingest: IngestPart,
    split: SplitQuery = Split.POOL,
    class_name: ClassQuery = None,
) -> UploadOut:
    """Any number of files (10,000 at most) as parts of a multipart/form-data body, whatever their field names.

    Each file has its own result, in the order sent: `stored`, `duplicate` (the project has these bytes already) or
    `rejected` with a reason. A rejected file never stops the others. If the request breaks off (a malformed body, a
    store that can't be reached), the problem has the `results` until then, and what they call stored is stored: send
    the same request again, and those files are duplicates.

    Formats: JPEG, PNG, WebP, GIF (first frame), BMP, TIFF; what counts is the content and not the extension.
    """
    streams_body(request)
    gate: Gate = request.app.state.gate
    between = boundary(request)
    to = await to_thread.run_sync(_destination, system, ProjectId(project_id), split, class_name)
    intake = Intake()
    await gate.enter()
    try:
        await _receive(request, between, ingest, to, intake, gate)
    except Problem as problem:
        problem.members |= _answer(intake).model_dump(mode="json")
        raise
    except WinnowError as error:
        raise problem_from(error, **_answer(intake).model_dump(mode="json")) from error
    finally:
        gate.leave()
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(_conclude, system, to, caller, intake)
    return _answer(intake)


async def _receive(
    request: Request, between: bytes, ingest: Ingest, to: Destination, intake: Intake, gate: Gate
) -> None:
    """Take in the files of a request as they arrive. Raises ``Invalid`` for a malformed body or one without files."""
    limit = request.app.state.settings.max_file_bytes
    async with aclosing(pieces(request, gate)) as body:
        async for parts in read_parts(body, between, max_file_bytes=limit):
            if len(intake.results) + len(parts) > MAX_FILES:
                raise Invalid(f"a request may bring {MAX_FILES:,} files at most; those after these were not read")
            await to_thread.run_sync(ingest.take, to, parts, intake, limiter=gate.threads)
    if not intake.results:
        raise Invalid("there is no file in this request")


def _destination(system: System, project_id: ProjectId, split: Split, class_name: str | None) -> Destination:
    """Raises ``NotFound``, ``Invalid`` for a class that isn't the project's."""
    with system.database.transaction() as tx:
        project = projects.get(tx, project_id)
        classes = {c.name: c.id for c in projects.classes(tx, project.id)}
    if class_name is not None and class_name not in classes:
        raise Invalid(f"the project has no class '{class_name}'")
    class_id: ClassId | None = None if class_name is None else classes[class_name]
    return Destination(project_id=project_id, split=split, class_id=class_id)


def _conclude(system: System, to: Destination, caller: Caller, intake: Intake) -> None:
    """Note who brought what, however the request ended."""
    counts = {status.value: intake.count(status) for status in FileStatus}
    labelled = to.class_id is not None and len(intake.results) > counts[FileStatus.REJECTED]
    if not counts[FileStatus.STORED] and not labelled:
        return
    data = {"split": to.split.value, **counts} | ({"class_id": to.class_id} if labelled else {})
    try:
        with system.database.transaction() as tx:
            events.record(tx, to.project_id, caller.actor, "images.uploaded", data)
    except WinnowError as error:  # the images are there, and the caller must hear of them
        log.error("upload.unaudited", project_id=to.project_id, error=str(error), **data)
    if labelled:
        nudge(system, to.project_id)


def _answer(intake: Intake) -> UploadOut:
    return UploadOut.of_files(intake.results)
