"""Images whose answer is known measure people, who can't tell them from others, and what follows from it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import trust
from shared.db import events, gold, labels, members, tasks
from shared.db.events import Wanted
from shared.db.tasks import Lease
from shared.domain import ImageId, LabelSource, Role, RoundMode, Task, TaskKind, User
from shared.errors import StaleFence
from shared.system import System
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


def begin(system: System, known: int = 6, **settings: Any) -> World:
    """Ten queries, of a pool where ``known`` images are gold, class ``a`` all of them."""
    given: dict[str, Any] = {"pool": 30, "mode": RoundMode.STRICT, "initial": 10 + known, "gold_rate": 0.3} | settings
    world = build(system, **given)
    with system.ledger.transaction() as tx:
        known_of = {image.sha256: world.classes[0].id for image in world.images[:known]}
        labels.import_known(tx, world.id, known_of)
        assert len(gold.mark(tx, world.id, [image.id for image in world.images], "test")) == known
    world.start()
    world.do_embed()
    world.do_select()
    return world


@pytest.fixture
def world(system: System) -> World:
    return begin(system)


def take(world: World, user: User, count: int = 1) -> list[Task]:
    return world.system.labelling.lease(world.id, user.id, count=count)


def give(world: World, user: User, task: Task, column: int) -> None:
    held = Lease(task_id=task.id, fence=task.fence)
    world.system.labelling.submit(world.id, user.id, held, world.classes[column].id, key=uuid.uuid4().hex)


def label(world: World, image: ImageId) -> labels.ImageLabel | None:
    with world.system.ledger.transaction() as tx:
        return labels.of_image(tx, image)


def test_gold_is_mixed_in_at_its_rate(world: World) -> None:
    kinds = [task.kind for task in take(world, world.user(), 50)]
    assert (kinds.count(TaskKind.GOLD), kinds.count(TaskKind.QUERY)) == (4, 10)
    assert TaskKind.GOLD in kinds[:12], "and not all at the end"


def test_what_the_model_said_is_never_gold(system: System) -> None:
    world = build(system, initial=4)
    world.start()
    world.do_embed()
    with system.ledger.transaction() as tx:
        assert gold.mark(tx, world.id, [image.id for image in world.images], "test") == []


def test_an_answer_to_gold_gives_no_label_and_counts_for_no_round(world: World) -> None:
    (task,) = [t for t in take(world, world.user(), 50) if t.kind is TaskKind.GOLD][:1]
    with world.system.ledger.transaction() as tx:
        before = labels.counts(tx, world.id)
    give(world, world.user(), task, 1)
    found = label(world, task.image_id)
    assert found is not None and (found.name, found.source) == ("a", LabelSource.IMPORT)
    with world.system.ledger.transaction() as tx:
        after = labels.counts(tx, world.id)
    assert (after.pool, after.human, after.answers) == (before.pool, before.human, before.answers + 1)


def test_nobody_sees_a_gold_image_twice(world: World) -> None:
    ann = world.user()
    for task in take(world, ann, 50):
        give(world, ann, task, 0)
    with world.system.ledger.transaction() as tx:
        world.system.rounds.advance(tx, world.id)
    world.do_train()
    world.do_score()
    world.do_select()
    again = [t.image_id for t in take(world, ann, 50) if t.kind is TaskKind.GOLD]
    with world.system.ledger.transaction() as tx:
        done = tx.all("SELECT image_id FROM tasks WHERE kind = 'gold' AND state = 'done'")
    assert not {row["image_id"] for row in done} & set(again)


def test_a_strict_round_does_not_wait_for_gold(world: World) -> None:
    ann = world.user()
    for task in take(world, ann, 50):
        if task.kind is TaskKind.QUERY:
            give(world, ann, task, 0)
    with world.system.ledger.transaction() as tx:
        world.system.rounds.advance(tx, world.id)
    world.do_train()


def test_gold_is_not_handed_out_alone(world: World) -> None:
    ann, bob = world.user(), world.user("bob")
    for task in take(world, ann, 50):
        if task.kind is TaskKind.QUERY:
            give(world, ann, task, 0)
        else:
            world.system.labelling.release(ann.id, [Lease(task_id=task.id, fence=task.fence)])
    assert take(world, bob, 50) == []


def test_with_overlap_gold_has_as_many_copies_as_the_others(system: System) -> None:
    world = begin(system, overlap=2)
    with system.ledger.transaction() as tx:
        rows = tx.all("SELECT id, kind, image_id, copy FROM tasks WHERE state = 'open' ORDER BY id")
    positions = [rows[n : n + 2] for n in range(0, len(rows), 2)]
    assert all(a["image_id"] == b["image_id"] and (a["copy"], b["copy"]) == (0, 1) for a, b in positions)
    assert sum(a["kind"] == "gold" for a, _ in positions) == 4
    for name in ("ann", "bob"):
        leased = take(world, world.user(name), 50)
        assert len({t.image_id for t in leased}) == len(leased) == 14
        for task in leased:
            give(world, world.user(name), task, 0)


# What follows


def careless(system: System, **settings: Any) -> World:
    """Whoever has answered four that are known may be paused."""
    return begin(system, quality_floor=0.6, quality_golds=4, **settings)


def reason_of(world: World, user: User) -> str | None:
    with world.system.ledger.transaction() as tx:
        found = members.of_user(tx, user.id).get(world.id)
    return found.pause_reason if found else None


def test_who_is_surely_below_the_floor_is_paused_and_their_labels_are_asked_of_others(system: System) -> None:
    world = careless(system)
    ann, bob = world.user(), world.user("bob")
    leased = take(world, ann, 50)
    queries = [t for t in leased if t.kind is TaskKind.QUERY]
    for task in queries[:3]:
        give(world, ann, task, 1)
    for task in leased:
        if task.kind is TaskKind.GOLD:
            give(world, ann, task, 1)
    assert reason_of(world, ann) == "0 of 4 answers that are known were right"
    assert all(label(world, task.image_id) is None for task in queries[:3])
    assert take(world, ann) == []
    with pytest.raises(StaleFence):
        give(world, ann, queries[5], 0)
    asked = {task.image_id for task in take(world, bob, 50)}
    assert {task.image_id for task in queries} <= asked
    with system.ledger.transaction() as tx:
        (event,) = [e for e in events.search(tx, Wanted(project_id=world.id)) if e.kind == "member.distrusted"]
    assert (event.data["user"], event.data["images"], event.data["leases"]) == (ann.id, 3, 7)


def test_who_is_mostly_right_goes_on(system: System) -> None:
    world = careless(system)
    for task in take(world, world.user(), 50):
        give(world, world.user(), task, 0)
    assert reason_of(world, world.user()) is None


def test_few_answers_pause_nobody(system: System) -> None:
    world = careless(system)
    golds = [t for t in take(world, world.user(), 50) if t.kind is TaskKind.GOLD]
    for task in golds[:3]:
        give(world, world.user(), task, 1)
    assert reason_of(world, world.user()) is None


def test_copies_of_who_is_paused_are_asked_of_others_and_their_consensus_goes(system: System) -> None:
    world = careless(system, overlap=2)
    ann, bob, cy = (world.user(name) for name in ("ann", "bob", "cy"))
    for task in take(world, bob, 50):
        give(world, bob, task, 0)
    mine = take(world, ann, 50)
    for task in sorted(mine, key=lambda t: t.kind is TaskKind.GOLD):
        give(world, ann, task, 0 if task.kind is TaskKind.QUERY else 1)
    with system.ledger.transaction() as tx:
        assert labels.counts(tx, world.id).human == 0
    for task in take(world, cy, 50):
        give(world, cy, task, 0)
    with system.ledger.transaction() as tx:
        assert labels.counts(tx, world.id).human == 10


def test_what_a_lead_has_corrected_since_is_left(system: System) -> None:
    world = careless(system)
    ann = world.user()
    leased = take(world, ann, 50)
    query = next(t for t in leased if t.kind is TaskKind.QUERY)
    give(world, ann, query, 1)
    system.curation.relabel(world.id, world.user("lead").id, [query.image_id], world.classes[0].id)
    with system.ledger.transaction() as tx:
        trust.pause(tx, world.id, ann.id, "test", actor="test")
    found = label(world, query.image_id)
    assert found is not None and found.name == "a"


def test_who_is_let_go_on_begins_with_a_clean_record(system: System) -> None:
    world = careless(system)
    ann = world.user()
    with system.ledger.transaction() as tx:
        members.put(tx, world.id, ann.id, Role.ANNOTATOR)
    for task in take(world, ann, 50):
        if task.kind is TaskKind.GOLD:
            give(world, ann, task, 1)
    assert reason_of(world, ann) is not None
    with system.ledger.transaction() as tx:
        members.resume(tx, world.id, ann.id)
    for task in take(world, ann, 2):
        give(world, ann, task, 0)
    assert reason_of(world, ann) is None
    with system.ledger.transaction() as tx:
        assert tasks.answered_by(tx, world.id, ann.id) == 6
