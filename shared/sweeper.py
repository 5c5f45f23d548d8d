"""Puts right, every few seconds, what a lost message or a dead process left behind.

Any number of processes may run one; a lock in Postgres lets one at a time do the work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from structlog.contextvars import bound_contextvars

from shared import batches
from shared.db import batches as batch_rows
from shared.db import jobs, projects, tasks
from shared.db.pool import Tx
from shared.domain import BatchId, ProjectId
from shared.errors import Retryable, WinnowError
from shared.jobs import Ledger
from shared.metrics import SWEPT_AT, TASK_LEASES_EXPIRED
from shared.retention import Pruned, Retention
from shared.rounds import Rounds
from shared.telemetry import logger, trace_id
from shared.webhooks import EventType, emit_each

log = logger(__name__)


class Sweeper:
    """Takes back jobs and tasks whose lease ran out, sends lost wake-ups again, and moves rounds and vendors' batches
    on that are due.

    With ``retention`` it also deletes what is surplus, a batch after each sweep so that none waits long for it. The
    first time is one of retention's intervals after the start, by ``clock`` (seconds).
    """

    def __init__(
        self,
        ledger: Ledger,
        rounds: Rounds,
        *,
        every_s: float,
        retention: Retention | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._rounds = rounds
        self._every_s = every_s
        self._retention = retention
        self._clock = clock
        self._pruning: Iterator[Pruned] | None = None
        self._prune_at = clock() + (retention.every_s if retention else 0.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the sweep under way, if any, is over."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def sweep(self) -> None:
        """One sweep; nothing if another process is at it."""
        with self._ledger.transaction() as tx:
            if not jobs.try_sweep_lock(tx):
                return
            self._ledger.sweep(tx)
            self._reopen(tx)
            running = projects.running(tx)
            moving = batch_rows.moving(tx)
        for project_id in running:
            self._advance(project_id)
        for batch_id in moving:
            self._tend(batch_id)
        SWEPT_AT.set_to_current_time()

    def prune(self) -> None:
        """Delete one batch of what is surplus, if it is time to."""
        if self._retention is None or (self._pruning is None and self._clock() < self._prune_at):
            return
        if self._pruning is None:
            self._pruning = self._retention.prune()
            self._prune_at = self._clock() + self._retention.every_s
        try:
            if next(self._pruning, None) is None:
                self._pruning = None
        except WinnowError as error:  # the next time goes on where this one stopped
            self._pruning = None
            log.warning("retention.failed", error=str(error))

    @staticmethod
    def _reopen(tx: Tx) -> None:
        """Take tasks back from annotators who went away."""
        gone: dict[ProjectId, list[dict[str, int]]] = {}
        for expired in tasks.reopen_expired(tx):
            tx.after_commit(TASK_LEASES_EXPIRED.inc)
            log.info("task.lease_expired", task_id=expired.task_id, project_id=expired.project_id)
            gone.setdefault(expired.project_id, []).append({"task_id": expired.task_id})
        for project_id, data in gone.items():
            emit_each(tx, project_id, EventType.TASK_LEASE_EXPIRED, data)

    def _advance(self, project_id: ProjectId) -> None:
        """What is wrong with one project must not hold up the others."""
        try:
            with bound_contextvars(trace_id=trace_id()), self._ledger.transaction() as tx:
                self._rounds.advance(tx, project_id)
        except Exception:
            log.exception("round.advance_failed", project_id=project_id)

    def _tend(self, batch_id: BatchId) -> None:
        """A step at a time, each in a transaction of its own: a vendor's answers wait for no whole cancellation."""
        try:
            while True:
                with bound_contextvars(trace_id=trace_id()), self._ledger.transaction() as tx:
                    if not batches.tend(tx, batch_id):
                        return
        except Exception:
            log.exception("batch.tend_failed", batch_id=batch_id)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.sweep()
                self.prune()
            except Retryable as error:  # the next sweep tries again
                log.warning("sweep.failed", error=str(error))
            except Exception:  # a sweeper that died unseen would be worse than one that fails aloud
                log.exception("sweep.failed")
