"""Runs the four services as child processes and keeps them running: one that dies is started again.

What they connect to is decided by the environment they are given, so this serves the local stack (embedded Postgres,
files) and tests against RabbitMQ and S3 alike.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from shared.errors import NotFound, Permanent

SERVICES = ("api", "ui", "trainer", "scorer")
_STOP_S = 12.0
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.3, 10.0
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """On Linux, ask the kernel for SIGTERM when the parent ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _threads() -> dict[str, str]:
    """Trainer and scorer share the cores; OpenMP threads that outnumber them, or spin, cost more than they do."""
    return {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2))}


@dataclass
class _Child:
    name: str
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    start_at: float = 0.0
    delay: float = field(default=_FIRST_DELAY_S)


class Processes:
    """The four services. Not thread-safe; ``start`` and ``tend`` belong to one thread.

    Parameters
    ----------
    own : by service, what is only in its own environment, and before ``env``.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        logs: Path,
        on_restart: Callable[[str, int], None] = lambda name, code: None,
        own: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        shared = {**_threads(), **os.environ, **env}
        self._env = {name: {**shared, **(own or {}).get(name, {})} for name in SERVICES}
        self._logs = logs
        self._on_restart = on_restart
        self._children = {name: _Child(name) for name in SERVICES}

    def start(self) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        for child in self._children.values():
            self._launch(child)

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """A service's process. Raises ``NotFound`` while it is down."""
        process = self._children[name].process
        if process is None or not self.is_up(name):
            raise NotFound(f"{name} is not running")
        return process

    def is_up(self, name: str) -> bool:
        process = self._children[name].process
        return process is not None and process.poll() is None

    def restarts(self, name: str) -> int:
        return self._children[name].restarts

    def tend(self) -> None:
        """Start again what has died; call often. Waits longer each time a service dies soon after its start."""
        now = time.monotonic()
        for child in self._children.values():
            if child.process is None:
                if now >= child.start_at:
                    self._launch(child)
            elif (code := child.process.poll()) is not None:
                lived = now - child.start_at
                child.delay = _FIRST_DELAY_S if lived > 30 else min(child.delay * 2, _LONGEST_DELAY_S)
                child.process, child.start_at = None, now + child.delay
                child.restarts += 1
                self._on_restart(child.name, code)

    def wait_ready(self, urls: Mapping[str, str], timeout_s: float = 60.0) -> None:
        """Return once every ``name: url`` answers ``/readyz`` with 200. Raises ``Permanent`` with the log's end."""
        deadline = time.monotonic() + timeout_s
        for name, url in urls.items():
            while not _is_ready(url):
                self.tend()
                if time.monotonic() > deadline or self.restarts(name) >= 3:
                    raise Permanent(f"the {name} service does not come up; its log ends:\n{self.log_tail(name)}")
                time.sleep(0.1)

    def log_tail(self, name: str, lines: int = 20) -> str:
        path = self._logs / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def stop(self) -> None:
        """SIGTERM to all, then SIGKILL to what is left after a while."""
        alive = [c.process for c in self._children.values() if c.process is not None and c.process.poll() is None]
        for process in alive:
            process.terminate()
        deadline = time.monotonic() + _STOP_S
        for process in alive:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _launch(self, child: _Child) -> None:
        with (self._logs / f"{child.name}.log").open("ab") as log:
            child.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{child.name}"],
                env=self._env[child.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the services in good order
                preexec_fn=_die_with_parent,
            )
        child.start_at = time.monotonic()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5.0).status_code == 200
    except httpx.HTTPError:
        return False
