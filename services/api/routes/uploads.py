"""Uploading images: an endpoint that reads its body as it arrives."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request

from services.api.auth import Ingester
from services.api.parts import ProjectPath, ReceiverPart, SystemPart
from services.api.problems import errors
from services.api.schemas.images import UploadOut
from shared.domain import ProjectId, Split
from shared.errors import WinnowError
from shared.intake.gate import FILES_BODY
from shared.intake.ingest import Intake
from shared.intake.receiving import Sender, destination
from shared.web import Problem, problem_from

router = APIRouter(prefix="/v1/projects/{project_id}/images", tags=["images"])

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
    receiver: ReceiverPart,
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
    to = await to_thread.run_sync(destination, system, ProjectId(project_id), split, class_name)
    intake = Intake()
    try:
        await receiver.receive(request, to, Sender(actor=caller.actor), intake)
    except Problem as problem:
        problem.members |= _answer(intake).model_dump(mode="json")
        raise
    except WinnowError as error:
        raise problem_from(error, **_answer(intake).model_dump(mode="json")) from error
    return _answer(intake)


def _answer(intake: Intake) -> UploadOut:
    return UploadOut.of_files(intake.results)
