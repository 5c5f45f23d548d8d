"""Annotators take tasks and answer them: nobody's answer is doubled or lost."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.db import labels, tasks
from shared.db.tasks import Lease
from shared.domain import ClassId, RoundMode, Split, Task, TaskState
from shared.errors import Conflict, Invalid, StaleFence
from shared.sweeper import Sweeper
from shared.system import System
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path, pool_size=20) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    """Ten open tasks."""
    made = build(system, pool=30, mode=RoundMode.STRICT, initial=10)
    made.start()
    made.do_embed()
    made.do_select()
    return made


def lease_of(task: Task) -> Lease:
    return Lease(task_id=task.id, fence=task.fence)


def count_labels(world: World) -> int:
    with world.system.ledger.transaction() as tx:
        return labels.counts(tx, world.id).human


def test_tasks_come_in_the_order_the_strategy_asked_for(world: World) -> None:
    leased = world.system.labelling.lease(world.id, world.user().id, count=5)
    assert [t.priority for t in leased] == [1, 2, 3, 4, 5]


def test_a_reloaded_page_goes_on_with_what_it_held(world: World) -> None:
    user = world.user()
    first = world.system.labelling.lease(world.id, user.id, count=3)
    again = world.system.labelling.lease(world.id, user.id, count=5)
    assert {t.id for t in first} < {t.id for t in again}
    assert {lease_of(t) for t in first} < {lease_of(t) for t in again}, "the fences are still good"


def test_an_answer_sent_twice_is_recorded_once(world: World) -> None:
    user = world.user()
    (task,) = world.system.labelling.lease(world.id, user.id, count=1)
    first = world.system.labelling.submit(world.id, user.id, lease_of(task), world.classes[0].id, key="k1")
    again = world.system.labelling.submit(world.id, user.id, lease_of(task), world.classes[0].id, key="k1")
    assert (first.replayed, again.replayed) == (False, True)
    assert first.annotation.id == again.annotation.id
    assert count_labels(world) == 1


def test_a_key_used_for_another_answer_is_refused(world: World) -> None:
    user = world.user()
    one, two = world.system.labelling.lease(world.id, user.id, count=2)
    world.system.labelling.submit(world.id, user.id, lease_of(one), world.classes[0].id, key="k1")
    with pytest.raises(Conflict):
        world.system.labelling.submit(world.id, user.id, lease_of(one), world.classes[1].id, key="k1")
    with pytest.raises(Conflict):
        world.system.labelling.submit(world.id, user.id, lease_of(two), world.classes[0].id, key="k1")
    assert count_labels(world) == 1


def test_a_stale_fence_is_refused_and_changes_nothing(world: World) -> None:
    ann, bob = world.user("ann"), world.user("bob")
    (task,) = world.system.labelling.lease(world.id, ann.id, count=1)
    world.system.labelling.release(ann.id, [lease_of(task)])
    (taken,) = world.system.labelling.lease(world.id, bob.id, count=1)
    assert taken.id == task.id and taken.fence > task.fence
    with pytest.raises(StaleFence):
        world.system.labelling.submit(world.id, ann.id, lease_of(task), world.classes[0].id, key="late")
    with pytest.raises(StaleFence):
        world.system.labelling.submit(world.id, ann.id, lease_of(taken), world.classes[0].id, key="stolen")
    assert count_labels(world) == 0
    world.system.labelling.submit(world.id, bob.id, lease_of(taken), world.classes[0].id, key="good")
    assert count_labels(world) == 1


def test_a_class_of_another_project_is_refused(world: World) -> None:
    other = build(world.system, name="other")
    user = world.user()
    (task,) = world.system.labelling.lease(world.id, user.id, count=1)
    for class_id in (other.classes[0].id, ClassId(10**9)):
        with pytest.raises(Invalid):
            world.system.labelling.submit(world.id, user.id, lease_of(task), class_id, key="k")
    assert count_labels(world) == 0


def test_an_undone_answer_takes_its_label_along_and_can_be_given_anew(world: World) -> None:
    user = world.user()
    (task,) = world.system.labelling.lease(world.id, user.id, count=1)
    world.system.labelling.submit(world.id, user.id, lease_of(task), world.classes[0].id, key="k1")
    back = world.system.labelling.undo(world.id, user.id)
    assert back.id == task.id and back.fence > task.fence and back.holder == user.id
    assert count_labels(world) == 0
    world.system.labelling.submit(world.id, user.id, lease_of(back), world.classes[1].id, key="k2")
    with world.system.ledger.transaction() as tx:
        (example,) = labels.examples(tx, world.id, Split.POOL)
    assert example.position == 1


def test_only_ones_own_last_ten_answers_can_be_undone(world: World) -> None:
    ann, bob = world.user("ann"), world.user("bob")
    world.answer(1, ann)
    with pytest.raises(Conflict):
        world.system.labelling.undo(world.id, bob.id)
    world.system.labelling.undo(world.id, ann.id)
    with pytest.raises(Conflict):
        world.system.labelling.undo(world.id, ann.id)


def test_a_skipped_task_goes_to_the_end_and_is_given_up_after_three(world: World) -> None:
    user = world.user()
    for expected in (TaskState.OPEN, TaskState.OPEN, TaskState.SKIPPED):
        leased = world.system.labelling.lease(world.id, user.id, count=10)
        first = min(leased, key=lambda t: t.id)
        skipped = world.system.labelling.skip(world.id, user.id, lease_of(first), "blurred")
        assert skipped.state is expected
        world.system.labelling.release(user.id, [lease_of(t) for t in leased if t.id != first.id])
    with world.system.ledger.transaction() as tx:
        assert tasks.live_counts(tx, world.id).open == 9


def test_an_expired_lease_returns_its_task_to_the_queue(world: World) -> None:
    ann, bob = world.user("ann"), world.user("bob")
    with world.system.ledger.transaction() as tx:
        (task,) = tasks.lease(tx, world.id, ann.id, count=1, lease_s=-1)
    Sweeper(world.system.ledger, world.system.rounds, every_s=60).sweep()
    leased = world.system.labelling.lease(world.id, bob.id, count=10)
    assert task.id in {t.id for t in leased}
    with pytest.raises(StaleFence):
        world.system.labelling.submit(world.id, ann.id, lease_of(task), world.classes[0].id, key="k")


def test_an_answer_after_the_lease_counts_if_nobody_else_took_the_task(world: World) -> None:
    ann = world.user("ann")
    with world.system.ledger.transaction() as tx:
        (task,) = tasks.lease(tx, world.id, ann.id, count=1, lease_s=-1)
    Sweeper(world.system.ledger, world.system.rounds, every_s=60).sweep()
    world.system.labelling.submit(world.id, ann.id, lease_of(task), world.classes[0].id, key="k")
    assert count_labels(world) == 1


def test_renewing_keeps_only_what_is_still_held(world: World) -> None:
    user = world.user()
    one, two = world.system.labelling.lease(world.id, user.id, count=2)
    world.system.labelling.release(user.id, [lease_of(two)])
    assert world.system.labelling.renew(world.id, user.id, [lease_of(one), lease_of(two)]) == [one.id]


def test_sixteen_annotators_never_hold_the_same_task(system: System) -> None:
    world = build(system, pool=400, mode=RoundMode.STRICT, initial=400)
    world.start()
    world.do_embed()
    world.do_select()
    people = [world.user(f"annotator-{n}") for n in range(16)]

    def work(person: int) -> list[int]:
        done = []
        while leased := system.labelling.lease(world.id, people[person].id, count=5):
            for task in leased:
                key = uuid.uuid4().hex
                system.labelling.submit(world.id, people[person].id, lease_of(task), world.classes[0].id, key=key)
                done.append(int(task.id))
        return done

    with ThreadPoolExecutor(16) as pool:
        answered = Counter(task for done in pool.map(work, range(16)) for task in done)
    assert len(answered) == 400
    assert set(answered.values()) == {1}
    assert count_labels(world) == 400


def test_the_same_answer_sent_at_once_from_many_threads_is_recorded_once(world: World) -> None:
    user = world.user()
    (task,) = world.system.labelling.lease(world.id, user.id, count=1)

    def send(_: int) -> bool:
        return world.system.labelling.submit(
            world.id, user.id, lease_of(task), world.classes[0].id, key="same"
        ).replayed

    with ThreadPoolExecutor(8) as pool:
        replayed = list(pool.map(send, range(8)))
    assert sorted(replayed) == [False] + [True] * 7
    assert count_labels(world) == 1
