"""Beside answering: passing tasks on, flagging, looking back and changing, many answers at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.db import events, flags, labels, tasks
from shared.db.tasks import Lease
from shared.domain import ClassId, ImageId, PassOn, RoundMode, Task, TaskId, TaskState, User
from shared.errors import Conflict, Invalid, NotFound, StaleFence
from shared.labelling import UNDO_DEPTH, Given, Submitted
from shared.sweeper import Sweeper
from shared.system import System
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path, pool_size=20) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    """Ten open tasks, and two people."""
    made = build(system, pool=30, mode=RoundMode.STRICT, initial=10)
    made.start()
    made.do_embed()
    made.do_select()
    made.user("ann"), made.user("bob")
    return made


def lease_of(task: Task) -> Lease:
    return Lease(task_id=task.id, fence=task.fence)


def pass_on(world: World, user: User, way: PassOn, reason: str = "") -> TaskId:
    """The user's next task; the others that they hold are given back."""
    (task,) = world.system.labelling.lease(world.id, user.id, count=1)
    world.system.labelling.skip(world.id, user.id, lease_of(task), reason, way=way)
    return task.id


def offered(world: World, user: User) -> set[TaskId]:
    """All that this person would get now."""
    leased = world.system.labelling.lease(world.id, user.id, count=50)
    world.system.labelling.release(user.id, [lease_of(task) for task in leased])
    return {task.id for task in leased}


@pytest.mark.parametrize("way", [PassOn.OTHERS, PassOn.CANNOT_TELL])
def test_what_is_handed_on_never_comes_back_to_the_same_person(world: World, way: PassOn) -> None:
    ann, bob = world.user("ann"), world.user("bob")
    task = pass_on(world, ann, way, "blurred")
    assert task not in offered(world, ann)
    assert task in offered(world, bob)


def test_what_somebody_wants_later_is_kept_for_them_and_after_an_hour_for_all(world: World) -> None:
    ann, bob = world.user("ann"), world.user("bob")
    task = pass_on(world, ann, PassOn.ME)
    assert task not in offered(world, bob)
    assert task in offered(world, ann)
    task = pass_on(world, ann, PassOn.ME)
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE tasks SET reserved_until = now() - interval '1 second' WHERE reserved_for IS NOT NULL")
    assert task in offered(world, bob)


def test_wanting_an_image_later_is_no_skip(world: World) -> None:
    ann = world.user("ann")
    for _ in range(12):
        pass_on(world, ann, PassOn.ME)
    with world.system.ledger.transaction() as tx:
        assert tasks.live_counts(tx, world.id).open == 10, "none was given up"


def test_a_task_that_everybody_handed_on_is_given_up(world: World) -> None:
    ann, bob = world.user("ann"), world.user("bob")
    task = pass_on(world, ann, PassOn.OTHERS)
    leased = world.system.labelling.lease(world.id, bob.id, count=50)
    held = next(one for one in leased if one.id == task)
    given_up = world.system.labelling.skip(world.id, bob.id, lease_of(held), "", way=PassOn.CANNOT_TELL)
    assert given_up.state is TaskState.SKIPPED


def test_why_somebody_could_not_tell_is_on_record(world: World) -> None:
    task = pass_on(world, world.user("ann"), PassOn.CANNOT_TELL, "two birds")
    with world.system.ledger.transaction() as tx:
        (untold,) = tasks.could_not_tell(tx, world.id, 10)
        (event,) = events.newest(tx, world.id, limit=1)
    assert (untold.task_id, untold.reason, untold.by_name) == (task, "two birds", "ann")
    assert (event.kind, event.data["way"], event.data["reason"]) == ("task.skipped", "cannot_tell", "two birds")


def test_a_flag_that_is_sent_twice_is_raised_once(world: World) -> None:
    ann, image = world.user("ann"), world.images[0].id
    first = world.system.labelling.flag(world.id, ann.id, image, "odd", key="k")
    assert world.system.labelling.flag(world.id, ann.id, image, "odd", key="k") == first
    with world.system.ledger.transaction() as tx:
        assert flags.count_open(tx, world.id) == 1
        assert [one.kind for one in events.newest(tx, world.id)].count("image.flagged") == 1


def test_an_image_of_another_project_can_not_be_flagged(world: World) -> None:
    with pytest.raises(NotFound):
        world.system.labelling.flag(world.id, world.user().id, ImageId(10**9), "", key="k")


def answer_one(world: World, user: User, key: str = "first") -> Submitted:
    (task,) = world.system.labelling.lease(world.id, user.id, count=1)
    return world.system.labelling.submit(world.id, user.id, lease_of(task), world.classes[0].id, key=key)


def test_a_changed_answer_is_the_label_and_both_stay_on_record(world: World) -> None:
    ann = world.user("ann")
    old = answer_one(world, ann).annotation
    new = world.system.labelling.change(world.id, ann.id, old.id, world.classes[1].id, key="second")
    assert not new.replayed
    with world.system.ledger.transaction() as tx:
        label = labels.of_image(tx, old.image_id)
        kept = tx.all("SELECT id, undone_at FROM annotations ORDER BY id")
    assert label is not None and label.class_id == world.classes[1].id
    assert [row["id"] for row in kept] == [old.id, new.annotation.id]
    assert kept[0]["undone_at"] is not None and kept[1]["undone_at"] is None


