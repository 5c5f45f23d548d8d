"""Several people are asked about one image: by the database once each, and never more of them than was set."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.db import labels, projects, tasks
from shared.db.tasks import Lease
from shared.domain import ImageId, LabelSource, PassOn, RoundMode, RoundState, Task, User, UserId
from shared.errors import Conflict
from shared.labelling import Submitted
from shared.system import System
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path, pool_size=20) as opened:
        yield opened


def begin(system: System, **settings: Any) -> World:
    given: dict[str, Any] = {"pool": 12, "mode": RoundMode.STRICT, "initial": 4, "overlap": 3} | settings
    made = build(system, **given)
    made.start()
    made.do_embed()
    made.do_select()
    return made


@pytest.fixture
def world(system: System) -> World:
    """Four images, each asked of three people."""
    return begin(system)


def take(world: World, user: User, count: int = 1) -> list[Task]:
    return world.system.labelling.lease(world.id, user.id, count=count)


def give(world: World, user: User, task: Task, column: int = 0) -> Submitted:
    held = Lease(task_id=task.id, fence=task.fence)
    return world.system.labelling.submit(world.id, user.id, held, world.classes[column].id, key=uuid.uuid4().hex)


def say(world: World, name: str, column: int) -> ImageId:
    """This person's answer to the question that is next for them."""
    (task,) = take(world, world.user(name))
    give(world, world.user(name), task, column)
    return task.image_id


def test_copies_stay_copies_when_one_person_is_asked_from_now_on(world: World) -> None:
    with world.system.ledger.transaction() as tx:
        settings = projects.get(tx, world.id).settings
        projects.set_settings(tx, world.id, replace(settings, overlap=1))
    taken = [take(world, world.user(name), 50) for name in ("ann", "bob", "cal", "dee")]
    assert [len({task.image_id for task in one}) for one in taken] == [len(one) for one in taken] == [4, 4, 4, 0]


def label(world: World, image: ImageId) -> labels.ImageLabel | None:
    with world.system.ledger.transaction() as tx:
        return labels.of_image(tx, image)


def state(world: World) -> Counter[str]:
    """How many questions are in which state."""
    with world.system.ledger.transaction() as tx:
        rows = tx.all("SELECT state FROM questions WHERE project_id = %(id)s", {"id": world.id})
    return Counter(row["state"] for row in rows)


def test_nobody_is_asked_twice_about_an_image(world: World) -> None:
    leased = take(world, world.user("ann"), 50)
    assert len({task.image_id for task in leased}) == len(leased) == 4
    for task in leased:
        give(world, world.user("ann"), task)
    assert take(world, world.user("ann"), 50) == []
    assert len(take(world, world.user("bob"), 50)) == 4


def test_a_label_appears_with_the_last_answer_and_keeps_them_all(world: World) -> None:
    image = say(world, "ann", 1)
    say(world, "bob", 0)
    assert label(world, image) is None
    say(world, "cy", 1)
    found = label(world, image)
    assert found is not None and (found.name, found.source) == ("b", LabelSource.CONSENSUS)
    with world.system.ledger.transaction() as tx:
        (row,) = [r for r in labels.export(tx, world.id) if r["label"]]
    assert row["annotations"] == [["ann", "b"], ["bob", "a"], ["cy", "b"]]
    assert row["label_confidence"] == pytest.approx(2 / 3)


def test_a_hurrying_crowd_answers_each_question_exactly_as_often_as_was_set(world: World) -> None:
    people = [world.user(f"p{n}") for n in range(12)]

    def work(user: User) -> list[tuple[ImageId, UserId]]:
        done = []
        while leased := take(world, user, 2):
            for task in leased:
                give(world, user, task)
                done.append((task.image_id, user.id))
        return done

    with ThreadPoolExecutor(12) as threads:
        done = [one for answered in threads.map(work, people) for one in answered]
    while more := [one for person in people for one in work(person)]:  # who found all taken for a moment
        done += more
    assert len(done) == len(set(done)) == 12
    assert Counter(Counter(image for image, _ in done).values()) == {3: 4}
    assert state(world) == {"resolved": 4}


def test_the_database_refuses_a_copy_beyond_what_was_set(world: World) -> None:
    with pytest.raises(Exception, match="violates check"), world.system.ledger.transaction() as tx:
        tx.run(
            "INSERT INTO tasks (project_id, image_id, kind, priority, strategy, question_id, copy, most) "
            "SELECT project_id, image_id, kind, 0, 'x', question_id, most, most FROM tasks LIMIT 1"
        )
    with pytest.raises(Conflict), world.system.ledger.transaction() as tx:
        tx.run(
            "INSERT INTO tasks (project_id, image_id, kind, priority, strategy, question_id, copy, most) "
            "SELECT project_id, image_id, kind, 0, 'x', question_id, copy, most FROM tasks LIMIT 1"
        )


def test_the_database_refuses_two_copies_to_one_person(world: World) -> None:
    (task,) = take(world, world.user("ann"))
    with pytest.raises(Conflict), world.system.ledger.transaction() as tx:
        tx.run(
            "UPDATE tasks SET state = 'leased', holder = %(user)s, lease_until = now() WHERE image_id = %(image)s",
            {"user": world.user("ann").id, "image": task.image_id},
        )


