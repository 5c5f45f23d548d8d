"""The one loop that every worker runs: hear a wake-up, claim its job, do it, publish the result.

The main thread owns the bus connection and keeps polling it, also while a job runs in a thread beside it, so that
heartbeats never stop. A short job holds its wake-up until it is done; a long one (training) lets go of it at once and
stops listening until it is free again, so that no broker time-out is ever met and no wake-up waits behind it.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from shared.bus.base import Bus, Delivery, Subscription
from shared.db.pool import Tx
from shared.domain import Job, JobKind
from shared.errors import Retryable, StaleFence, WinnowError
from shared.jobs import Heartbeat, Ledger
from shared.metrics import JOB_SECONDS, JOBS_FINISHED, WORKER_BUSY, WORKER_CONNECTED
from shared.settings import WorkerSettings
from shared.telemetry import logger

log = logger(__name__)
_IDLE_POLL_S = 1.0
_BUSY_POLL_S = 0.05
_SILENT_S = 60.0  # longer than any wait of the main loop: a connection or a free place in the pool
_LOOK_EVERY_S = 3.0  # how often an idle worker looks whether a wake-up passed it by

Publish = Callable[[Tx], None]
"""Writes a job's result to the database; runs in the transaction that ends the job."""


class Stopped(WinnowError):
    """Raised inside a job that must end now: the worker is stopping, or the job is no longer its own."""


class JobContext:
    """What a running job may ask of its worker."""

    def __init__(self, heartbeat: Heartbeat, stopping: threading.Event) -> None:
        self._heartbeat = heartbeat
        self._stopping = stopping

    def report(self, progress: float, **detail: Any) -> None:
        """Show progress (0 to 1) and details such as the epoch in the job's row, at the next heartbeat."""
        self._heartbeat.report(progress, detail)

    @property
    def should_stop(self) -> bool:
        return self._stopping.is_set() or self._heartbeat.lost.is_set()

    def check(self) -> None:
        """Call between units of work. Raises ``Stopped`` when the job must end now."""
        if self.should_stop:
            raise Stopped("the job was interrupted")


class Handler(Protocol):
    """Does jobs of one kind. ``long``: takes minutes or hours, and is given back at once when the worker stops."""

    kind: JobKind
    long: bool

    def run(self, job: Job, context: JobContext) -> Publish:
        """Do the work, writing objects; return what writes the result to the database.

        Must be idempotent: a job may run again after a crash. ``Permanent`` errors bury the job, others retry it.
        """
        ...


