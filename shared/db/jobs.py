"""Rows of the ledger. ``shared.jobs`` says what they mean; this only reads and writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import (
    MAX_JOB_ATTEMPTS,
    Job,
    JobId,
    JobKind,
    JobState,
    NewJob,
    ProjectId,
    RoundId,
    WakeUp,
)
from shared.errors import NotFound

_Q = queries("jobs")


@dataclass(frozen=True, kw_only=True)
class WorkerSeen:
    """A worker that had a job of this kind: how many it has done, and when it was last heard of."""

    worker: str
    kind: JobKind
    done: int
    busy: bool
    seen_at: datetime


def from_row(row: Row) -> Job:
    """A whole row of the table."""
    return Job(
        id=row["id"],
        kind=JobKind(row["kind"]),
        project_id=row["project_id"],
        round_id=row["round_id"],
        payload=row["payload"],
        state=JobState(row["state"]),
        attempts=row["attempts"],
        lease_until=row["lease_until"],
        fence=row["fence"],
        worker=row["worker"],
        progress=row["progress"],
        detail=row["detail"],
        error=row["error"],
        created_at=row["created_at"],
        trace_id=row["trace_id"],
    )


def _wakeup(row: Row) -> WakeUp:
    return WakeUp(kind=JobKind(row["kind"]), job_id=row["id"])


def add(tx: Tx, new: NewJob, *, trace_id: str) -> Job | None:
    """None if a job with this unique key exists already."""
    row = tx.one(
        _Q["insert_job"],
        {
            "kind": new.kind.value,
            "project_id": new.project_id,
            "round_id": new.round_id,
            "unique_key": new.unique_key,
            "payload": json.dumps(dict(new.payload)),
            "trace_id": trace_id,
        },
    )
    return None if row is None else from_row(row)


def claim(tx: Tx, job_id: JobId, *, worker: str, lease_s: float) -> Job | None:
    """None if the job isn't due, is another's, or has ended."""
    params = {"id": job_id, "worker": worker, "lease_s": lease_s, "max_attempts": MAX_JOB_ATTEMPTS}
    row = tx.one(_Q["claim"], params)
    return None if row is None else from_row(row)


def heartbeat(tx: Tx, job: Job, *, lease_s: float, progress: float, detail: Mapping[str, Any]) -> bool:
    """False if the lease is lost or the job was cancelled."""
    params = {
        "id": job.id,
        "fence": job.fence,
        "lease_s": lease_s,
        "progress": progress,
        "detail": json.dumps(dict(detail)),
    }
    return tx.one(_Q["heartbeat"], params) is not None


def finish(tx: Tx, job: Job) -> bool:
    """False if the lease is lost."""
    return tx.one(_Q["finish"], {"id": job.id, "fence": job.fence}) is not None


def set_result(tx: Tx, job: Job, result: Mapping[str, Any]) -> None:
    """What the job found; the caller ends the job in the same transaction."""
    tx.run(_Q["set_result"], {"id": job.id, "result": json.dumps(dict(result))})


def results(tx: Tx, round_id: RoundId, kind: JobKind) -> list[Mapping[str, Any]]:
    """What the finished jobs of a round found, those that said something."""
    return [row["result"] for row in tx.all(_Q["results"], {"round_id": round_id, "kind": kind.value})]


def retry_later(tx: Tx, job: Job, *, error: str, delay_s: float) -> bool:
    params = {"id": job.id, "fence": job.fence, "error": error, "delay_s": delay_s}
    return tx.one(_Q["retry_later"], params) is not None


def bury(tx: Tx, job: Job, *, error: str) -> bool:
    return tx.one(_Q["bury"], {"id": job.id, "fence": job.fence, "error": error}) is not None


def give_back(tx: Tx, job: Job) -> bool:
    return tx.one(_Q["give_back"], {"id": job.id, "fence": job.fence}) is not None


def cancel(tx: Tx, job_id: JobId, state: JobState, *, error: str | None) -> Job | None:
    """End it in ``state``. None if the job has ended."""
    row = tx.one(_Q["cancel"], {"id": job_id, "state": state.value, "error": error})
    return None if row is None else from_row(row)


def withdraw(tx: Tx, job_id: JobId) -> None:
    """End a job for good, unless it is done."""
    tx.run(_Q["withdraw"], {"id": job_id})


def requeue_dead(tx: Tx, *, job_id: JobId | None = None, project_id: ProjectId | None = None) -> list[Job]:
    """Give dead jobs another life: one, those of a project, or all."""
    return [from_row(row) for row in tx.all(_Q["requeue"], {"id": job_id, "project_id": project_id})]


def bury_exhausted(tx: Tx) -> list[Job]:
    return [from_row(row) for row in tx.all(_Q["bury_exhausted"], {"max_attempts": MAX_JOB_ATTEMPTS})]


def requeue_expired(tx: Tx) -> list[Job]:
    return [from_row(row) for row in tx.all(_Q["requeue_expired"])]


def to_wake(tx: Tx, *, patience_s: float) -> list[WakeUp]:
    """Queued and due jobs that nobody seems to have heard of for ``patience_s``."""
    return [_wakeup(row) for row in tx.all(_Q["to_wake"], {"patience_s": patience_s})]


def next_due(tx: Tx, first: Sequence[JobKind], then: Sequence[JobKind]) -> JobId | None:
    """A queued job that could be claimed now: of the kinds in ``first`` if there is one, else of those in ``then``."""
    params = {"first": [kind.value for kind in first], "then": [kind.value for kind in then]}
    row = tx.one(_Q["next_due"], params)
    return None if row is None else JobId(row["id"])


def get(tx: Tx, job_id: JobId) -> Job:
    """Raises ``NotFound``."""
    row = tx.one(_Q["get"], {"id": job_id})
    if row is None:
        raise NotFound(f"there is no job {job_id}")
    return from_row(row)


def newest(
    tx: Tx,
    *,
    project_id: ProjectId | None = None,
    state: JobState | None = None,
    kinds: Sequence[JobKind] | None = None,
    limit: int = 50,
) -> list[Job]:
    """The newest first; ``kinds`` None: of every kind."""
    of_kinds = None if kinds is None else [kind.value for kind in kinds]
    params = {"project_id": project_id, "state": state, "kinds": of_kinds, "limit": limit}
    return [from_row(row) for row in tx.all(_Q["list_jobs"], params)]


def running_s(tx: Tx, job_id: JobId) -> float | None:
    """For how many seconds it has run; None before it began."""
    row = tx.one(_Q["running_s"], {"id": job_id})
    return None if row is None else row["seconds"]


def unfinished(tx: Tx, round_id: RoundId, kind: JobKind) -> int:
    """How many jobs of a round are queued, running or dead."""
    row = tx.one(_Q["unfinished"], {"round_id": round_id, "kind": kind.value})
    return int(row["unfinished"]) if row else 0


def count_by_state(tx: Tx, project_id: ProjectId) -> dict[tuple[JobKind, JobState], int]:
    """Jobs of a project that have not ended well, by kind and state."""
    rows = tx.all(_Q["count_by_state"], {"project_id": project_id})
    return {(JobKind(row["kind"]), JobState(row["state"])): row["jobs"] for row in rows}


def workers(tx: Tx, *, hours: int = 24) -> list[WorkerSeen]:
    """Who was at work within ``hours``, by the newest 2,000 jobs; in order of name."""
    return [WorkerSeen(**{**row, "kind": JobKind(row["kind"])}) for row in tx.all(_Q["workers"], {"hours": hours})]


def server_version(tx: Tx) -> tuple[str, int]:
    """Of Postgres, and of the schema."""
    row = tx.one(_Q["server_version"])
    assert row is not None  # an aggregate always answers
    return row["version"], row["schema"]


def try_sweep_lock(tx: Tx) -> bool:
    """True if this transaction is the only one sweeping."""
    row = tx.one(_Q["try_sweep_lock"])
    return bool(row and row["mine"])
