"""Workers in threads: they outlive what nobody expected, and those that died or hang are found out."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
import structlog
from fastapi.testclient import TestClient

from services.api.app import create_app
from shared.bus.base import Bus, Subscription
from shared.db import jobs
from shared.db.migrate import migrations
from shared.domain import Job, JobKind, JobState
from shared.errors import Retryable
from shared.healthcheck import trouble
from shared.running import WorkerThread, serve_health
from shared.settings import ApiSettings, WorkerSettings
from shared.system import System
from shared.worker import Worker
from tests.integration.test_health import serving
from tests.integration.test_worker import Scripted, enqueue, nothing
from tests.waiting import wait_for
from tests.world import World, build, open_system

ENDS = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
"""The thread of the test is to die."""


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    return build(system)


class Stumbling:
    """A bus that raises these before it can be subscribed to."""

    def __init__(self, bus: Bus, *errors: BaseException) -> None:
        self._bus = bus
        self.errors = list(errors)

    def subscribe(self, kinds: Sequence[JobKind]) -> Subscription:
        if self.errors:
            raise self.errors.pop(0)
        return self._bus.subscribe(kinds)


def worker_on(system: System, *errors: BaseException) -> Worker:
    bus = cast(Bus, Stumbling(system.bus, *errors))
    return Worker(system.ledger, bus, [Scripted(nothing)], WorkerSettings(metrics_port=0))


@contextmanager
def running(system: System, *errors: BaseException) -> Iterator[WorkerThread]:
    thread = WorkerThread(worker_on(system, *errors), system.database, name="exports")
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()
        thread.join(30)


def is_done(system: System, job: Job) -> bool:
    with system.database.transaction() as tx:
        return jobs.get(tx, job.id).state is JobState.DONE


def has_ended(thread: WorkerThread) -> bool:
    try:
        thread.check_alive()
    except Retryable as error:
        return str(error) == "the thread exports has ended"
    return False


def test_what_a_worker_does_not_expect_is_logged_and_it_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.running._PAUSE_S", 0.05)
    with (
        structlog.testing.capture_logs() as logs,
        running(world.system, ValueError("a frame that makes no sense"), KeyError("channel")) as thread,
    ):
        job = enqueue(world)
        wait_for(lambda: is_done(world.system, job), "the job", 20)
        thread.check_alive()
    assert [line["thread"] for line in logs if line["event"] == "worker.failed"] == ["exports", "exports"]


@ENDS
def test_a_thread_that_ended_is_found_out(system: System) -> None:
    with running(system, SystemExit()) as thread:
        wait_for(lambda: has_ended(thread), "the end of the thread", 20)


def test_a_loop_that_hangs_in_a_thread_is_found_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(world.system) as thread:
        job = enqueue(world)
        wait_for(lambda: is_done(world.system, job), "the job", 20)
        monkeypatch.setattr("shared.worker._SILENT_S", -1.0)
        with pytest.raises(Retryable, match="main loop"):
            thread.check_alive()


def test_a_worker_that_waits_for_the_schema_does_not_hang(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.worker._SILENT_S", -1.0)
    with system.database.transaction() as tx:
        tx.run("DELETE FROM schema_migrations WHERE number = %(number)s", {"number": migrations()[-1].number})
    with structlog.testing.capture_logs() as logs, running(system) as thread:
        wait_for(lambda: any(line["event"] == "schema.waiting" for line in logs), "the worker to wait", 20)
        thread.check_alive()
        thread.stop()
        thread.join(20)
    assert not any(one.name == "exports" for one in threading.enumerate()), "it waits no longer once it is to stop"


def test_a_thread_that_was_told_to_stop_is_no_trouble(system: System) -> None:
    with running(system) as thread:
        thread.stop()
        thread.join(20)
        thread.check_alive()


@ENDS
def test_an_api_is_not_alive_without_the_thread_that_makes_exports(system: System) -> None:
    with running(system, SystemExit()) as thread:
        client = TestClient(create_app(system, ApiSettings(), live=thread.check_alive))
        wait_for(lambda: has_ended(thread), "the end of the thread", 20)
        assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (503, 503)


@ENDS
def test_a_worker_process_is_not_alive_without_the_worker_beside_it(system: System) -> None:
    settings = WorkerSettings(metrics_port=0)
    with (
        running(system, SystemExit()) as thread,
        serving(serve_health(worker_on(system), system, settings, thread)) as url,
    ):
        wait_for(lambda: has_ended(thread), "the end of the thread", 20)
        assert "the thread exports has ended" in str(trouble(f"{url}/healthz"))
        assert "the thread exports has ended" in str(trouble(f"{url}/readyz"))
