"""Many annotators at once while the ui and the api are killed: what was acknowledged is there, once, and no more.

Every annotator is a person of their own with a connection of their own. A call that fails is sent again, an answer
under the same key, as the page does. Every few seconds the ui or the api is killed (SIGKILL) and started again. In the
end what they were told is held against the database.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from pydantic import SecretStr

from benchmarks.local import PASSWORD, add_users, await_ready
from benchmarks.report import Row
from shared.db import projects, tasks
from shared.db.migrate import migrate
from shared.domain import ImageId, NewTask, Overlap, ProjectId, ProjectSettings, ProjectState
from shared.errors import Invalid
from shared.settings import BusSettings, DatabaseSettings, StoreSettings
from shared.system import System, assemble
from winnow.local import free_port, start_postgres

SENDERS, KILL_EVERY_S, LEASE_S = 4, 15.0, 20
_READY_S = 600.0
_FILL = """
INSERT INTO images (project_id, sha256, filename, width, height, bytes, format, state)
SELECT %(project)s, sha256(convert_to(%(project)s || '-' || n, 'UTF8')), n || '.png', 8, 8, 99, 'PNG', 'ready'
FROM generate_series(1, %(count)s) AS n RETURNING id
"""


def run(annotators: int = 64, seconds: int = 120, pool: int = 30_000) -> list[Row]:
    """For ``seconds`` at an overlap of 1, then at one of 3, over a queue of ``pool`` questions."""
    if annotators < 4 or seconds < 5:
        raise Invalid("there must be 4 annotators at least, and 5 seconds")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="winnow-crowd-") as name, _system(Path(name)) as (system, environment):
        for overlap in (1, 3):
            rows += _round(system, environment, Path(name), annotators, seconds, pool, overlap)
    return rows


@contextmanager
def _system(folder: Path) -> Iterator[tuple[System, dict[str, str]]]:
    (folder / "postgres").mkdir()
    server = start_postgres(folder / "postgres")
    try:
        url = server.get_uri()
        migrate(url)
        environment = {**os.environ, "WINNOW_DATABASE_URL": url, "WINNOW_STORE_PATH": str(folder / "objects")}
        system = assemble(DatabaseSettings(url=SecretStr(url)), BusSettings(), StoreSettings(path=folder / "objects"))
        try:
            yield system, environment
        finally:
            system.close()
    finally:
        server.stop()


def _round(
    system: System,
    environment: dict[str, str],
    folder: Path,
    annotators: int,
    seconds: int,
    pool: int,
    overlap: int,
) -> list[Row]:
    names = [f"crowd-{overlap}-{n}" for n in range(annotators)]
    add_users(system, names)
    project, chosen = _open(system, f"overlap {overlap}", pool, overlap)
    with _Services(environment, folder) as services:
        told = _annotate(services, names, project, chosen, seconds)
        kills = dict(services.kills)
    return _rows(system, project, told, kills, annotators, seconds, overlap)


def _open(system: System, name: str, pool: int, overlap: int) -> tuple[ProjectId, list[int]]:
    with system.ledger.transaction() as tx:
        settings = ProjectSettings(overlap=overlap, lease_seconds=LEASE_S)
        project = projects.create(tx, name, ["a", "b", "c"], settings)
        ids = [ImageId(row["id"]) for row in tx.all(_FILL, {"project": project.id, "count": pool})]
        new = [NewTask(image_id=image, priority=float(rank)) for rank, image in enumerate(ids)]
        tasks.add(tx, project.id, None, new, asked_of=Overlap(copies=overlap, most=overlap))
        projects.set_state(tx, project.id, ProjectState.RUNNING)
        tx.run("ANALYZE images; ANALYZE tasks; ANALYZE questions")
        return project.id, [one.id for one in projects.classes(tx, project.id)]


@dataclass
class _Services:
    """The ui and the api; while the block runs, one of them after the other is killed and started again."""

    environment: dict[str, str]
    folder: Path
    kills: dict[str, int] = field(default_factory=lambda: {"ui": 0, "api": 0})
    ports: dict[str, int] = field(default_factory=lambda: {"ui": free_port(), "api": free_port()})
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> _Services:
        for name in self.ports:
            self._start(name)
        self._killer = threading.Thread(target=self._kill_now_and_then, daemon=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        if self._killer.is_alive():
            self._killer.join()
        for process in self.running.values():
            process.terminate()
            process.wait(timeout=30)

    def begin_killing(self) -> None:
        self._killer.start()

    def _start(self, name: str) -> None:
        environment = {**self.environment, f"WINNOW_{name.upper()}_PORT": str(self.ports[name])}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"], env=environment, stdout=log, stderr=log
            )
        await_ready(f"http://127.0.0.1:{self.ports[name]}")

    def _kill_now_and_then(self) -> None:
        turn = ["ui", "api"]
        while not self._done.wait(KILL_EVERY_S):
            name = turn[sum(self.kills.values()) % 2]
            self.running[name].send_signal(signal.SIGKILL)
            self.running[name].wait()
            self.kills[name] += 1
            self._start(name)


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What annotators were told: the ids of annotations that were acknowledged, and how often a call failed."""

    acknowledged: list[int]
    failures: int
    refused: int


