"""deploy/docker-compose.yml, run for real: images built, secrets made, one port of the loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.servers import Unavailable, docker
from tests.servers.process import free_port
from tests.waiting import wait_for
from winnow.client import Client

ROOT = Path(__file__).parents[2]
BUILT_FROM = ("deploy", "shared", "services", "winnow", "benchmarks")
BUILT_WITH = (".dockerignore", "pyproject.toml", "constraints.txt", "README.md", "LICENSE")
NOT_COPIED = ("secrets", "worker", "backups", "weights", ".env", "__pycache__")
CUDA_BASE = "pytorch/pytorch:2.14.1-cuda13.0-cudnn9-runtime"
S3_IMAGE = "versity/versitygw:latest"
IMAGES = ("python:3.11-slim-bookworm", "postgres:17", "rabbitmq:4-management", S3_IMAGE, "caddy:2")
SERVICES = ("api", "ui", "trainer", "scorer", "postgres", "rabbitmq", "s3", "caddy")
UP_S = 1500.0
"""The first time the images are built; PyTorch alone is gigabytes."""
HEALTHY_S = 180.0


@cache
def compose_command() -> tuple[str, ...]:
    """Compose v2 if it is there, else docker-compose. Raises ``Unavailable``."""
    if not docker.daemon_answers():
        raise Unavailable("no Docker daemon answers")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ("docker", "compose")
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    raise Unavailable("neither docker compose nor docker-compose is installed")


def require_images() -> None:
    """Raises ``Unavailable`` unless every image that the file names is here or can be fetched."""
    for image in IMAGES:
        if not docker.fetch_image(image):
            raise Unavailable(f"the Docker image {image} can't be had")


def _run(*command: str, env: Mapping[str, str] | None = None, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=seconds, check=False
    )


class Composed:
    """A copy of what is built and run, in a folder, as a Compose project of its own."""

    def __init__(self, folder: Path, source: Path = ROOT, version: str = "test") -> None:
        self.folder = folder
        self.project = f"winnow-test-{uuid.uuid4().hex[:8]}"
        self._copy(source)
        self.port = free_port()
        self.ui_url = f"http://127.0.0.1:{self.port}"
        self.api_key = ""
        self._env = {
            "COMPOSE_PROJECT_NAME": self.project,
            "WINNOW_VERSION": version,
            "WINNOW_BIND": "127.0.0.1",
            **_for_these_images(),
        }

    def become(self, source: Path, version: str) -> None:
        """Another version's code and files, with the settings, secrets and data that are there."""
        for name in set(BUILT_FROM) - {"deploy"}:  # there lie the secrets
            shutil.rmtree(self.folder / name)
        self._copy(source)
        self._env["WINNOW_VERSION"] = version

    def _copy(self, source: Path) -> None:
        ignored = shutil.ignore_patterns(*NOT_COPIED)
        for name in BUILT_FROM:
            shutil.copytree(source / name, self.folder / name, ignore=ignored, dirs_exist_ok=True)
        for name in BUILT_WITH:
            shutil.copy(source / name, self.folder / name)

    def make_secrets(self) -> None:
        made = _run(str(self.folder / "deploy" / "make-secrets"), self.ui_url)
        assert made.returncode == 0, made.stderr

    def secret(self, name: str) -> str:
        return (self.folder / "deploy" / "secrets" / name).read_text()

    def compose(self, *arguments: str, seconds: float = 180) -> str:
        """The command's output; fails the test unless it ends well."""
        done = self.try_compose(*arguments, seconds=seconds)
        assert done.returncode == 0, f"compose {' '.join(arguments)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def try_compose(self, *arguments: str, seconds: float = 180) -> subprocess.CompletedProcess[str]:
        file = str(self.folder / "deploy" / "docker-compose.yml")
        return _run(*compose_command(), "-f", file, *arguments, env=self._env, seconds=seconds)

    def up(self) -> None:
        """Build, start, and return once everything is healthy."""
        self.compose("up", "-d", "--build", seconds=UP_S)
        self.wait_healthy()

    def wait_healthy(self) -> None:
        for service in SERVICES:
            wait_for(lambda service=service: self.health(service) == ["healthy"], f"{service} to be healthy", HEALTHY_S)  # type: ignore[misc]

    def winnow(self, *arguments: str, seconds: float = 180) -> str:
        """``docker compose run --rm winnow ...``"""
        return self.compose("run", "--rm", "-T", "winnow", *arguments, seconds=seconds)

    def down(self, *, volumes: bool) -> None:
        self.compose("down", "--remove-orphans", *(["--volumes"] if volumes else []))

    def containers(self, service: str) -> list[str]:
        label = f"label=com.docker.compose.project={self.project}"
        found = _run("docker", "ps", "-q", "-f", label, "-f", f"label=com.docker.compose.service={service}")
        return found.stdout.split()

    def inspect(self, container: str) -> dict[str, Any]:
        (found,) = json.loads(_run("docker", "inspect", container).stdout)
        return dict(found)

    def health(self, service: str) -> list[str]:
        return [self.inspect(one)["State"]["Health"]["Status"] for one in self.containers(service)]

    def kill(self, service: str) -> None:
        """SIGKILL to its first process, as when it crashes or memory runs out: Docker then starts it again.

        Not ``docker kill``, which Docker takes for a wish. From a container that sees the host's processes, because
        those of the service may belong to root.
        """
        for container in self.containers(service):
            pid = self.inspect(container)["State"]["Pid"]
            options = ("--rm", "--user", "0", "--pid", "host", "--entrypoint", "sh")
            killed = _run("docker", "run", *options, IMAGES[0], "-c", f"kill -9 {pid}")
            assert killed.returncode == 0, killed.stderr

    def logs(self, *services: str) -> str:
        return self.compose("logs", "--no-color", *services)

    def log_lines(self, *services: str) -> list[dict[str, Any]]:
        """What the services logged, as they logged it."""
        bodies = re.findall(r"(\{.*\})\s*$", self.logs(*services), re.MULTILINE)
        return [json.loads(body) for body in bodies]

    def client(self) -> Client:
        if not self.api_key:
            made = self.winnow("keys", "create", "test", "--scopes", "read,ingest,label,manage")
            (self.api_key,) = re.findall(r"wnw_\w+_[\w-]+", made)
        return Client(self.ui_url, self.api_key)

    def add_user(self, username: str, password: str) -> None:
        self.winnow("users", "add", username, "--admin", "--password", password)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """For looking at the truth behind the services' backs."""
        wrapped = f"SELECT coalesce(json_agg(q), '[]') FROM ({sql}) q"
        answer = self.compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-d", "winnow", "-At", "-c", wrapped)
        return list(json.loads(answer))


def _for_these_images() -> dict[str, str]:
    """Settings for what happens to be here under the public names."""
    settings = {}
    if docker.has_image(CUDA_BASE):  # has PyTorch already
        settings["WINNOW_ML_BASE"] = CUDA_BASE
    binary = _run("docker", "run", "--rm", "--entrypoint", "sh", S3_IMAGE, "-c", "command -v versitygw")
    if binary.returncode != 0:  # another S3 server, which may need to be root in its container
        settings["WINNOW_S3_USER"] = "0:0"
    return settings
