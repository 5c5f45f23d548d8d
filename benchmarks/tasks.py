"""Next and submit: annotators, each in a hurry, ask for a task and answer it, over HTTP and over the bare SQL.

Every pair is a lease of one task and an answer to it. Over HTTP as the labelling page does it, the answer and the wish
for the next task in one call; besides, in two calls, as a program may. From processes of their own, one kept
connection per annotator, to the ui as ``winnow up`` runs it; all of them, the service and Postgres share this machine.
The limit is the same two steps on the database without HTTP, from as many threads; its own peer is the textbook queue,
SELECT ... FOR UPDATE without SKIP LOCKED.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from multiprocessing import get_context
from threading import BrokenBarrierError
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np

from benchmarks.local import PASSWORD, Place, add_users, served_ui
from benchmarks.report import Row
from shared.db import projects
from shared.db.pool import Tx
from shared.db.tasks import Lease
from shared.domain import ClassId, ProjectId, ProjectSettings, ProjectState, UserId
from shared.errors import Invalid
from shared.system import System

SMALL_POOL, PAIRS, SENDERS = 1_000, 4_000, 4
_READY_S = 120.0
GOAL_PAIRS, GOAL_P95_MS = 300.0, 50.0
_FILL = """
WITH new AS (
    INSERT INTO images (project_id, sha256, filename, width, height, bytes, format, state)
    SELECT %(project)s, sha256(convert_to(%(project)s || '-' || n, 'UTF8')), n || '.png', 8, 8, 99, 'PNG', 'ready'
    FROM generate_series(1, %(count)s) AS n RETURNING id
)
INSERT INTO tasks (project_id, image_id, kind, priority, strategy)
SELECT %(project)s, id, 'query', id, 'random' FROM new
"""


@dataclass(frozen=True, kw_only=True)
class Queue:
    project: ProjectId
    chosen: ClassId
    people: Sequence[UserId]
    names: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What a run of pairs took: milliseconds of each, and the seconds of all together."""

    ms: Sequence[float]
    seconds: float
    cpu_seconds: float = 0.0
    """Of the service's process."""

    @property
    def per_second(self) -> float:
        return len(self.ms) / self.seconds

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.ms, share))


