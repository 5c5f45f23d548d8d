"""Rows of exports: files that a project's labels and images were written to. ``shared.exports`` uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import Job, JobId, JobState, ProjectId
from shared.errors import NotFound

_Q = queries("exports")
_NEWEST = 2**62
ExportId = NewType("ExportId", int)


class ExportForm(StrEnum):
    """What kind of file it is; see ``shared.exporting``."""

    CSV = "csv"
    ZIP = "zip"


class ExportState(StrEnum):
    """``failed``: for good. ``deleted``: its file is gone, by hand or because its time was over."""

    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


_OF_JOB = {JobState.QUEUED: ExportState.QUEUED, JobState.RUNNING: ExportState.RUNNING}


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a finished export holds, and where: ``key`` is the prefix of its pieces, ``bytes`` their sum.

    ``images``: rows of its table; ``labels``: how many of these have a label. ``sha256``: of the file, hexadecimal.
    """

    moment: datetime
    images: int
    labels: int
    key: str
    piece_bytes: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Export:
    """``progress``: 0 to 1. ``contents`` None: it is not finished; they are known also of one whose file is gone."""

    id: ExportId
    project_id: ProjectId
    job_id: JobId
    form: ExportForm
    actor: str
    state: ExportState
    progress: float
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None
    contents: Contents | None


def _export(row: Row) -> Export:
    contents = None
    if row["finished_at"] is not None:
        values = {name: row[name] for name in Contents.__dataclass_fields__}
        contents = Contents(**{**values, "sha256": bytes(row["sha256"]).hex()})
    state = _state(row)
    plain = ("id", "project_id", "job_id", "actor", "progress", "created_at", "finished_at", "expires_at")
    return Export(
        **{name: row[name] for name in plain},
        form=ExportForm(row["form"]),
        state=state,
        error=row["error"] if state is ExportState.FAILED else None,
        contents=contents,
    )


def _state(row: Row) -> ExportState:
    if row["retired_at"] is not None or row["over"]:
        return ExportState.DELETED
    if row["finished_at"] is not None:
        return ExportState.READY
    return _OF_JOB.get(JobState(row["job_state"]), ExportState.FAILED)


def add(tx: Tx, project_id: ProjectId, job_id: JobId, form: ExportForm, actor: str) -> Export:
    """The export that a job will make."""
    params = {"project_id": project_id, "job_id": job_id, "form": form.value, "actor": actor}
    row = tx.one(_Q["insert"], params)
    assert row is not None  # INSERT ... RETURNING
    return get(tx, row["id"])


def get(tx: Tx, export_id: ExportId, project_id: ProjectId | None = None) -> Export:
    """Raises ``NotFound``, also for one of another project than ``project_id``, if that is given."""
    row = tx.one(_Q["get"], {"id": export_id, "project_id": project_id})
    if row is None:
        raise NotFound(f"there is no export {export_id}")
    return _export(row)


def of_job(tx: Tx, job: Job) -> Export:
    """The one that the job is to make. Raises ``NotFound``."""
    row = tx.one(_Q["of_job"], {"job_id": job.id})
    if row is None:
        raise NotFound(f"job {job.id} makes no export")
    return _export(row)


def page(
    tx: Tx, project_id: ProjectId, *, before: int | None = None, limit: int = 20, kept: bool = False
) -> list[Export]:
    """The newest first; ``kept``: without those that were deleted."""
    params = {"project_id": project_id, "before": _NEWEST if before is None else before, "limit": limit, "kept": kept}
    return [_export(row) for row in tx.all(_Q["page"], params)]


def waiting(tx: Tx, project_id: ProjectId, form: ExportForm, actor: str) -> Export | None:
    """What the same actor asked for and nobody has begun to make."""
    row = tx.one(_Q["waiting"], {"project_id": project_id, "form": form.value, "actor": actor})
    return None if row is None else get(tx, row["id"])


def count_kept(tx: Tx, project_id: ProjectId) -> int:
    """How many there are that were not deleted."""
    row = tx.one(_Q["count_kept"], {"project_id": project_id})
    assert row is not None  # an aggregate always answers
    return int(row["kept"])


def finish(tx: Tx, job: Job, contents: Contents, *, keep_s: float) -> Export | None:
    """It is made, and is kept for so many seconds. None if it was deleted meanwhile."""
    params = {**vars(contents), "sha256": bytes.fromhex(contents.sha256), "job_id": job.id, "keep_s": keep_s}
    row = tx.one(_Q["finish"], params)
    return None if row is None else get(tx, row["id"])


def retire(tx: Tx, export_id: ExportId) -> bool:
    """From the commit on nobody begins to download it. False if that was so already."""
    return tx.one(_Q["retire"], {"id": export_id}) is not None


def retire_old(tx: Tx, *, keep_s: float) -> None:
    """The same for all whose time is over, and for those that failed more than ``keep_s`` seconds ago."""
    tx.run(_Q["retire_old"], {"keep_s": keep_s})


def surplus(tx: Tx, attempts: Sequence[tuple[str, JobId, int]]) -> set[str]:
    """Of attempts at exports (key, job, fence), the keys of those whose pieces nobody will download.

    List the store before: what is listed then and not under way by now can't become an export.
    """
    keys, job_ids, fences = zip(*attempts, strict=True) if attempts else ((), (), ())
    rows = tx.all(_Q["surplus"], {"keys": list(keys), "job_ids": list(job_ids), "fences": list(fences)})
    return {row["key"] for row in rows}
