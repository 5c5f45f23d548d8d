"""Leasing and answering: 8 annotators empty a queue of 4,000 tasks, leases of 5, over embedded Postgres.

The limit is the bare work of the database: as many one-row inserts with their commits, from as many threads. The
peer is the textbook queue: SELECT ... FOR UPDATE without SKIP LOCKED, one task at a time.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import SecretStr

from benchmarks.report import Row
from shared.db import images, projects, rounds, tasks, users
from shared.db.migrate import migrate
from shared.db.tasks import Lease
from shared.domain import NewImage, NewTask, ProjectSettings, ProjectState, RoundState
from shared.settings import BusSettings, DatabaseSettings, StoreSettings
from shared.system import System, assemble
from winnow.local import start_postgres

TASKS, ANNOTATORS, AHEAD = 4_000, 8, 5


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        folder = Path(name)
        (folder / "postgres").mkdir()
        server = start_postgres(folder / "postgres")
        try:
            url = server.get_uri()
            migrate(url)
            system = assemble(
                DatabaseSettings(url=SecretStr(url), pool_size=ANNOTATORS + 2),
                BusSettings(),
                StoreSettings(path=folder / "objects"),
            )
            try:
                ours = _pairs_per_second(system, "ours", _skip_locked)
                peer = _pairs_per_second(system, "peer", _blocking)
                limit = _inserts_per_second(system)
            finally:
                system.close()
        finally:
            server.stop()
    return [
        Row(
            case=f"{ANNOTATORS} annotators, {TASKS:,} tasks, {AHEAD} leased ahead",
            metric="lease and answer",
            value=ours,
            unit="tasks/s",
            better="higher",
            limit=limit,
            peer=peer,
            peer_name="SELECT FOR UPDATE, one at a time",
        )
    ]


Work = Callable[[System, int, int, int], int]


def _pairs_per_second(system: System, name: str, work: Work) -> float:
    """Tasks answered per second until the queue is empty, every one of them once."""
    with system.ledger.transaction() as tx:
        project = projects.create(tx, name, ["a", "b"], ProjectSettings())
        (first, _) = projects.classes(tx, project.id)
        new = [
            NewImage(sha256=uuid.uuid4().hex * 2, filename="x", width=1, height=1, bytes=1, format="PNG")
            for _ in range(TASKS)
        ]
        stored = images.add(tx, project.id, new)
        current = rounds.begin(tx, project.id, 0, RoundState.SELECTING, 0)
        tasks.add(tx, project.id, current.id, [NewTask(image_id=i.id, priority=n) for n, i in enumerate(stored)])
        projects.set_state(tx, project.id, ProjectState.RUNNING)
        people = [users.add(tx, f"{name}-{n}", name, "-") for n in range(ANNOTATORS)]
    started = time.perf_counter()
    with ThreadPoolExecutor(ANNOTATORS) as pool:
        done = sum(pool.map(lambda p: work(system, project.id, p.id, first.id), people))
    seconds = time.perf_counter() - started
    if done != TASKS:
        raise AssertionError(f"{done} answers to {TASKS} tasks")
    return TASKS / seconds


def _skip_locked(system: System, project: int, user: int, chosen: int) -> int:
    done = 0
    while leased := system.labelling.lease(project, user, count=AHEAD):  # type: ignore[arg-type]
        for task in leased:
            lease = Lease(task_id=task.id, fence=task.fence)
            system.labelling.submit(project, user, lease, chosen, key=uuid.uuid4().hex)  # type: ignore[arg-type]
            done += 1
    return done


def _blocking(system: System, project: int, user: int, chosen: int) -> int:
    """What one would write without knowing better."""
    done = 0
    values = {"project": project, "user": user, "class": chosen}
    while True:
        with system.ledger.transaction() as tx:
            task = tx.one(
                "SELECT id, image_id FROM tasks WHERE project_id = %(project)s AND state = 'open' "
                "ORDER BY priority, id LIMIT 1 FOR UPDATE",
                values,
            )
            if task is None:
                left = tx.one("SELECT 1 AS left FROM tasks WHERE project_id = %(project)s AND state = 'open'", values)
                if left is None:
                    return done
                continue  # somebody else took the row that this one waited for
            tx.run("UPDATE tasks SET state = 'done' WHERE id = %(id)s", task)
            tx.run(
                "INSERT INTO annotations (task_id, image_id, project_id, user_id, class_id, idempotency_key, fence) "
                "VALUES (%(id)s, %(image_id)s, %(project)s, %(user)s, %(class)s, gen_random_uuid()::text, 0)",
                values | task,
            )
            tx.run(
                "INSERT INTO labels (image_id, project_id, class_id, source) "
                "VALUES (%(image_id)s, %(project)s, %(class)s, 'human')",
                values | task,
            )
        done += 1


def _inserts_per_second(system: System) -> float:
    """Committed one-row inserts per second from as many threads."""

    def insert(count: int) -> None:
        for _ in range(count):
            with system.ledger.transaction() as tx:
                tx.run("INSERT INTO events (actor, kind) VALUES ('bench', 'insert')")

    started = time.perf_counter()
    with ThreadPoolExecutor(ANNOTATORS) as pool:
        list(pool.map(insert, [TASKS // ANNOTATORS] * ANNOTATORS))
    return TASKS / (time.perf_counter() - started)
