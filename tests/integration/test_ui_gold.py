"""On the wire, a question whose answer is known is like any other: nobody who labels can tell them apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.db import gold, labels
from shared.domain import RoundMode, TaskKind
from tests.integration.ui_support import Ui, open_ui
from tests.world import World, build


@pytest.fixture
def ui(migrated_database_url: str, tmp_path: Path) -> Iterator[Ui]:
    with open_ui(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(ui: Ui) -> World:
    """Ten queries and four gold among them, in a round that ends with neither in this test."""
    made = build(ui.system, pool=40, mode=RoundMode.STRICT, initial=16, gold_rate=0.3)
    with ui.system.ledger.transaction() as tx:
        labels.import_known(tx, made.id, {image.sha256: made.classes[0].id for image in made.images[:6]})
        gold.mark(tx, made.id, [image.id for image in made.images], "test")
    made.start()
    made.do_embed()
    made.do_select()
    return made


def call(ui: Ui, world: World, path: str, body: Any, key: str = "-") -> Any:
    sent = ui.ann.post(f"/v1/projects/{world.id}/{path}", json=body, headers={"Idempotency-Key": key})
    shape = (sent.status_code, sorted(name for name in sent.headers if name not in ("x-request-id", "content-length")))
    return shape, sent.json()


def masked(said: Any) -> Any:
    """The same, without what differs between any two questions: numbers and times."""
    if isinstance(said, dict):
        return {name: masked(value) for name, value in said.items()}
    if isinstance(said, list):
        return [masked(value) for value in said]
    return re.sub(r"\d+", "#", said) if isinstance(said, str) else type(said).__name__


def kinds(world: World) -> dict[int, TaskKind]:
    with world.system.ledger.transaction() as tx:
        rows = tx.all("SELECT id, kind FROM tasks WHERE project_id = %(p)s ORDER BY id", {"p": world.id})
    return {row["id"]: TaskKind(row["kind"]) for row in rows}


def one_by_one(ui: Ui, world: World) -> dict[TaskKind, list[Any]]:
    """What the calls of the labelling page say about each question, masked, by its kind."""
    known = kinds(world)
    seen: dict[TaskKind, list[Any]] = {}
    for _ in range(13):  # with the last one the round ends, and the page says so
        shape, leased = call(ui, world, "leases", {"count": 1})
        (task,) = leased["tasks"]
        told = [(shape, masked(leased))]
        kind, path = known[task["task_id"]], f"tasks/{task['task_id']}"
        answer = {"fence": task["fence"], "class_id": world.classes[1].id, "duration_ms": 900}
        told.append(masked(call(ui, world, f"{path}/annotation", answer, key=f"a{task['task_id']}")))
        shape, back = call(ui, world, "undo", {})
        told.append((shape, masked(back)))
        again = {**answer, "fence": back["task"]["fence"]}
        told.append(masked(call(ui, world, f"{path}/annotation", again, key=f"b{task['task_id']}")))
        told.append(masked(ui.ann.get(f"/v1/projects/{world.id}/history?limit=1").json()["answers"]))
        seen.setdefault(kind, []).append(told)
    return seen


def test_every_call_says_the_same_of_both(ui: Ui, world: World) -> None:
    seen = one_by_one(ui, world)
    assert len(seen[TaskKind.GOLD]) >= 3 and len(seen[TaskKind.QUERY]) >= 9
    like = seen[TaskKind.QUERY][-1]
    assert all(told == like for told in seen[TaskKind.GOLD] + seen[TaskKind.QUERY])


def test_ids_and_times_of_opening_say_nothing(world: World) -> None:
    with world.system.ledger.transaction() as tx:
        rows = tx.all("SELECT id, priority, created_at, strategy FROM tasks ORDER BY priority, id")
    assert [row["id"] for row in rows] == list(range(rows[0]["id"], rows[0]["id"] + 14)), "numbered as they are asked"
    assert len({row["created_at"] for row in rows}) == len({row["strategy"] for row in rows}) == 1


def test_the_progress_that_is_shown_grows_with_each_answer_alike(ui: Ui, world: World) -> None:
    shown = []
    for _ in range(14):
        ui.ann.app.state.parts.standings._kept.clear()  # type: ignore[attr-defined]  # else it is a second old
        _, leased = call(ui, world, "leases", {"count": 1})
        now = leased["progress"]
        shown.append((now["answered_by_me"], now["labels"], now["done"], now["total"]))
        (task,) = leased["tasks"]
        answer = {"fence": task["fence"], "class_id": world.classes[0].id}
        call(ui, world, f"tasks/{task['task_id']}/annotation", answer, key=f"a{task['task_id']}")
    assert shown == [(n, n, n, 14) for n in range(14)]
