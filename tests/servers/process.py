"""Starting one server program, and making sure that it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol


class Runner(Protocol):
    """Whatever carries a server: a process, a container, or somebody else."""

    restartable: bool

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def alive(self) -> bool: ...
    def log(self) -> str: ...


class Elsewhere:
    """A server that somebody else runs: it is there already and is left alone."""

    restartable = False

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None:
        raise RuntimeError("a server named by an environment variable is never killed")

    def alive(self) -> bool:
        return True

    def log(self) -> str:
        return "(no log: the server was named by an environment variable)"


class Process:
    """A program in a process group of its own, which is killed as a whole, also when this process is killed.

    A watcher sits in the same group and reads from a pipe that only this process holds open: when this process ends in
    whatever way, the pipe closes and the watcher kills its own group.
    """

    restartable = True

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self._command = list(command)
        self._env = dict(env)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.alive():
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", "read _; kill -KILL 0"], stdin=subprocess.PIPE, process_group=self._process.pid
        )

    def stop(self) -> None:
        """Ask the program to end, and end whatever is left after 15 seconds."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the program, its children and the watcher, at once."""
        if self._process is None or self._watcher is None:
            return
        # The watcher is in the group and not yet waited for, so the group's number is still ours.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._watcher.wait()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()
        self._process = self._watcher = None

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, runner: Runner, seconds: float = 120) -> None:
    """Poll until ``condition`` holds. The error names ``what`` was waited for and shows the end of the server's log."""
    deadline = time.monotonic() + seconds
    while not condition():
        if not runner.alive():
            raise RuntimeError(f"the server ended while waiting until {what}:\n{runner.log()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds:.0f} s in vain until {what}:\n{runner.log()}")
        time.sleep(0.05)
