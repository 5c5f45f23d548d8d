"""How workers run: as a process of their own, or in a thread beside what else a process does."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from shared.db.pool import Database
from shared.errors import Retryable
from shared.gpu import GpuGauges
from shared.health import HealthServer
from shared.settings import WorkerSettings
from shared.sweeper import Sweeper
from shared.system import System, await_schema
from shared.telemetry import logger
from shared.worker import Handler, Worker

log = logger(__name__)
_PAUSE_S = 5.0
"""After an error that nobody expected. It may come again at once."""


class WorkerThread:
    """A worker in a thread of its own. It waits for the schema first.

    An error that its loop doesn't expect is logged, and the loop begins anew. What can't be mended so, ``check_alive``
    tells.
    """

    def __init__(self, worker: Worker, database: Database, *, name: str) -> None:
        self._worker = worker
        self._database = database
        self._working = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and finish or give back what is running. Returns at once."""
        self._stopping.set()
        self._worker.stop()

    def join(self, timeout_s: float) -> None:
        """Wait for the end, once it was told to stop."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def check_alive(self) -> None:
        """Raise ``Retryable`` if the thread has ended by itself or its loop hangs: only a restart helps."""
        begun = self._thread.ident is not None
        if not begun or self._stopping.is_set():
            return
        if not self._thread.is_alive():
            raise Retryable(f"the thread {self._thread.name} has ended")
        if self._working:
            self._worker.check_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await_schema(self._database, stopping=self._stopping)
                self._working = True
                self._worker.run()
            except Exception:  # a thread that died unseen would be worse than one that fails aloud
                log.exception("worker.failed", thread=self._thread.name, again_in_s=_PAUSE_S)
                self._working = False
                self._stopping.wait(_PAUSE_S)


def serve_health(
    worker: Worker, system: System, settings: WorkerSettings, beside: WorkerThread | None = None
) -> HealthServer | None:
    """``/metrics``, ``/healthz`` and ``/readyz``, started; None where the settings name no port."""
    if settings.metrics_port is None:
        return None

    def live() -> None:
        worker.check_alive()
        if beside is not None:
            beside.check_alive()

    def ready() -> None:
        live()
        worker.check_ready()
        system.database.check()

    host, port = settings.metrics_host, settings.metrics_port
    server = HealthServer(host, port, live=live, ready=ready, collectors=[GpuGauges()])
    server.start()
    log.info("health.listening", host=host, port=server.port)
    return server


def run_worker(
    system: System, handlers: Sequence[Handler], settings: WorkerSettings, beside: Sequence[Handler] = ()
) -> None:
    """A worker process from start to end: its sweeper, its metrics, its loop. Returns after SIGTERM.

    ``beside``: work that takes minutes and that no round waits for, done in a thread of its own, so that nothing waits
    behind it.
    """
    worker = Worker(system.ledger, system.bus, handlers, settings)
    second = None
    if beside:
        second = WorkerThread(Worker(system.ledger, system.bus, beside, settings), system.database, name="beside")
    sweeper = Sweeper(system.ledger, system.rounds, every_s=settings.sweep_every_s, retention=system.retention)
    health = serve_health(worker, system, settings, second)
    await_schema(system.database)
    sweeper.start()
    if second is not None:
        second.start()
    try:
        worker.run()
    finally:
        if second is not None:
            second.stop()
            second.join(2 * settings.drain_s)
        sweeper.stop()
        if health is not None:
            health.close()
        system.close()
