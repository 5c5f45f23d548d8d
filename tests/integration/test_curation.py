"""Many images at once: corrected, unlabelled, asked again, moved; and found by a filter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.curation import MOST
from shared.db import browsing, events, images, labels, tasks
from shared.db.browsing import Filter, Standing
from shared.db.tasks import Lease
from shared.domain import ImageId, LabelSource, ProjectId, RoundMode, Split
from shared.errors import Conflict, Invalid, NotFound, StaleFence
from shared.system import System
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    """Ten open questions about twenty images, four of them answered by ann with the first class."""
    world = build(system, pool=20, holdout=2, initial=10, mode=RoundMode.STRICT)
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(6)  # the two of the holdout first
    return world


def found(world: World, **wanted: object) -> list[int]:
    with world.system.database.transaction() as tx:
        passing = Filter(**wanted)  # type: ignore[arg-type]
        ids = [one.id for one in browsing.page(tx, world.id, passing, limit=100)]
        assert browsing.count(tx, world.id, passing) == len(ids)
        assert browsing.ids(tx, world.id, passing, limit=100) == ids
        return list(ids)


def labelled(world: World) -> list[ImageId]:
    return [ImageId(i) for i in found(world, standing=Standing.LABELLED)]


def label(world: World, image: int) -> tuple[str, LabelSource] | None:
    with world.system.database.transaction() as tx:
        one = labels.of_image(tx, ImageId(image))
    return None if one is None else (one.name, one.source)


def test_filters_find_what_they_say(world: World) -> None:
    everything = [image.id for image in world.images]
    done = labelled(world)
    assert found(world) == sorted(everything)
    assert len(done) == 6
    assert found(world, standing=Standing.UNLABELLED) == sorted(set(everything) - set(done))
    assert len(found(world, standing=Standing.ASKED)) == 6
    assert found(world, class_id=world.classes[0].id) == done
    assert found(world, class_id=world.classes[1].id) == []
    assert found(world, source=LabelSource.HUMAN) == done and found(world, source=LabelSource.MODEL) == []
    assert found(world, annotator=world.user().id) == done and found(world, annotator=world.user("ben").id) == []
    assert found(world, split=Split.HOLDOUT) == sorted(i.id for i in world.images if i.split is Split.HOLDOUT)
    assert found(world, format="PNG") == sorted(everything) and found(world, format="TIFF") == []
    assert found(world, shortest=9) == [] and found(world, longest=8) == sorted(everything)
    assert found(world, split=Split.HOLDOUT, standing=Standing.LABELLED) == found(world, split=Split.HOLDOUT)


def test_a_part_of_a_file_name_is_found_as_it_is_written(world: World) -> None:
    first = world.images[0]
    assert found(world, filename=first.filename[:12].upper()) == [first.id]
    assert found(world, filename="%") == [] and found(world, filename="_") == []


def test_the_confidence_of_models_labels_is_found(world: World) -> None:
    with world.system.ledger.transaction() as tx:
        sure, unsure = found(world, standing=Standing.UNLABELLED)[:2]
        for image, confidence in ((sure, 0.97), (unsure, 0.61)):
            tx.run(
                "INSERT INTO labels (image_id, project_id, class_id, source, confidence) VALUES (%(i)s, %(p)s, %(c)s, "
                "'model', %(s)s)",
                {"i": image, "p": world.id, "c": world.classes[0].id, "s": confidence},
            )
    assert found(world, least_sure=0.6) == sorted([sure, unsure])
    assert found(world, least_sure=0.9) == [sure] and found(world, surest=0.9) == [unsure]


def test_pages_follow_each_other_without_gap_or_repeat(world: World) -> None:
    pages, after = [], 0
    with world.system.database.transaction() as tx:
        while batch := browsing.page(tx, world.id, browsing.ALL, after=after, limit=6):
            pages += [one.id for one in batch]
            after = batch[-1].id
    assert pages == [image.id for image in sorted(world.images, key=lambda image: image.id)]


def test_a_correction_is_a_label_of_who_made_it_and_can_be_traced(world: World) -> None:
    ben = world.user("ben")
    chosen = labelled(world)[:3]
    assert world.system.curation.relabel(world.id, ben.id, chosen, world.classes[1].id) == chosen
    assert {label(world, image) for image in chosen} == {("b", LabelSource.HUMAN)}
    assert found(world, annotator=ben.id) == chosen
    with world.system.database.transaction() as tx:
        history = browsing.history(tx, world.id, chosen[0])
        (newest,) = events.newest(tx, world.id, limit=1)
    assert [(a.annotator, a.class_name, a.strategy) for a in history.answers] == [
        ("ben", "b", "correction"),
        ("ann", "a", history.answers[1].strategy),
    ]
    assert [event.kind for event in history.events] == ["labels.corrected"]
    assert newest.actor == f"user:{ben.id}" and newest.data["image_ids"] == chosen


def test_what_a_person_labelled_so_already_is_left_alone(world: World) -> None:
    ben, chosen = world.user("ben"), labelled(world)[:2]
    assert world.system.curation.relabel(world.id, ben.id, chosen, world.classes[0].id) == []
    assert found(world, annotator=ben.id) == []


def test_a_correction_closes_the_question_and_its_holder_is_told(world: World) -> None:
    ann, ben = world.user(), world.user("ben")
    (task,) = world.system.labelling.lease(world.id, ann.id, count=1)
    world.system.curation.relabel(world.id, ben.id, [task.image_id], world.classes[1].id)
    with pytest.raises(StaleFence):
        held = Lease(task_id=task.id, fence=task.fence)
        world.system.labelling.submit(world.id, ann.id, held, world.classes[0].id, key="late")
    assert label(world, task.image_id) == ("b", LabelSource.HUMAN)


def test_labels_that_are_removed_leave_the_answers_on_record(world: World) -> None:
    chosen = labelled(world)[:2]
    assert world.system.curation.remove_labels(world.id, world.user().id, chosen) == chosen
    assert [label(world, image) for image in chosen] == [None, None]
    with world.system.database.transaction() as tx:
        assert len(browsing.history(tx, world.id, chosen[0]).answers) == 1


def test_what_is_asked_again_comes_next_and_outlives_a_new_selection(world: World) -> None:
    (image,) = [i for i in labelled(world) if i not in found(world, split=Split.HOLDOUT)][:1]
    world.system.curation.ask_again(world.id, world.user().id, [image])
    assert label(world, image) is None
    with world.system.ledger.transaction() as tx:
        tasks.supersede_open(tx, world.id)
        assert tasks.count_kept(tx, world.id) == 1, "the budget counts it as owed"
    (task,) = world.system.labelling.lease(world.id, world.user("ben").id, count=5)
    assert task.image_id == image


def test_an_image_that_is_asked_about_already_only_moves_up(world: World) -> None:
    last = found(world, standing=Standing.ASKED)[-1]
    world.system.curation.ask_again(world.id, world.user().id, [ImageId(last)])
    (task,) = world.system.labelling.lease(world.id, world.user("ben").id, count=1)
    assert task.image_id == last


def test_images_move_between_pool_and_holdout_only_before_the_start(system: System, world: World) -> None:
    draft = build(system, name="draft", pool=5)
    chosen = [image.id for image in draft.images[:2]]
    ann = draft.user()
    assert system.curation.move(draft.id, ann.id, chosen, Split.HOLDOUT) == sorted(chosen)
    assert found(draft, split=Split.HOLDOUT) == sorted(chosen)
    assert system.curation.move(draft.id, ann.id, chosen[:1], Split.POOL) == chosen[:1]
    with pytest.raises(Conflict, match="before the project is started"):
        system.curation.move(world.id, ann.id, [world.images[0].id], Split.HOLDOUT)


def test_nothing_is_asked_again_in_a_draft(system: System) -> None:
    draft = build(system, pool=5)
    with pytest.raises(Conflict, match="started"):
        system.curation.ask_again(draft.id, draft.user().id, [draft.images[0].id])


def test_images_and_classes_of_another_project_are_out_of_reach(system: System, world: World) -> None:
    other = build(system, name="other", pool=5)
    ann, theirs = world.user(), [image.id for image in other.images]
    assert system.curation.relabel(world.id, ann.id, theirs, world.classes[0].id) == []
    assert system.curation.remove_labels(world.id, ann.id, theirs) == []
    assert system.curation.ask_again(world.id, ann.id, theirs) == []
    with pytest.raises(Invalid):
        system.curation.relabel(world.id, ann.id, labelled(world), other.classes[0].id)
    with pytest.raises(NotFound):
        system.curation.remove_labels(ProjectId(1000), ann.id, theirs)
    with system.database.transaction() as tx:
        assert images.counts(tx, other.id).total == 5


def test_too_many_at_once_are_refused(world: World) -> None:
    with pytest.raises(Invalid, match="at a time"):
        world.system.curation.remove_labels(world.id, world.user().id, [ImageId(i) for i in range(1, MOST + 2)])
