"""A stack of the four services for a test, and a project of digits on it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from pydantic import SecretStr
from sklearn.datasets import load_digits

from services.ui.passwords import hash_password
from shared.credentials import new_api_key
from shared.db import users
from shared.db.pool import Database
from shared.domain import Scope
from shared.settings import DatabaseSettings
from tests.waiting import wait_for
from winnow.client import Client
from winnow.local import free_port
from winnow.oracle import Oracle
from winnow.processes import Processes

PASSWORD = "correct horse battery staple"


class Stack(Protocol):
    """What a test asks of a stack, however it runs."""

    def client(self) -> Client: ...

    def rows(self, sql: str) -> list[dict[str, Any]]: ...


@dataclass
class Running:
    """The services, where to reach them, and what they know."""

    processes: Processes
    ui_url: str
    api_url: str
    database_url: str
    api_key: str

    def client(self) -> Client:
        return Client(self.api_url, self.api_key)

    def add_user(self, username: str) -> None:
        with database(self.database_url) as pool, pool.transaction() as tx:
            users.add(tx, username, username, hash_password(PASSWORD), admin=True)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """For looking at the truth behind the services' backs."""
        with database(self.database_url) as pool, pool.transaction() as tx:
            return tx.all(sql)

    def kill(self, service: str) -> None:
        """SIGKILL, then see it come back."""
        before = self.processes.restarts(service)
        self.processes.process(service).kill()

        def back() -> bool:
            self.processes.tend()
            return self.processes.restarts(service) > before and self.processes.is_up(service)

        wait_for(back, f"{service} to be started again")

    def logs(self) -> str:
        return "\n\n".join(
            f"{name}:\n{self.processes.log_tail(name, 30)}" for name in ("api", "ui", "trainer", "scorer")
        )


@contextmanager
def database(url: str) -> Iterator[Database]:
    pool = Database(DatabaseSettings(url=SecretStr(url), pool_size=2))
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def running(
    database_url: str, env: Mapping[str, str], folder: Path, own: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[Running]:
    """The four services over a migrated database; ``env`` says which bus and store they use, ``own`` is by service."""
    ui, api = free_port(), free_port()
    key = new_api_key()
    with database(database_url) as pool, pool.transaction() as tx:
        users.add_key(
            tx, name="test", prefix=key.prefix, key_sha256=key.sha256, scopes=tuple(set(Scope) - {Scope.BATCH})
        )
    processes = Processes(
        {
            "WINNOW_DATABASE_URL": database_url,
            "WINNOW_UI_PORT": str(ui),
            "WINNOW_API_PORT": str(api),
            "WINNOW_WORKER_LEASE_S": "6",
            "WINNOW_WORKER_SWEEP_EVERY_S": "1",
            **env,
        },
        folder / "logs",
        own=own,
    )
    stack = Running(
        processes=processes,
        ui_url=f"http://127.0.0.1:{ui}",
        api_url=f"http://127.0.0.1:{api}",
        database_url=database_url,
        api_key=key.secret,
    )
    try:
        processes.start()
        processes.wait_ready({"ui": stack.ui_url, "api": stack.api_url})
        yield stack
    finally:
        processes.stop()


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


@dataclass(frozen=True, kw_only=True)
class DigitsProject:
    """A started project; ``truth`` is the class by digest of the image."""

    id: int
    truth: Mapping[str, str]


def digits_project(
    stack: Stack, *, pool: int, holdout: int, name: str = "Handwritten digits", **settings: Any
) -> DigitsProject:
    digits = load_digits()
    bodies = [png(image) for image in digits.images[: pool + holdout]]
    names = [str(target) for target in digits.target[: pool + holdout]]
    truth = {hashlib.sha256(body).hexdigest(): name for body, name in zip(bodies, names, strict=True)}
    values = {"mode": "strict", "channels": 1, "epochs": 5, "shard_size": 100, **settings}
    with stack.client() as client:
        project = client.create_project(name, [str(n) for n in range(10)], values)["id"]
        files = [(f"{at}.png", body) for at, body in enumerate(bodies)]
        client.upload(project, files[:pool])
        held_out = client.upload(project, files[pool:], "holdout")["results"]
        client.import_labels(project, [{"sha256": r["sha256"], "class": truth[r["sha256"]]} for r in held_out])
        client.start(project)
    return DigitsProject(id=project, truth=truth)


def oracle(stack: Running, project: DigitsProject, username: str) -> Oracle:
    stack.add_user(username)
    return Oracle(stack.ui_url, username, PASSWORD, project.id, project.truth, ahead=10)


def project_state(stack: Stack, project: DigitsProject) -> str:
    (row,) = stack.rows(f"SELECT state FROM projects WHERE id = {project.id}")
    return str(row["state"])


def assert_nothing_lost_or_doubled(stack: Stack, project: DigitsProject, confirmed: int) -> None:
    """Every confirmed answer stands, each task has one, each label is true."""
    standing = stack.rows(
        "SELECT a.task_id, a.class_id, l.class_id AS label, c.name, encode(i.sha256, 'hex') AS sha256 "
        "FROM annotations a JOIN images i ON i.id = a.image_id JOIN classes c ON c.id = a.class_id "
        f"LEFT JOIN labels l ON l.image_id = a.image_id WHERE a.project_id = {project.id} AND a.undone_at IS NULL"
    )
    assert len(standing) == confirmed, "every answer that was confirmed is there, and no other"
    assert len({row["task_id"] for row in standing}) == confirmed, "no task has two answers"
    assert all(row["label"] == row["class_id"] for row in standing), "every answer became its image's label"
    assert all(row["name"] == project.truth[row["sha256"]] for row in standing), "and says what the annotator said"