class _Running:
    """A job in its thread."""

    def __init__(self, worker: Worker, job: Job, delivery: Delivery | None) -> None:
        self.job = job
        self.delivery = delivery
        self._worker = worker
        self._thread = threading.Thread(target=self._run, name=f"job-{job.id}", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return self.over

    def _run(self) -> None:
        self._worker.work(self.job)


class Worker:
    """Serves the job kinds of its handlers, one job at a time."""

    def __init__(self, ledger: Ledger, bus: Bus, handlers: Sequence[Handler], settings: WorkerSettings) -> None:
        self._ledger = ledger
        self._bus = bus
        self._handlers: Mapping[JobKind, Handler] = {h.kind: h for h in handlers}
        self._settings = settings
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._stopping = threading.Event()  # no further jobs
        self._interrupt = threading.Event()  # the running job must end now
        self._running: _Running | None = None
        self._urgent_before = False  # whether the last job was of an urgent kind
        self._turned_at: float | None = None  # it has not begun: the schema may be too old for it still
        self._connected = False
        for kind in self._handlers:  # series that are there from the start: a rate needs a first value
            WORKER_BUSY.labels(kind.value).set(0)
            for outcome in ("done", "retried", "dead"):
                JOBS_FINISHED.labels(kind.value, outcome)
        self._set_connected(False)

    def check_alive(self) -> None:
        """Raise ``Retryable`` if the main loop has not turned for ``_SILENT_S``: it hangs, and only a restart helps."""
        if self._turned_at is None:
            return
        silent = time.monotonic() - self._turned_at
        if silent > _SILENT_S:
            raise Retryable(f"the worker's main loop has not turned for {silent:.0f} s")

    def check_ready(self) -> None:
        """Raise ``Retryable`` unless this worker would hear of a job now."""
        self.check_alive()
        if not self._connected:
            raise Retryable("the worker is not connected to the bus")
        if self._stopping.is_set():
            raise Retryable("the worker is stopping")

    def _set_connected(self, connected: bool) -> None:
        self._connected = connected
        for kind in self._handlers:
            WORKER_CONNECTED.labels(kind.value).set(int(connected))

    def stop(self, *_: object) -> None:
        """Finish or give back what is running, then return from ``run``. Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Work until ``stop``; on SIGTERM and SIGINT too, when called from the main thread."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.stop)
            signal.signal(signal.SIGINT, self.stop)
        log.info("worker.started", worker=self._name, kinds=[k.value for k in self._handlers])
        pause = 0.2
        while not self._stopping.is_set():
            self._turned_at = time.monotonic()
            try:
                subscription = self._bus.subscribe(list(self._handlers))
            except Retryable as error:
                log.warning("bus.unreachable", error=str(error), retry_in_s=pause)
                self._stopping.wait(pause)
                pause = min(pause * 2, 10.0)
                continue
            pause = 0.2
            self._set_connected(True)
            try:
                self._serve(subscription)
            except Retryable as error:
                log.warning("bus.lost", error=str(error))
            finally:
                self._set_connected(False)
                subscription.close()
        log.info("worker.stopped", worker=self._name)

    def _serve(self, subscription: Subscription) -> None:
        """Poll until stopping, or until the bus is lost; no job is in hand when this returns."""
        look_at = time.monotonic()
        try:
            while not self._stopping.is_set():
                self._turned_at = time.monotonic()
                delivery = subscription.poll(_BUSY_POLL_S if self._running else _IDLE_POLL_S)
                if self._running is not None and self._running.over:
                    over, self._running, look_at = self._running, None, 0.0
                    self._settle(subscription, over)
                if delivery is not None:
                    self._begin(subscription, delivery)
                elif self._running is None and time.monotonic() >= look_at:
                    self._look(subscription)
                    look_at = time.monotonic() + _LOOK_EVERY_S
        except Retryable:
            self._set_connected(False)
            raise
        finally:
            if self._running is not None:  # stopping, or the bus is gone: the job needs only the database
                self._end(self._running)
                self._running = None

    def _begin(self, subscription: Subscription, delivery: Delivery) -> None:
        """Claim and start the job of a wake-up."""
        try:
            job = self._ledger.claim(delivery.wakeup.job_id, worker=self._name, lease_s=self._settings.lease_s)
        except Retryable as error:
            log.warning("job.claim_failed", job_id=delivery.wakeup.job_id, error=str(error))
            subscription.reject(delivery)
            self._stopping.wait(1.0)
            return
        if job is None:  # done, not due, or another's: the ledger will wake somebody if need be
            subscription.ack(delivery)
        elif self._handlers[job.kind].long:
            self._start(job, None)
            subscription.ack(delivery)
            subscription.pause()
        else:
            self._start(job, delivery)

    def _look(self, subscription: Subscription) -> None:
        """Start a job that is due though nobody was heard to call: sent while this worker was away, say.

        After every job this comes before the bus is listened to, so it decides what is done next while work is queued.
        """
        in_turn = [kind for kind in self._handlers if kind.urgent is not self._urgent_before]
        others = [kind for kind in self._handlers if kind.urgent is self._urgent_before]
        try:
            due = self._ledger.next_due(in_turn, others)
            job = due and self._ledger.claim(due, worker=self._name, lease_s=self._settings.lease_s)
        except Retryable as error:
            log.warning("job.look_failed", error=str(error))
            return
        if job:
            self._start(job, None)
            subscription.pause()

    def _start(self, job: Job, delivery: Delivery | None) -> None:
        self._urgent_before = job.kind.urgent
        self._running = _Running(self, job, delivery)

    def _settle(self, subscription: Subscription, running: _Running) -> None:
        if running.delivery is not None:
            subscription.ack(running.delivery)
        else:
            subscription.resume()

    def _end(self, running: _Running) -> None:
        """Let the job in hand come to its end; when stopping, only a short one and for a moment, else give it back."""
        while not self._stopping.is_set():
            self._turned_at = time.monotonic()
            if running.wait(_IDLE_POLL_S):
                return
        deadline = time.monotonic() + self._settings.drain_s
        if not self._handlers[running.job.kind].long:
            running.wait(self._settings.drain_s / 2)
        self._interrupt.set()
        if not running.wait(max(deadline - time.monotonic(), 0.1)):
            self._ledger.give_back(running.job)  # its thread dies with the process; its fence is void

    def work(self, job: Job) -> None:
        """Do one claimed job to its end. Never raises: every outcome is recorded in the ledger."""
        structlog.contextvars.bind_contextvars(**job.log_context())
        log.info("job.claimed", attempt=job.attempts)
        started = time.monotonic()
        WORKER_BUSY.labels(job.kind.value).set(1)
        try:
            with Heartbeat(self._ledger, job, self._settings.lease_s) as heartbeat:
                context = JobContext(heartbeat, self._interrupt)
                publish = self._handlers[job.kind].run(job, context)
                with self._ledger.transaction() as tx:
                    self._ledger.finish(tx, job)
                    publish(tx)
            JOBS_FINISHED.labels(job.kind.value, "done").inc()
            log.info("job.done", seconds=round(time.monotonic() - started, 3))
        except (Stopped, StaleFence) as error:
            log.info("job.interrupted", reason=str(error))
            self._record(lambda: self._ledger.give_back(job))
        except Exception as error:
            log.exception("job.failed")
            failure = error
            self._record(lambda: self._ledger.fail(job, failure))
        finally:
            JOB_SECONDS.labels(job.kind.value).observe(time.monotonic() - started)
            WORKER_BUSY.labels(job.kind.value).set(0)
            structlog.contextvars.unbind_contextvars(*job.log_context())

    @staticmethod
    def _record(write: Callable[[], None]) -> None:
        """If the database can't be reached the lease runs out, and the sweeper takes the job back."""
        try:
            write()
        except Retryable as error:
            log.warning("job.outcome_not_recorded", error=str(error))
