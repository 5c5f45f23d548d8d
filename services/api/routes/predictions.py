"""Asking the model in use about pictures, and fetching what it says.

The scorer does it, as a job that goes before others. A request waits for its end by looking at the job's row now and
then: between two looks it holds neither a thread nor a connection to the database.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Annotated, Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from services.api.auth import Reader
from services.api.parts import BIGGEST_ID, JobPath, ProjectPath, SystemPart
from services.api.problems import errors
from services.api.schemas.predictions import PredictionsOut, UnderWayOut
from shared.domain import Job, JobId, JobState, ProjectId
from shared.intake.asking import MAX_PICTURES, Question, job_of, result_of
from shared.intake.gate import FILES_BODY, Gate, boundary, pieces
from shared.intake.multipart import read_parts
from shared.predicting import Answer, Result
from shared.predicting import Request as Asked
from shared.system import System
from shared.web import streams_body

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["predictions"])
RECEIVING, THREADS = 4, 4
"""See ``Gate``."""
FIRST_LOOK_S, LONGEST_LOOK_S = 0.05, 0.5
"""How long until the job's row is looked at for the first time, and between two looks at the most."""

ImageIdsQuery = Annotated[
    list[Annotated[int, Query(ge=1, le=BIGGEST_ID)]],
    Query(alias="image_id", max_length=MAX_PICTURES, description="Images of the project, by id; may be repeated."),
]
WaitQuery = Annotated[
    float, Query(ge=0, le=60, description="How many seconds to wait for the results before answering 202.")
]
_UNDER_WAY: dict[int | str, dict[str, Any]] = {
    202: {"model": UnderWayOut, "description": "Not predicted yet: fetch the results at `Location`."}
}
_OPTIONAL_BODY = {"requestBody": {**FILES_BODY["requestBody"], "required": False}}


@router.post(
    "/predict",
    summary="Ask the model about pictures",
    response_model=PredictionsOut,
    responses=errors(404, 408, 409, 415) | _UNDER_WAY,
    openapi_extra=_OPTIONAL_BODY,
)
async def predict_pictures(
    project_id: ProjectPath,
    request: Request,
    caller: Reader,
    system: SystemPart,
    image_id: ImageIdsQuery = [],  # noqa: B006 - FastAPI copies it
    wait_s: WaitQuery = 10.0,
) -> PredictionsOut | JSONResponse:
    """What the promoted model, or where none is promoted the newest one, says of up to 100 pictures: files, as parts of
    a multipart/form-data body whatever their field names, and images of the project.

    Each has its own result; one that can't be read never fails the others. Files have the limits of an upload, and are
    deleted once they are predicted: they don't join the project. Answers 202 if it takes longer than `wait_s`, with the
    place of the results in `Location`, and 409 while the project has no model.
    """
    streams_body(request)
    gate: Gate = request.app.state.predict_gate
    brings_files = "content-type" in request.headers or not image_id
    between = boundary(request) if brings_files else None
    question = await to_thread.run_sync(_question, request, system, ProjectId(project_id), image_id)
    try:
        if between is not None:
            await _receive(request, between, question, gate)
        asked, job = await to_thread.run_sync(question.ask)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(question.forget)
        raise
    if job is None:
        nothing = Result(classes=[], answers=[Answer(error=item.error) for item in asked.items])
        return PredictionsOut.whole(asked, nothing, None)
    job = await _ended(request, system, job, wait_s, gate)
    return await to_thread.run_sync(_answer, system, job)


@router.get(
    "/predictions/{job_id}",
    summary="Fetch predictions",
    response_model=PredictionsOut,
    responses=errors(404, 409) | _UNDER_WAY,
)
def get_predictions(
    project_id: ProjectPath, job_id: JobPath, caller: Reader, system: SystemPart
) -> PredictionsOut | JSONResponse:
    """What the model says of the pictures of an earlier request. Kept for a day. Answers 409 if it failed for good."""
    return _answer(system, job_of(system, ProjectId(project_id), JobId(job_id)))


def _question(request: Request, system: System, project_id: ProjectId, image_ids: list[int]) -> Question:
    return Question(system, project_id, image_ids, max_pixels=request.app.state.settings.max_pixels)


async def _receive(request: Request, between: bytes, question: Question, gate: Gate) -> None:
    """Take in the files of a request as they arrive. Raises ``Invalid`` for a malformed body."""
    limit = request.app.state.settings.max_file_bytes
    await gate.enter()
    try:
        async with aclosing(pieces(request, gate)) as body:
            async for parts in read_parts(body, between, max_file_bytes=limit):
                await to_thread.run_sync(question.take, parts, limiter=gate.threads)
    finally:
        gate.leave()


async def _ended(request: Request, system: System, job: Job, wait_s: float, gate: Gate) -> Job:
    """The job when it has ended; as it stands when the time is over, the caller has gone or the service is to end."""
    deadline = time.monotonic() + wait_s
    pause = FIRST_LOOK_S
    while job.state in (JobState.QUEUED, JobState.RUNNING):
        left = deadline - time.monotonic()
        if left <= 0 or gate.closed or await request.is_disconnected():
            break
        await anyio.sleep(min(pause, left))
        pause = min(1.5 * pause, LONGEST_LOOK_S)
        job = await to_thread.run_sync(job_of, system, job.project_id, job.id)
    return job


def _answer(system: System, job: Job) -> PredictionsOut | JSONResponse:
    result = result_of(system, job)
    if result is not None:
        return PredictionsOut.whole(Asked.of(job), result, job)
    place = f"/v1/projects/{job.project_id}/predictions/{job.id}"
    operation = f"/v1/operations/predict-{job.id}"
    body = UnderWayOut(job_id=job.id, operation=operation, state=job.state, detail=f"not predicted yet: ask {place}")
    return JSONResponse(body.model_dump(mode="json"), 202, {"Retry-After": "1", "Location": place})