def run(annotators: int = 16, pool: int = 100_000) -> list[Row]:
    """``pool`` tasks wait in the queue, from which so many ``annotators`` take and answer at once."""
    if annotators < 1 or pool < SMALL_POOL:
        raise Invalid(f"there must be an annotator at least, and a pool of {SMALL_POOL:,} tasks")
    rows: list[Row] = []
    with served_ui(annotators + 4) as place:
        for size in sorted({SMALL_POOL, pool}):
            case = f"{annotators} annotators, {size:,} tasks waiting"
            queue = _queue(place.system, f"queue-{size}", size, annotators)
            pairs = min(PAIRS, size // 5)
            bare = _over_sql(place.system, queue, pairs)
            textbook = _over_sql(place.system, queue, pairs, _blocking)
            apart = _over_http(place, queue, pairs, joined=False)
            http = _over_http(place, queue, pairs, joined=True)
            rows += _rows(case, http, apart, bare, textbook)
    return rows


def _rows(case: str, http: Pairs, apart: Pairs, bare: Pairs, textbook: Pairs) -> list[Row]:
    def late(share: int, goal: float | None, run: Pairs = http, how: str = "") -> Row:
        return Row(
            case=case,
            metric=f"next and submit over HTTP{how}, p{share}",
            value=run.percentile(share),
            unit="ms",
            better="lower",
            goal=goal,
            peer=bare.percentile(share),
            peer_name="the same SQL without HTTP",
        )

    return [
        Row(
            case=case,
            metric="next and submit over HTTP",
            value=http.per_second,
            unit="pairs/s",
            better="higher",
            goal=GOAL_PAIRS,
            limit=bare.per_second,
        ),
        late(50, None),
        late(95, GOAL_P95_MS),
        late(99, None),
        Row(
            case=case,
            metric="next and submit over HTTP in two calls",
            value=apart.per_second,
            unit="pairs/s",
            better="higher",
        ),
        late(95, None, apart, " in two calls"),
        Row(
            case=case,
            metric="the ui's processor time for a pair",
            value=1000 * http.cpu_seconds / len(http.ms),
            unit="ms",
            better="lower",
        ),
        Row(
            case=case,
            metric="next and submit, SQL only",
            value=bare.per_second,
            unit="pairs/s",
            better="higher",
            peer=textbook.per_second,
            peer_name="SELECT FOR UPDATE without SKIP LOCKED",
        ),
    ]


def _queue(system: System, name: str, size: int, annotators: int) -> Queue:
    names = [f"{name}-{n}" for n in range(annotators)]
    people = add_users(system, names)
    with system.ledger.transaction() as tx:
        project = projects.create(tx, name, ["a", "b"], ProjectSettings())
        (first, _) = projects.classes(tx, project.id)
        tx.run(_FILL, {"project": project.id, "count": size})
        projects.set_state(tx, project.id, ProjectState.RUNNING)
        tx.run("ANALYZE images; ANALYZE tasks")
    return Queue(project=project.id, chosen=first.id, people=[one.id for one in people], names=names)


# Without HTTP

OnePair = Callable[[System, Queue, UserId], int]


def _over_sql(system: System, queue: Queue, pairs: int, work: OnePair | None = None) -> Pairs:
    one_pair, each = work or _skip_locked, pairs // len(queue.people)

    def annotate(person: UserId) -> tuple[list[int], list[float]]:
        done, ms = [], []
        for _ in range(each):
            began = time.perf_counter()
            done.append(one_pair(system, queue, person))
            ms.append(1000 * (time.perf_counter() - began))
        return done, ms

    began = time.perf_counter()
    with ThreadPoolExecutor(len(queue.people)) as threads:
        answered = list(threads.map(annotate, queue.people))
    return _checked(answered, time.perf_counter() - began)


def _skip_locked(system: System, queue: Queue, person: UserId) -> int:
    (task,) = system.labelling.lease(queue.project, person, count=1)
    lease = Lease(task_id=task.id, fence=task.fence)
    system.labelling.submit(queue.project, person, lease, queue.chosen, key=uuid.uuid4().hex)
    return int(task.id)


def _blocking(system: System, queue: Queue, person: UserId) -> int:
    """What one would write without knowing better."""
    values: dict[str, Any] = {"project": queue.project, "user": person, "class": queue.chosen}
    while True:
        with system.ledger.transaction() as tx:
            task = _first_open(tx, values)
            if task is None:
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
        return int(task["id"])


def _first_open(tx: Tx, values: dict[str, Any]) -> dict[str, Any] | None:
    return tx.one(
        "SELECT id, image_id FROM tasks WHERE project_id = %(project)s AND state = 'open' "
        "ORDER BY priority, id LIMIT 1 FOR UPDATE",
        values,
    )


# Over HTTP


def _over_http(place: Place, queue: Queue, pairs: int, *, joined: bool) -> Pairs:
    """Signed in, connected and warmed up before the clock runs. ``joined``: an answer brings the next task."""
    each, groups = pairs // len(queue.names), [queue.names[n::SENDERS] for n in range(SENDERS)]
    with get_context("spawn").Manager() as manager:
        ready = manager.Barrier(len([g for g in groups if g]) + 1)
        with ProcessPoolExecutor(SENDERS, mp_context=get_context("spawn")) as processes:
            sent = [
                processes.submit(_send, place.url, names, queue.project, queue.chosen, each, joined, ready)
                for names in groups
                if names
            ]
            with suppress(BrokenBarrierError):  # one of them says below what went wrong
                ready.wait(_READY_S)
            began, used = time.perf_counter(), place.cpu_seconds()
            answered = [result for one in sent for result in one.result()]
            seconds, used = time.perf_counter() - began, place.cpu_seconds() - used
    return replace(_checked(answered, seconds), cpu_seconds=used)


def _send(
    url: str, names: Sequence[str], project: int, chosen: int, each: int, joined: bool, ready: Any
) -> list[tuple[list[int], list[float]]]:
    """In a process of its own: some annotators, a thread each."""
    try:
        annotators = [_Annotator(url, name, project, chosen) for name in names]
    except BaseException:
        ready.abort()
        raise
    ready.wait(_READY_S)
    with ThreadPoolExecutor(len(annotators)) as threads:
        return list(threads.map(lambda one: one.pairs(each, joined), annotators))


class _Annotator:
    """One kept connection, and as little work of its own as can be: what is measured is the service."""

    def __init__(self, url: str, name: str, project: int, chosen: int) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc)
        self._base, self._chosen = f"/v1/projects/{project}", chosen
        self._headers = {"content-type": "application/x-www-form-urlencoded"}
        self._call("POST", "/sign-in", urlencode({"username": name, "password": PASSWORD}))
        self.pair()  # warms the service up
        self._connection.close()  # the service would close it while the others sign in; it is opened again when needed

    def pairs(self, count: int, joined: bool) -> tuple[list[int], list[float]]:
        done, ms = [], []
        held = self._next() if joined else None
        for _ in range(count):
            began = time.perf_counter()
            task = held or self._next()
            done.append(int(task["task_id"]))
            answered = self._answer(task, {"lease": 1} if joined else {})
            ms.append(1000 * (time.perf_counter() - began))
            if joined:
                (held,) = answered["next"]["tasks"]
        return done, ms

    def pair(self) -> None:
        self._answer(self._next(), {})

    def _next(self) -> Any:
        (task,) = self._call("POST", f"{self._base}/leases", '{"count": 1}')["tasks"]
        return task

    def _answer(self, task: Any, more: dict[str, int]) -> Any:
        answer = json.dumps({"fence": task["fence"], "class_id": self._chosen, "duration_ms": 900, **more})
        return self._call("POST", f"{self._base}/tasks/{task['task_id']}/annotation", answer, key=uuid.uuid4().hex)

    def _call(self, method: str, path: str, body: str, key: str = "-") -> Any:
        self._connection.request(method, path, body, {**self._headers, "Idempotency-Key": key})
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= 400:
            raise AssertionError(f"{path}: {response.status} {text[:300]!r}")
        if cookie := response.getheader("set-cookie"):
            self._headers = {"content-type": "application/json", "cookie": cookie.split(";")[0]}
        return json.loads(text) if text else None


def _checked(answered: Sequence[tuple[list[int], list[float]]], seconds: float) -> Pairs:
    """Raises ``AssertionError`` if a task was handed out twice."""
    done = [task for tasks, _ in answered for task in tasks]
    if len(done) != len(set(done)):
        raise AssertionError(f"{len(done) - len(set(done))} tasks were answered twice")
    return Pairs(ms=[one for _, ms in answered for one in ms], seconds=seconds)
