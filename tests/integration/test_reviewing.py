"""Labels that are looked at again: kept, corrected, taken back; and held against what a model says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared import arrays
from shared.db import events, labels, reviews, rounds
from shared.db.events import Wanted
from shared.diagonal import diagonal
from shared.domain import ClassId, ImageId, LabelSource
from shared.errors import Conflict, Invalid, NotFound
from shared.learning.opinions import OPINION
from shared.store.base import OPINIONS
from shared.system import System
from tests.browser.gallery import think
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    """Ten images that ann has labelled with the first of two classes, and ten that nobody has."""
    world = build(system, pool=20, initial=10, batch_size=5)
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(10)
    world.system.rounds.nudge(world.id)
    return world


def label(world: World, image: int) -> tuple[str, LabelSource] | None:
    with world.system.database.transaction() as tx:
        one = labels.of_image(tx, ImageId(image))
    return None if one is None else (one.name, one.source)


def labelled(world: World) -> list[ImageId]:
    with world.system.database.transaction() as tx:
        return [ImageId(int(one)) for one in reviews.labelled(tx, world.id).images]


def kinds(world: World) -> list[str]:
    with world.system.database.transaction() as tx:
        return [event.kind for event in events.search(tx, Wanted(project_id=world.id))]


def looked_at(world: World) -> set[ImageId]:
    with world.system.database.transaction() as tx:
        return reviews.looked_at(tx, world.id)


def rows(world: World, sql: str) -> list[dict[str, Any]]:
    with world.system.database.transaction() as tx:
        return tx.all(sql)


def say(world: World, said: dict[ImageId, ClassId], key: str = "k") -> list[ImageId]:
    return world.system.reviewing.say(world.id, world.user("rita").id, said, key=key).corrected


def test_a_correction_is_the_reviewers_answer_and_becomes_the_label(world: World) -> None:
    first, second, *_ = labelled(world)
    a, b = (one.id for one in world.classes)
    assert say(world, {first: b, second: a}) == [first]
    assert label(world, first) == ("b", LabelSource.HUMAN) and label(world, second) == ("a", LabelSource.HUMAN)
    (answer,) = rows(world, f"SELECT user_id FROM annotations WHERE image_id = {first} AND class_id = {b}")
    assert answer["user_id"] == world.user("rita").id
    (kept,) = rows(world, f"SELECT count(*) AS answers FROM annotations WHERE image_id = {second}")
    assert kept["answers"] == 1, "a label that was right stays whose it is"
    assert kinds(world)[:2] == ["labels.kept", "labels.corrected"]
    assert looked_at(world) == {first, second}


def test_what_is_sent_twice_counts_once(world: World) -> None:
    first, *_ = labelled(world)
    b = world.classes[1].id
    say(world, {first: b})
    again = world.system.reviewing.say(world.id, world.user("rita").id, {first: b}, key="k")
    assert again.replayed and again.corrected == [first]
    assert kinds(world).count("labels.corrected") == 1
    with pytest.raises(Conflict, match="other images or classes"):
        say(world, {first: world.classes[0].id})


def test_taking_back_brings_back_every_label_as_it_was(world: World) -> None:
    first, second, *_ = labelled(world)
    with world.system.ledger.transaction() as tx:
        labels.import_known(tx, world.id, {world.images[-1].sha256: world.classes[0].id})
    unlabelled = world.images[-2].id
    last = world.images[-1].id
    before = rows(world, "SELECT * FROM labels ORDER BY image_id")
    b = world.classes[1].id
    assert sorted(say(world, dict.fromkeys((first, second, last, unlabelled), b))) == [
        first,
        second,
        unlabelled,
        last,
    ]
    rita = world.user("rita").id
    assert world.system.reviewing.undo(world.id, rita, key="k") == [first, second, unlabelled, last]
    assert rows(world, "SELECT * FROM labels ORDER BY image_id") == before
    assert not looked_at(world)
    assert not rows(world, f"SELECT 1 FROM annotations WHERE user_id = {rita} AND undone_at IS NULL")
    assert kinds(world)[0] == "labels.review_undone"
    with pytest.raises(Conflict, match="taken back already"):
        world.system.reviewing.undo(world.id, rita, key="k")


def test_taking_back_leaves_what_somebody_has_changed_since(world: World) -> None:
    first, second, *_ = labelled(world)
    a, b = (one.id for one in world.classes)
    say(world, {first: b, second: b})
    world.system.curation.relabel(world.id, world.user("ben").id, [first], a)
    world.system.curation.relabel(world.id, world.user("ben").id, [first], b)
    world.system.reviewing.undo(world.id, world.user("rita").id, key="k")
    assert label(world, first) == ("b", LabelSource.HUMAN) and label(world, second) == ("a", LabelSource.HUMAN)


def test_only_who_said_it_can_take_it_back(world: World) -> None:
    first, *_ = labelled(world)
    say(world, {first: world.classes[1].id})
    with pytest.raises(Conflict):
        world.system.reviewing.undo(world.id, world.user("ben").id, key="k")


def test_a_label_that_changes_after_it_was_looked_at_is_to_be_looked_at_again(world: World) -> None:
    first, *_ = labelled(world)
    a, b = (one.id for one in world.classes)
    say(world, {first: a})
    assert looked_at(world) == {first}
    world.system.curation.relabel(world.id, world.user("ben").id, [first], b)
    assert looked_at(world) == set()


def test_bad_requests_change_nothing(world: World, system: System) -> None:
    other = build(system, name="other")
    first, *_ = labelled(world)
    assert say(world, {other.images[0].id: world.classes[1].id, first: other.classes[1].id}) == []
    assert label(world, first) == ("a", LabelSource.HUMAN)
    with pytest.raises(Invalid, match="1,000"):
        say(world, {ImageId(i): world.classes[0].id for i in range(1, 1002)})
    with pytest.raises(Invalid, match="1,000"):
        say(world, {})
    with pytest.raises(NotFound):
        system.reviewing.say(other.id.__class__(99), world.user().id, {first: world.classes[0].id}, key="z")


def note(world: World, table: Sequence[tuple[int, int, int, float, float, int, bool, int]]) -> None:
    """Store what the newest model said of its labels."""
    with world.system.database.transaction() as tx:
        key = reviews.newest_model(tx, world.id)
    assert key is not None
    arrays.save(world.system.store, key + OPINIONS, np.array(table, OPINION))


def test_before_there_is_a_model_there_is_nothing_to_hold_labels_against(world: World) -> None:
    assert diagonal(world.system.database, world.system.store, world.id) is None


def test_labels_of_now_are_held_against_what_was_noted_and_newer_ones_against_the_scores(world: World) -> None:
    first, second, third, *_ = labelled(world)
    think(world, lambda image: [0.2, 0.8])
    note(
        world,
        [(first, 0, 1, 0.9, 0.1, 1, True, 0), (second, 0, 1, 0.8, 0.2, 1, True, 1), (9999, 0, 1, 1, 0, 1, True, 2)],
    )
    say(world, {second: world.classes[1].id})
    found = diagonal(world.system.database, world.system.store, world.id)
    assert found is not None
    assert found["image"].tolist() == labelled(world), "in order, those without a label are left out"
    assert found["given"].tolist() == [0, 1, *[0] * 8]
    assert found["doubt"].tolist() == [0, -1, *[-1] * 8], "a label that was changed is in doubt no more"
    assert found[2]["image"] == third and found[2]["said"] == 1
    assert found[2]["confidence"] == pytest.approx(0.8) and found[2]["own"] == pytest.approx(0.2)
    assert bool(found[2]["unseen"]), "it was labelled after the model was trained"


def test_an_older_model_without_notes_is_asked_by_its_scores(world: World) -> None:
    think(world, lambda image: [0.7, 0.3])
    found = diagonal(world.system.database, world.system.store, world.id)
    assert found is not None and len(found) == 10
    assert found["said"].tolist() == [0] * 10 and not found["unseen"].any()
    with world.system.database.transaction() as tx:
        assert rounds.latest_scored(tx, world.id) is not None
