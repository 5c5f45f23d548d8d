"""The ledger of work: every piece of work is a durable row, and the bus only says that there is one.

A job is inserted in the transaction of the state change that asks for it; its wake-up goes out after the commit. A
worker claims the row under a new fence and a lease, renews the lease while it works, and publishes its result in one
transaction with ``finish``, which the fence guards. So a lost or doubled message changes nothing, and a worker that
lost its lease can't publish.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from shared.bus.base import Bus
from shared.db import jobs as rows
from shared.db.pool import Database, Tx
from shared.domain import MAX_JOB_ATTEMPTS, Job, JobId, JobKind, JobState, NewJob, ProjectId, WakeUp
from shared.errors import Conflict, NotFound, Permanent, Retryable, StaleFence
from shared.metrics import JOB_LEASES_EXPIRED, JOBS_FINISHED, JOBS_QUEUED, WAKEUPS_LOST
from shared.telemetry import logger, trace_id

log = logger(__name__)
BACKOFF_S = (1.0, 5.0, 30.0, 120.0)
"""How long a failed job waits before its 2nd, 3rd, 4th and 5th attempt."""
WAKE_PATIENCE_S = 10.0
"""A queued job whose wake-up is older than this is taken to have been missed. Far above a healthy broker's delay."""


class Ledger:
    """The only way to ask for work, to take it, and to end it. Thread-safe."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """See ``Database.transaction``."""
        with self._database.transaction() as tx:
            yield tx

    @contextmanager
    def one_by_one(self) -> Iterator[Tx]:
        """See ``Database.one_by_one``."""
        with self._database.one_by_one() as tx:
            yield tx

    def enqueue(self, tx: Tx, new: NewJob) -> Job | None:
        """Ask for work within ``tx``; its wake-up goes out after the commit. None if it was asked for before.

        The job carries the trace of the request or job under way, and hands it on to those that it asks for.
        """
        job = rows.add(tx, new, trace_id=trace_id())
        if job is not None:
            tx.after_commit(partial(_note_queued, job))
            self._wake_after(tx, job)
        return job

    def claim(self, job_id: JobId, *, worker: str, lease_s: float) -> Job | None:
        """Take a job; None if it isn't due, is another's, or has ended."""
        with self._database.transaction() as tx:
            return rows.claim(tx, job_id, worker=worker, lease_s=lease_s)

    def next_due(self, first: Sequence[JobKind], then: Sequence[JobKind] = ()) -> JobId | None:
        """A job that an idle worker could claim now, whatever became of its wake-up; kinds in ``first`` go first."""
        with self._database.transaction() as tx:
            return rows.next_due(tx, first, then)

    def heartbeat(self, job: Job, *, lease_s: float, progress: float, detail: Mapping[str, Any]) -> bool:
        """Renew the lease and show progress (0 to 1). False: stop, the job is no longer this worker's."""
        with self._database.transaction() as tx:
            return rows.heartbeat(tx, job, lease_s=lease_s, progress=progress, detail=detail)

    def finish(self, tx: Tx, job: Job) -> None:
        """End the job well, in the same transaction as its result. Raises ``StaleFence`` if the lease was lost."""
        if not rows.finish(tx, job):
            raise StaleFence(f"job {job.id} was taken over by another worker")

    def fail(self, job: Job, error: BaseException) -> None:
        """Try again later, or end as ``dead``: at once for ``Permanent``, else after the last attempt."""
        message = f"{type(error).__name__}: {error}"[:4000]
        last = isinstance(error, Permanent) or job.attempts >= MAX_JOB_ATTEMPTS
        with self._database.transaction() as tx:
            if last:
                rows.bury(tx, job, error=message)
            else:
                delay = BACKOFF_S[min(job.attempts, len(BACKOFF_S)) - 1]
                rows.retry_later(tx, job, error=message, delay_s=delay)
        JOBS_FINISHED.labels(job.kind.value, "dead" if last else "retried").inc()
        log.warning("job.dead" if last else "job.retried", **job.log_context(), error=message)

    def give_back(self, job: Job) -> None:
        """Let another worker have it at once; the attempt does not count."""
        with self._database.transaction() as tx:
            if rows.give_back(tx, job):
                self._wake_after(tx, job)
                log.info("job.given_back", **job.log_context())

    def requeue(self, *, job_id: JobId | None = None, project_id: ProjectId | None = None) -> list[Job]:
        """Give dead jobs another life: one, those of a project, or all."""
        with self._database.transaction() as tx:
            jobs = rows.requeue_dead(tx, job_id=job_id, project_id=project_id)
            for job in jobs:
                tx.after_commit(partial(log.info, "job.requeued", **job.log_context()))
                self._wake_after(tx, job)
            return jobs

    def cancel(self, tx: Tx, job_id: JobId, project_id: ProjectId, actor: str) -> Job:
        """End a job that waits or runs; its worker lets go of it at its next heartbeat.

        It is then ``dead`` like one that failed for good: shown as such, and ``requeue`` begins it again; or
        ``cancelled`` where its kind ``ends_when_cancelled``. Raises ``NotFound`` for a job that the project doesn't
        have, ``Conflict`` for one that has ended.
        """
        job = rows.get(tx, job_id)
        if job.project_id != project_id:
            raise NotFound(f"there is no job {job_id} in project {project_id}")
        state: JobState = JobState.DEAD
        error: str | None = f"cancelled by {actor}"
        if job.kind.ends_when_cancelled:
            state, error = JobState.CANCELLED, None
        cancelled = rows.cancel(tx, job_id, state, error=error)
        if cancelled is None:
            raise Conflict(f"job {job_id} has ended: it is {job.state.value}")
        tx.after_commit(partial(log.info, "job.cancelled", **job.log_context(), actor=actor))
        return cancelled

    def withdraw(self, tx: Tx, job_id: JobId) -> None:
        """End a job whose result nobody wants any more, unless it is done: it is never begun again, and is no failure.

        Its worker lets go of it at its next heartbeat.
        """
        rows.withdraw(tx, job_id)
        tx.after_commit(partial(log.info, "job.withdrawn", job_id=job_id))

    def sweep(self, tx: Tx) -> None:
        """Take jobs back from workers that died, and send again the wake-ups that got lost."""
        for dead in rows.bury_exhausted(tx):
            tx.after_commit(partial(_note_expired, dead))
        for expired in rows.requeue_expired(tx):
            tx.after_commit(partial(_note_expired, expired))
        for wakeup in rows.to_wake(tx, patience_s=WAKE_PATIENCE_S):
            tx.after_commit(partial(self._wake, wakeup))

    def _wake_after(self, tx: Tx, job: Job) -> None:
        tx.after_commit(partial(self._wake, WakeUp(kind=job.kind, job_id=job.id)))

    def _wake(self, wakeup: WakeUp) -> None:
        """The row is committed: whatever happens to the message, the sweeper will send it again."""
        try:
            self._bus.publish(wakeup)
        except Retryable as error:
            WAKEUPS_LOST.inc()
            log.warning("wakeup.lost", job_id=wakeup.job_id, job_kind=wakeup.kind.value, error=str(error))