def test_a_change_that_is_sent_twice_is_made_once(world: World) -> None:
    ann = world.user("ann")
    old = answer_one(world, ann).annotation
    first = world.system.labelling.change(world.id, ann.id, old.id, world.classes[1].id, key="second")
    again = world.system.labelling.change(world.id, ann.id, old.id, world.classes[1].id, key="second")
    assert again.replayed and again.annotation.id == first.annotation.id


def test_nobody_changes_what_another_answered_or_a_lead_corrected(world: World) -> None:
    ann, bob = world.user("ann"), world.user("bob")
    old = answer_one(world, ann).annotation
    with pytest.raises(Conflict):
        world.system.labelling.change(world.id, bob.id, old.id, world.classes[1].id, key="bob")
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE labels SET annotation_id = NULL, class_id = %(id)s", {"id": world.classes[1].id})
    with pytest.raises(Conflict):
        world.system.labelling.change(world.id, ann.id, old.id, world.classes[0].id, key="ann")
    with world.system.ledger.transaction() as tx:
        assert tx.one("SELECT undone_at FROM annotations WHERE id = %(id)s", {"id": old.id}) == {"undone_at": None}


def test_many_answers_are_each_taken_for_themselves(world: World) -> None:
    ann = world.user("ann")
    leased = world.system.labelling.lease(world.id, ann.id, count=4)
    good, stale, wrong, late = leased
    given = [
        Given(lease=lease_of(good), class_id=world.classes[0].id, key="a"),
        Given(lease=Lease(task_id=stale.id, fence=stale.fence + 1), class_id=world.classes[0].id, key="b"),
        Given(lease=lease_of(wrong), class_id=ClassId(10**9), key="c"),
        Given(lease=lease_of(late), class_id=world.classes[1].id, key="d"),
    ]
    became = world.system.labelling.submit_many(world.id, ann.id, given)
    assert [type(one) for one in became] == [Submitted, StaleFence, Invalid, Submitted]
    again = world.system.labelling.submit_many(world.id, ann.id, given)
    assert [one.replayed for one in again if isinstance(one, Submitted)] == [True, True]
    with world.system.ledger.transaction() as tx:
        assert labels.counts(tx, world.id).human == 2


def test_answers_given_together_are_taken_back_together_however_many(world: World) -> None:
    ann = world.user("ann")
    leased = world.system.labelling.lease(world.id, ann.id, count=10)
    many = [Given(lease=lease_of(t), class_id=world.classes[0].id, key=f"k{t.id}") for t in leased]
    given = [
        one.annotation.id
        for one in world.system.labelling.submit_many(world.id, ann.id, many)
        if isinstance(one, Submitted)
    ]
    assert len(given) >= UNDO_DEPTH
    taken = world.system.labelling.undo_many(world.id, ann.id, [*given, given[0]])
    assert {task.id for task in taken} == {task.id for task in leased}
    assert all(task.holder == ann.id and task.state is TaskState.LEASED for task in taken)
    with world.system.ledger.transaction() as tx:
        assert labels.counts(tx, world.id).human == 0


def test_tasks_that_are_named_or_measure_are_left_out_of_a_lease(system: System) -> None:
    world = build(system, pool=20, holdout=4, mode=RoundMode.STRICT, initial=6)
    world.start()
    world.do_embed()
    world.do_select()
    ann = world.user("ann")
    everything = system.labelling.lease(world.id, ann.id, count=50)
    system.labelling.release(ann.id, [lease_of(task) for task in everything])
    queries = {task.id for task in everything if task.kind == "query"}
    aside = sorted(queries)[:2]
    leased = system.labelling.lease(world.id, ann.id, count=50, only_queries=True, without=aside)
    assert {task.id for task in leased} == queries - set(aside) and len(everything) == 10


def test_a_suggestion_that_one_person_saw_is_not_held_against_the_next(world: World) -> None:
    ann, bob = world.user("ann"), world.user("bob")
    (task,) = world.system.labelling.lease(world.id, ann.id, count=1)
    world.system.labelling.show_suggestions(ann.id, [(lease_of(task), world.classes[1].id)])
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE tasks SET lease_until = now() - interval '1 second' WHERE state = 'leased'")
    Sweeper(world.system.ledger, world.system.rounds, every_s=60).sweep()
    leased = world.system.labelling.lease(world.id, bob.id, count=50)
    held = next(one for one in leased if one.id == task.id)
    given = world.system.labelling.submit(world.id, bob.id, lease_of(held), world.classes[0].id, key="k")
    assert given.annotation.suggested is None


def test_who_saw_the_suggestion_keeps_having_seen_it_when_an_answer_is_taken_back(world: World) -> None:
    ann = world.user("ann")
    (task,) = world.system.labelling.lease(world.id, ann.id, count=1)
    world.system.labelling.show_suggestions(ann.id, [(lease_of(task), world.classes[1].id)])
    first = world.system.labelling.submit(world.id, ann.id, lease_of(task), world.classes[0].id, key="k1")
    back = world.system.labelling.undo(world.id, ann.id)
    again = world.system.labelling.submit(world.id, ann.id, lease_of(back), world.classes[1].id, key="k2")
    assert first.annotation.suggested == again.annotation.suggested == world.classes[1].id
