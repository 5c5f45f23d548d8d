"""A worker's health over HTTP, and the program with which containers ask for it."""

from __future__ import annotations

import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.domain import JobKind
from shared.errors import Invalid, Retryable
from shared.health import HealthServer
from shared.healthcheck import trouble
from shared.running import serve_health
from shared.settings import WorkerSettings
from shared.system import System
from shared.worker import Worker
from tests.integration.test_worker import Scripted, nothing
from tests.waiting import wait_for
from tests.world import open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


def well() -> None:
    pass


def unwell() -> None:
    raise Retryable("the bus is away")


@contextmanager
def serving(server: HealthServer | None) -> Iterator[str]:
    assert server is not None
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.close()


@contextmanager
def health() -> Iterator[str]:
    """Alive and not ready."""
    server = HealthServer("127.0.0.1", 0, live=well, ready=unwell)
    server.start()
    with serving(server) as url:
        yield url


def test_a_worker_is_ready_while_it_hears_wake_ups_and_alive_also_when_it_does_not(system: System) -> None:
    settings = WorkerSettings(metrics_port=0)
    worker = Worker(system.ledger, system.bus, [Scripted(nothing)], settings)
    with serving(serve_health(worker, system, settings)) as url:
        assert trouble(f"{url}/healthz") is None
        assert "not connected to the bus" in str(trouble(f"{url}/readyz"))
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        wait_for(lambda: trouble(f"{url}/readyz") is None, "the worker to be ready")
        worker.stop()
        thread.join(30)
        assert trouble(f"{url}/readyz") is not None


def test_a_main_loop_that_hangs_is_found_out(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(system.ledger, system.bus, [Scripted(nothing)], WorkerSettings())
    monkeypatch.setattr("shared.worker._SILENT_S", -1.0)
    worker.check_alive()  # not begun yet, as while the schema is too old

    def hangs() -> bool:
        try:
            worker.check_alive()
        except Retryable as error:
            return "main loop" in str(error)
        return False

    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    wait_for(hangs, "the loop to be found out")
    worker.stop()
    thread.join(30)


def test_a_worker_shows_the_kinds_that_it_serves(system: System) -> None:
    settings = WorkerSettings(metrics_port=0)
    worker = Worker(system.ledger, system.bus, [Scripted(nothing, kind=JobKind.SELECT)], settings)
    with (
        serving(serve_health(worker, system, settings)) as url,
        urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer,
    ):
        text = answer.read().decode()
    assert 'winnow_worker_bus_connected{kind="select"} 0.0' in text
    assert 'winnow_jobs_finished_total{kind="select",outcome="dead"}' in text


def test_no_port_means_no_server(system: System) -> None:
    settings = WorkerSettings(metrics_port=None)
    assert serve_health(Worker(system.ledger, system.bus, [Scripted(nothing)], settings), system, settings) is None


def test_a_port_that_is_taken_is_said() -> None:
    with health() as url, pytest.raises(Invalid, match="can't listen"):
        HealthServer("127.0.0.1", int(url.rsplit(":", 1)[1]), live=well, ready=well)


def test_the_reason_is_in_the_answer() -> None:
    with health() as url:
        assert trouble(f"{url}/readyz") == f"{url}/readyz answered 503: the bus is away"


def test_another_path_is_not_found() -> None:
    with health() as url:
        assert "404" in str(trouble(f"{url}/"))


def check(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shared.healthcheck", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"http_proxy": "http://127.0.0.1:1"},  # must not be used
        cwd=Path(__file__).parents[2],
    )


def test_the_program_succeeds_in_silence_where_all_is_well() -> None:
    with health() as url:
        done = check(f"{url}/healthz")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_program_fails_and_says_why() -> None:
    with health() as url:
        done = check(f"{url}/readyz")
    assert done.returncode == 1
    assert "the bus is away" in done.stdout


def test_the_program_fails_where_nobody_listens() -> None:
    with health() as url:
        pass
    assert check(f"{url}/healthz").returncode == 1