def test_a_disagreement_gives_no_label_and_is_not_selected_again(system: System) -> None:
    world = begin(system, overlap=2)
    first = say(world, "ann", 0)
    say(world, "bob", 1)
    assert label(world, first) is None and state(world)["disagreed"] == 1
    for _ in range(3):
        say(world, "ann", 0)
        say(world, "bob", 0)
    with system.ledger.transaction() as tx:
        system.rounds.advance(tx, world.id)
    world.do_train()
    world.do_score()
    world.do_select()
    with system.ledger.transaction() as tx:
        assert not tx.all("SELECT 1 FROM tasks WHERE image_id = %(i)s AND state = 'open'", {"i": first})


def test_until_agreement_another_is_asked_where_two_disagree(system: System) -> None:
    world = begin(system, overlap=2, agreement=True, overlap_max=3)
    image = say(world, "ann", 0)
    say(world, "bob", 1)
    (task,) = take(world, world.user("cy"))
    assert (task.image_id, task.copy) == (image, 2), "it comes first, so that it is settled soon"
    give(world, world.user("cy"), task, 1)
    found = label(world, image)
    assert found is not None and found.name == "b"


def test_an_answer_taken_back_takes_the_consensus_along(system: System) -> None:
    world = begin(system, overlap=2)
    image = say(world, "ann", 0)
    say(world, "bob", 0)
    assert label(world, image) is not None
    back = world.system.labelling.undo(world.id, world.user("ann").id)
    assert back.image_id == image and label(world, image) is None
    give(world, world.user("ann"), back, 1)
    assert state(world)["disagreed"] == 1


def test_an_answer_can_be_changed_and_the_consensus_follows(system: System) -> None:
    world = begin(system, overlap=2)
    (task,) = take(world, world.user("ann"))
    given = give(world, world.user("ann"), task, 0)
    say(world, "bob", 1)
    assert label(world, task.image_id) is None
    world.system.labelling.change(
        world.id, world.user("ann").id, given.annotation.id, world.classes[1].id, key="changed"
    )
    found = label(world, task.image_id)
    assert found is not None and found.name == "b"


def test_a_copy_handed_on_is_not_offered_as_another_copy(world: World) -> None:
    ann = world.user("ann")
    (task,) = take(world, ann)
    held = Lease(task_id=task.id, fence=task.fence)
    world.system.labelling.skip(world.id, ann.id, held, way=PassOn.OTHERS)
    assert task.image_id not in {t.image_id for t in take(world, ann, 50)}


def test_a_new_selection_leaves_what_was_begun_and_replaces_the_rest(system: System) -> None:
    world = begin(system)
    begun = say(world, "ann", 0)
    with system.ledger.transaction() as tx:
        assert tasks.supersede_open(tx, world.id) == 9
    assert state(world) == {"asking": 1, "withdrawn": 3}
    assert {t.image_id for t in take(world, world.user("bob"), 50)} == {begun}


def test_a_correction_ends_the_question(system: System) -> None:
    world = begin(system, overlap=2)
    image = say(world, "ann", 0)
    say(world, "bob", 1)
    system.curation.relabel(world.id, world.user("lead").id, [image], world.classes[1].id)
    assert state(world)["withdrawn"] == 1
    found = label(world, image)
    assert found is not None and found.source is LabelSource.HUMAN


def test_what_is_asked_again_is_asked_of_as_many(world: World) -> None:
    image = max(world.images, key=lambda one: one.id).id
    system = world.system
    system.curation.ask_again(world.id, world.user("lead").id, [image])
    first = {name: take(world, world.user(name))[0].image_id for name in ("ann", "bob", "cy")}
    assert set(first.values()) == {image}
    (other,) = take(world, world.user("dan"))
    assert other.image_id != image


def test_holdout_images_are_asked_of_as_many(system: System) -> None:
    world = begin(system, holdout_size=1, pool=20)
    with system.ledger.transaction() as tx:
        assert len(tx.all("SELECT 1 FROM tasks WHERE kind = 'holdout' AND project_id = %(p)s", {"p": world.id})) == 3


def test_a_strict_round_ends_with_the_last_copy(world: World) -> None:
    for name in ("ann", "bob", "cy"):
        for _ in range(4):
            say(world, name, 0)
    with world.system.ledger.transaction() as tx:
        world.system.rounds.advance(tx, world.id)
        row = tx.one("SELECT state FROM rounds WHERE project_id = %(p)s ORDER BY number DESC LIMIT 1", {"p": world.id})
    assert row is not None and row["state"] == RoundState.TRAINING


def test_a_budget_counts_answers_and_not_labels(system: System) -> None:
    world = begin(system, overlap=3, label_budget=12)
    for name in ("ann", "bob", "cy"):
        for _ in range(4):
            say(world, name, 0)
    with system.ledger.transaction() as tx:
        counts = labels.counts(tx, world.id)
        system.rounds.advance(tx, world.id)
    assert (counts.answers, counts.human) == (12, 4)
    world.do_train()
    world.do_score()
    with system.ledger.transaction() as tx:
        row = tx.one("SELECT stop_reason FROM projects WHERE id = %(p)s", {"p": world.id})
    assert row is not None and "label budget: 12 of 12" in row["stop_reason"]