def _annotate(services: _Services, names: Sequence[str], project: int, chosen: list[int], seconds: int) -> list[_Told]:
    groups = [names[n::SENDERS] for n in range(SENDERS)]
    with get_context("spawn").Manager() as manager:
        ready = manager.Barrier(SENDERS + 1)
        with ProcessPoolExecutor(SENDERS, mp_context=get_context("spawn")) as processes:
            sent = [
                processes.submit(_send, services.ports["ui"], group, project, chosen, seconds, ready)
                for group in groups
            ]
            ready.wait(_READY_S)
            services.begin_killing()
            return [one for result in sent for one in result.result()]


def _send(port: int, names: Sequence[str], project: int, chosen: list[int], seconds: int, ready: Any) -> list[_Told]:
    """In a process of its own: some annotators, a thread each."""
    people = [_Person(port, name, project, chosen) for name in names]
    ready.wait(_READY_S)
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(len(people)) as threads:
        return list(threads.map(lambda one: one.work(until), people))


class _Person:
    def __init__(self, port: int, name: str, project: int, chosen: list[int]) -> None:
        self._port, self._base, self._chosen = port, f"/v1/projects/{project}", chosen
        self._rng = np.random.default_rng([ord(letter) for letter in name])
        self._headers: dict[str, str] = {"content-type": "application/x-www-form-urlencoded"}
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)
        self.acknowledged: list[int] = []
        self.failures = self.refused = 0
        _, cookie, _ = self._once("POST", "/sign-in", urlencode({"username": name, "password": PASSWORD}), "-")
        self._headers = {"content-type": "application/json", "cookie": cookie or ""}

    def work(self, until: float) -> _Told:
        while time.monotonic() < until:
            status, leased = self._until_answered("POST", f"{self._base}/leases", '{"count": 2}', "-")
            if status != 200 or not leased["tasks"]:
                time.sleep(0.2)
                continue
            for task in leased["tasks"]:
                self._answer(task)
        return _Told(acknowledged=self.acknowledged, failures=self.failures, refused=self.refused)

    def _answer(self, task: Any) -> None:
        chosen = self._chosen[0 if self._rng.random() < 0.9 else 1]
        body = json.dumps({"fence": task["fence"], "class_id": chosen, "duration_ms": 900})
        path = f"{self._base}/tasks/{task['task_id']}/annotation"
        status, said = self._until_answered("POST", path, body, uuid.uuid4().hex)
        if status in (200, 201):
            self.acknowledged.append(int(said["annotation_id"]))
        else:
            self.refused += 1  # the lease ran out while the service was away, and somebody else has it

    def _until_answered(self, method: str, path: str, body: str, key: str) -> tuple[int, Any]:
        while True:
            try:
                status, _, said = self._once(method, path, body, key)
                if status < 500:
                    return status, said
            except (OSError, HTTPException):
                pass
            self.failures += 1
            self._connection.close()
            time.sleep(0.2)

    def _once(self, method: str, path: str, body: str, key: str) -> tuple[int, str | None, Any]:
        self._connection.request(method, path, body, {**self._headers, "Idempotency-Key": key})
        response = self._connection.getresponse()
        text = response.read()
        cookie = response.getheader("set-cookie")
        said = json.loads(text) if "json" in (response.getheader("content-type") or "") else None
        return response.status, cookie and cookie.split(";")[0], said


def _rows(
    system: System,
    project: ProjectId,
    told: Sequence[_Told],
    kills: dict[str, int],
    annotators: int,
    seconds: int,
    overlap: int,
) -> list[Row]:
    """Raises ``AssertionError`` if anything was lost, doubled, or beyond the overlap."""
    acknowledged = [one for person in told for one in person.acknowledged]
    with system.ledger.transaction() as tx:
        rows = tx.all(
            "SELECT id, image_id, user_id FROM annotations WHERE project_id = %(p)s AND undone_at IS NULL",
            {"p": project},
        )
        labelled = tx.one("SELECT count(*) AS n FROM labels WHERE project_id = %(p)s", {"p": project})
        disputed = tx.one(
            "SELECT count(*) AS n FROM questions WHERE project_id = %(p)s AND state = 'disagreed'", {"p": project}
        )
    per_image = np.bincount(np.unique([row["image_id"] for row in rows], return_inverse=True)[1])
    pairs = [(row["image_id"], row["user_id"]) for row in rows]
    counts = {
        "answers acknowledged": len(acknowledged),
        "answers in the database": len(rows),
        "lost": len(set(acknowledged) - {row["id"] for row in rows}),
        "acknowledged twice under other keys": len(acknowledged) - len(set(acknowledged)),
        "images answered beyond the overlap": int((per_image > overlap).sum()),
        "images answered twice by one person": len(pairs) - len(set(pairs)),
        "images answered by all": int((per_image == overlap).sum()),
        "labels": labelled["n"] if labelled else 0,
        "before a reviewer": disputed["n"] if disputed else 0,
        "ui killed": kills["ui"],
        "api killed": kills["api"],
        "calls that failed and were sent again": sum(person.failures for person in told),
        "answers refused, their lease lost": sum(person.refused for person in told),
    }
    never = ("lost", "acknowledged twice under other keys", "images answered beyond the overlap")
    if any(counts[name] for name in (*never, "images answered twice by one person")):
        raise AssertionError(str(counts))
    case = f"{annotators} annotators, overlap {overlap}, {seconds} s"
    return [
        Row(case=case, metric=name, value=float(value), unit="", better="lower" if name in never else "higher")
        for name, value in counts.items()
    ]
