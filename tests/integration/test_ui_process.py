"""The ui as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.waiting import wait_for


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def process(migrated_database_url: str, tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "WINNOW_DATABASE_URL": migrated_database_url,
        "WINNOW_STORE_PATH": str(tmp_path),
        "WINNOW_UI_PORT": str(port),
    }
    started = subprocess.Popen([sys.executable, "-m", "services.ui"], env=environment)
    yield started
    started.kill()
    started.wait()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("request_to_stop", [signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_well_when_it_is_told_to(
    process: subprocess.Popen[bytes], port: int, request_to_stop: signal.Signals
) -> None:
    wait_for(lambda: _is_ready(port), "the service to be ready")
    process.send_signal(request_to_stop)
    assert process.wait(timeout=10) == 0
