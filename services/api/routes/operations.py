"""Work that goes on after its request was answered with 202: one place to ask how it goes, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from services.api.auth import AnyReader
from services.api.parts import BIGGEST_ID, SystemPart
from services.api.problems import errors
from services.api.schemas.operations import OperationKind, OperationOut, OperationState
from shared.access import Permission
from shared.db import batches, exports, jobs
from shared.db.exports import ExportId, ExportState
from shared.db.pool import Tx
from shared.domain import Batch, BatchId, BatchState, Job, JobId, JobKind, JobState
from shared.errors import NotFound

router = APIRouter(prefix="/v1/operations", tags=["operations"])
OperationPath = Annotated[
    str,
    Path(
        pattern=r"^(predict|fill|cancel|export)-[1-9]\d{0,18}$",
        description="As the `Location` of the 202 names it.",
        examples=["cancel-7"],
    ),
]
_OF_JOB = {
    JobState.QUEUED: OperationState.RUNNING,
    JobState.RUNNING: OperationState.RUNNING,
    JobState.DONE: OperationState.DONE,
    JobState.DEAD: OperationState.FAILED,
    JobState.CANCELLED: OperationState.FAILED,
}


@router.get("/{operation_id}", summary="How work under way goes", responses=errors(404))
def get_operation(
    operation_id: OperationPath, response: Response, caller: AnyReader, system: SystemPart
) -> OperationOut:
    """`running` until it is `done` or has `failed`; ask again after `Retry-After` seconds while it runs."""
    kind, _, number = operation_id.partition("-")
    found = None
    if int(number) <= BIGGEST_ID:
        with system.database.transaction() as tx:
            found = _FINDERS[kind](tx, int(number))
    if found is None or not caller.permits(Permission.WATCH, found.project_id):
        raise NotFound(f"there is no operation {operation_id}")
    if found.state is OperationState.RUNNING:
        response.headers["Retry-After"] = "1"
    return found


def _prediction(tx: Tx, number: int) -> OperationOut | None:
    try:
        job = jobs.get(tx, JobId(number))
    except NotFound:
        return None
    if job.kind is not JobKind.PREDICT:
        return None
    place = f"/v1/projects/{job.project_id}/predictions/{job.id}"
    return _out("predict", job.id, OperationKind.PREDICTION, job.project_id, _OF_JOB[job.state], place, error=job.error)


def _export(tx: Tx, number: int) -> OperationOut | None:
    try:
        one = exports.get(tx, ExportId(number))
    except NotFound:
        return None
    place = f"/v1/projects/{one.project_id}/exports/{one.id}"
    held = one.contents
    if held is not None:
        result = {"images": held.images, "labels": held.labels, "bytes": held.bytes}
        return _out("export", one.id, OperationKind.EXPORT, one.project_id, OperationState.DONE, place, result=result)
    error = "it was deleted" if one.state is ExportState.DELETED else one.error
    ended = one.state in (ExportState.DELETED, ExportState.FAILED)
    state = OperationState.FAILED if ended else OperationState.RUNNING
    return _out("export", one.id, OperationKind.EXPORT, one.project_id, state, place, error=error)


def _batch(tx: Tx, number: int) -> Batch | None:
    try:
        return batches.get(tx, BatchId(number))
    except NotFound:
        return None


def _fill(tx: Tx, number: int) -> OperationOut | None:
    batch = _batch(tx, number)
    if batch is None or batch.fill_job is None:
        return None
    job: Job = jobs.get(tx, batch.fill_job)
    state = OperationState.DONE if batch.filled_at is not None else _OF_JOB[job.state]
    error = batch.error or job.error
    if batch.state is BatchState.FAILED:
        state = OperationState.FAILED
    counts = batches.counts(tx, batch.id)
    result = {"tasks": counts.live + counts.ended} if state is OperationState.DONE else None
    return _out(
        "fill", batch.id, OperationKind.FILL, batch.project_id, state, _place(batch), error=error, result=result
    )


def _cancellation(tx: Tx, number: int) -> OperationOut | None:
    batch = _batch(tx, number)
    if batch is None or batch.state not in (BatchState.CANCELLING, BatchState.CANCELLED):
        return None
    state = OperationState.DONE if batch.state is BatchState.CANCELLED else OperationState.RUNNING
    answered = batches.counts(tx, batch.id).answered
    result = {"answered": answered, "revoked": batch.revoked, "dropped": batch.dropped}
    return _out("cancel", batch.id, OperationKind.CANCELLATION, batch.project_id, state, _place(batch), result=result)


_FINDERS: Mapping[str, Callable[[Tx, int], OperationOut | None]] = {
    "predict": _prediction,
    "fill": _fill,
    "cancel": _cancellation,
    "export": _export,
}


def _place(batch: Batch) -> str:
    return f"/v1/projects/{batch.project_id}/batches/{batch.id}"


def _out(
    name: str,
    number: int,
    kind: OperationKind,
    project_id: int,
    state: OperationState,
    resource: str,
    *,
    error: str | None = None,
    result: dict[str, Any] | None = None,
) -> OperationOut:
    failed = error if state is OperationState.FAILED else None
    return OperationOut(
        id=f"{name}-{number}",
        kind=kind,
        project_id=project_id,
        state=state,
        resource=resource,
        result=result,
        error=failed,
    )
