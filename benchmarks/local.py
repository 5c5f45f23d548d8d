"""A ui of its own for a benchmark: embedded Postgres, files, and the service as a process, as ``winnow up`` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr

from services.ui.passwords import hash_password
from shared.db import users
from shared.db.migrate import migrate
from shared.domain import User
from shared.errors import Retryable
from shared.settings import BusSettings, DatabaseSettings, StoreSettings
from shared.system import System, assemble
from winnow.local import free_port, start_postgres

PASSWORD = "measured, not guessed"
_PATIENCE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """``system`` works on the database and the store that the service at ``url`` works on."""

    system: System
    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """What the service has used of processors so far, by the kernel's account."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served_ui(connections: int = 20) -> Iterator[Place]:
    """All of it lives for the block, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        folder = Path(name)
        (folder / "postgres").mkdir()
        server = start_postgres(folder / "postgres")
        try:
            url = server.get_uri()
            migrate(url)
            system = assemble(
                DatabaseSettings(url=SecretStr(url), pool_size=connections),
                BusSettings(),
                StoreSettings(path=folder / "objects"),
            )
            try:
                with _service(folder, url) as (address, pid):
                    yield Place(system=system, url=address, pid=pid)
            finally:
                system.close()
        finally:
            server.stop()


def add_users(system: System, names: list[str]) -> list[User]:
    """They all sign in with ``PASSWORD``."""
    secret = hash_password(PASSWORD)
    with system.ledger.transaction() as tx:
        return [users.add(tx, name, name, secret, admin=True) for name in names]


@contextmanager
def _service(folder: Path, database_url: str) -> Iterator[tuple[str, int]]:
    port = free_port()
    environment = {
        **os.environ,
        "WINNOW_DATABASE_URL": database_url,
        "WINNOW_STORE_PATH": str(folder / "objects"),
        "WINNOW_UI_PORT": str(port),
    }
    with (folder / "ui.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "services.ui"], env=environment, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        await_ready(address)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def await_ready(address: str) -> None:
    """Return once the service answers. Raises ``Retryable`` if it doesn't come up."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise Retryable(f"the ui did not come up within {_PATIENCE_S:.0f} s")