def _note_queued(job: Job) -> None:
    JOBS_QUEUED.labels(job.kind.value).inc()
    log.info("job.queued", **job.log_context())


def _note_expired(job: Job) -> None:
    """Of a job whose worker went silent: it is queued again, or dead if this was its last attempt."""
    JOB_LEASES_EXPIRED.labels(job.kind.value).inc()
    if job.state is JobState.DEAD:
        JOBS_FINISHED.labels(job.kind.value, "dead").inc()
        log.error("job.dead", **job.log_context(), error=job.error)
    else:
        log.warning("job.lease_expired", **job.log_context())


_BEAT_S = 2.0
"""The longest between two heartbeats, however long the lease: a job that is cancelled must hear of it."""


class Heartbeat:
    """Renews a job's lease from a thread of its own, every two seconds or third of the lease, until stopped.

    ``lost`` is set when the job is no longer this worker's, or when the lease may have run out because the database
    could not be reached.
    """

    def __init__(self, ledger: Ledger, job: Job, lease_s: float) -> None:
        self.lost = threading.Event()
        self._ledger = ledger
        self._job = job
        self._lease_s = lease_s
        self._stop = threading.Event()
        self._progress = 0.0
        self._detail: Mapping[str, Any] = {}
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{job.id}", daemon=True)

    def report(self, progress: float, detail: Mapping[str, Any]) -> None:
        """What the next beat shows; ``progress`` is 0 to 1."""
        self._progress, self._detail = progress, detail

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=self._lease_s)

    def _beat(self) -> None:
        held_at = time.monotonic()
        while not self._stop.wait(min(self._lease_s / 3, _BEAT_S)):
            try:
                held = self._ledger.heartbeat(
                    self._job, lease_s=self._lease_s, progress=self._progress, detail=self._detail
                )
                held_at = time.monotonic()
            except Retryable as error:
                held = time.monotonic() - held_at < self._lease_s
                log.warning("heartbeat.missed", **self._job.log_context(), error=str(error))
            if not held:
                log.warning("job.lease_lost", **self._job.log_context())
                self.lost.set()
                return
