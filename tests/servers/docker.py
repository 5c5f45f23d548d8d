"""Running a server from a public image, where a Docker daemon answers and the image can be had."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from functools import cache

from tests.servers import Unavailable
from tests.servers.process import free_port

PULL_SECONDS = 300
DAEMON_SECONDS = 10


def _docker(*arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=seconds, check=False)


@cache
def daemon_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        return _docker("version", "--format", "{{.Server.Version}}", seconds=DAEMON_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@cache
def has_image(image: str) -> bool:
    """Whether a daemon answers and has the image. It is never fetched here: a test must not wait for a download."""
    return daemon_answers() and _docker("image", "inspect", image).returncode == 0


def fetch_image(image: str) -> bool:
    """Whether a daemon answers and has the image, or could fetch it just now."""
    if not daemon_answers():
        return False
    try:
        return has_image(image) or _docker("pull", "--quiet", image, seconds=PULL_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Container:
    """One container whose ``port`` is published on a loopback port that stays the same across restarts."""

    restartable = True

    def __init__(
        self,
        image: str,
        port: int,
        env: Mapping[str, str],
        command: Sequence[str] = (),
        folders: Sequence[str] = (),
    ) -> None:
        self.host_port = free_port()
        self._name = f"winnow-test-{uuid.uuid4().hex[:12]}"
        options = ["--hostname", self._name, "--publish", f"127.0.0.1:{self.host_port}:{port}"]
        for key, value in env.items():
            options += ["--env", f"{key}={value}"]
        for folder in folders:  # a volume: made if the image has no such folder, and removed with the container
            options += ["--volume", folder]
        created = _docker("create", "--name", self._name, *options, image, *command)
        if created.returncode != 0:
            raise Unavailable(f"docker create {image} failed: {created.stderr.strip()}")
        # Removes the container if this process ends without saying so, which closes the pipe.
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", 'read _; docker rm --force --volumes "$1"', "watcher", self._name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def start(self) -> None:
        started = _docker("start", self._name)
        if started.returncode != 0:
            raise RuntimeError(f"docker start failed: {started.stderr.strip()}")

    def stop(self) -> None:
        _docker("stop", "--time", "20", self._name)

    def kill(self) -> None:
        _docker("kill", "--signal", "KILL", self._name)

    def remove(self) -> None:
        _docker("rm", "--force", "--volumes", self._name)
        self._watcher.kill()
        self._watcher.communicate()

    def alive(self) -> bool:
        return _docker("inspect", "--format", "{{.State.Running}}", self._name).stdout.strip() == "true"

    def log(self) -> str:
        shown = _docker("logs", "--tail", "60", self._name)
        return shown.stdout + shown.stderr
