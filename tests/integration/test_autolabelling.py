"""The model labels what it is sure of, people audit it, and what fails the audit is withdrawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.db import events, images, labels, model_labels, projects, rounds, tasks
from shared.db.tasks import Lease
from shared.domain import ImageId, JobKind, LabelSource, ProjectState, RoundMode, RoundState, Split, Task, TaskKind
from shared.errors import Conflict
from shared.overview import overview
from shared.selection.autolabel import audits_wanted
from shared.system import System
from tests.world import World, build, open_system

SURE = {"calibration": {"above": {"thresholds": [0.5, 0.9], "n": [400, 350], "right": [390, 350]}}}
"""Evidence that the model is precise to 0.99 from a confidence of 0.9 on, and not from 0.5 on."""
UNSURE = {"calibration": {"above": {"thresholds": [0.5, 0.9], "n": [100, 50], "right": [90, 50]}}}


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


def project(system: System, *, pool: int = 60, people: Sequence[str] = ("ann",), **settings: Any) -> World:
    """After its first round of labelling, the first training is due. Nothing is drawn at random."""
    defaults: dict[str, Any] = {"mode": RoundMode.STRICT, "initial": 4, "batch_size": 10}
    world = build(system, pool=pool, **(defaults | {"auto_label": True, "auto_label_random": 0.0} | settings))
    world.start()
    while JobKind.EMBED in world.queued():
        world.do_embed()
    world.do_select()
    for name in people:
        world.answer(100, world.user(name))
    system.rounds.nudge(world.id)
    return world


def sources(world: World) -> Counter[str]:
    with world.system.ledger.transaction() as tx:
        return Counter(row["source"] for row in labels.export(tx, world.id) if row["source"])


def labelled_by_model(world: World) -> dict[ImageId, str]:
    with world.system.ledger.transaction() as tx:
        return {row["id"]: row["label"] for row in labels.export(tx, world.id) if row["source"] == "model"}


def live(world: World) -> list[Task]:
    """Every live task, by leasing all of them."""
    return world.system.labelling.lease(world.id, world.user().id, count=1000)


def answer(world: World, task: Task, position: int) -> None:
    lease = Lease(task_id=task.id, fence=task.fence)
    chosen = world.classes[position].id
    world.system.labelling.submit(world.id, world.user().id, lease, chosen, key=f"{task.id}-{task.fence}-{position}")


def test_what_the_model_is_sure_of_is_labelled_and_a_share_is_audited(system: System) -> None:
    world = project(system, auto_label_audit=0.1)
    world.do_train(**SURE)
    world.do_score(confidence=0.95, column=1)
    assert sources(world) == {"human": 4, "model": 56}
    assert set(labelled_by_model(world).values()) == {"b"}
    world.do_select()
    asked = live(world)
    assert len(asked) == audits_wanted(56, 0, 0.1, 10, None) == 5, "half a batch at the most"
    assert {task.kind for task in asked} == {TaskKind.AUDIT}
    assert {task.image_id for task in asked} <= set(labelled_by_model(world))


def test_a_label_of_the_model_tells_which_model_gave_it_and_how_sure_it_was(system: System) -> None:
    world = project(system)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    with system.ledger.transaction() as tx:
        row = next(row for row in labels.export(tx, world.id) if row["source"] == "model")
    assert (row["round"], row["annotator"], row["label_confidence"]) == (1, None, pytest.approx(0.95))


def test_below_the_threshold_nothing_is_labelled(system: System) -> None:
    world = project(system)
    world.do_train(**SURE)
    world.do_score(confidence=0.89)
    assert sources(world) == {"human": 4}


@pytest.mark.parametrize(("settings", "metrics"), [({"auto_label": False}, SURE), ({}, UNSURE), ({}, {})])
def test_without_being_asked_or_without_evidence_nothing_is_labelled(
    system: System, settings: dict[str, Any], metrics: dict[str, Any]
) -> None:
    world = project(system, **settings)
    world.do_train(**metrics)
    world.do_score(confidence=1.0)
    assert sources(world) == {"human": 4}


def test_the_holdout_is_never_labelled_by_the_model_nor_audited_nor_trained_on(system: System) -> None:
    world = project(system, holdout_size=20)
    with system.ledger.transaction() as tx:
        held_out = {image.id for image in images.page(tx, world.id, split=Split.HOLDOUT)}
        shard = images.shards(tx, world.id)[0]
        assert not held_out & {image_id for image_id, _ in images.unanswered(tx, shard.id)}
    world.do_train(**SURE)
    job = world.next_job(JobKind.SCORE)
    with system.ledger.transaction() as tx:  # even if a worker says something of it
        checkpoint = rounds.latest(tx, world.id)
        assert checkpoint is not None and checkpoint.checkpoint_id is not None
        said = [model_labels.Said(image_id=image_id, column=0, confidence=1.0) for image_id in held_out]
        assert model_labels.renew(tx, world.id, checkpoint.checkpoint_id, shard.id, said) == (0, 0)
        system.ledger.give_back(job)
    world.do_score(confidence=1.0)
    world.do_select()
    assert not held_out & set(labelled_by_model(world))
    assert not held_out & {task.image_id for task in live(world)}
    with system.ledger.transaction() as tx:
        assert not held_out & {example.image_id for example in labels.examples(tx, world.id, Split.POOL)}
        assert labels.counts(tx, world.id).human == 24, "the holdout's labels are counted in the budget"


def test_labels_of_the_model_are_not_learned_from_nor_counted_nor_selected(system: System) -> None:
    world = project(system)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    with system.ledger.transaction() as tx:
        counts = labels.counts(tx, world.id)
        assert (counts.pool, counts.trainable, counts.human, counts.model) == (4, 4, 4, 56)
        assert len(labels.examples(tx, world.id, Split.POOL)) == 4
        assert sum(count.labels for count in labels.by_class(tx, world.id)) == 4
        assert images.count_candidates(tx, world.id, 100) == 0
        current = rounds.latest(tx, world.id)
        assert current is not None and labels.count_new(tx, world.id, current.started_at, 100) == 0


def test_a_later_model_keeps_what_it_is_still_sure_of_and_withdraws_the_rest(system: System) -> None:
    world = project(system, shard_size=30, batch_size=20)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    world.do_score(confidence=0.7)
    first = labelled_by_model(world)
    assert len(first) == 26, "of the first shard, less what people labelled"
    world.do_select()
    world.answer(1000)
    system.rounds.nudge(world.id)
    world.do_train(**SURE)
    world.do_score(confidence=0.8)
    world.do_score(confidence=0.95, column=1)
    second = labelled_by_model(world)
    assert second and not set(first) & set(second)
    assert set(second.values()) == {"b"}


def test_a_model_without_a_threshold_withdraws_what_the_one_before_labelled(system: System) -> None:
    world = project(system)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    world.do_select()
    world.answer(1000)
    system.rounds.nudge(world.id)
    world.do_train(**UNSURE)
    world.do_score(confidence=0.95)
    assert sources(world)["model"] == 0


def test_an_image_that_somebody_holds_is_left_to_them(system: System) -> None:
    world = project(system, mode=RoundMode.ROLLING, initial=4, batch_size=4, queue_factor=4.0)
    world.do_train(**UNSURE)
    world.do_score()
    world.do_select()
    (held,) = system.labelling.lease(world.id, world.user("bob").id, count=1)
    world.answer(4)
    system.rounds.nudge(world.id)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    taken = labelled_by_model(world)
    assert taken and held.image_id not in taken
    with system.ledger.transaction() as tx:
        live_tasks = tasks.live_counts(tx, world.id)
    assert live_tasks.leased == 1, "what nobody held is no question any more"


def test_a_persons_answer_replaces_the_model_and_stays(system: System) -> None:
    world = project(system, auto_label_audit=0.1)
    world.do_train(**SURE)
    world.do_score(confidence=0.95, column=1)
    world.do_select()
    for task in live(world):
        answer(world, task, 1)
    assert sources(world) == {"human": 9, "model": 51}
    system.rounds.nudge(world.id)
    world.do_train(**SURE)
    world.do_score(confidence=0.95, column=0)
    assert sources(world)["human"] == 9


def test_an_import_replaces_the_model_and_not_a_person(system: System) -> None:
    world = project(system)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    with system.ledger.transaction() as tx:
        labels.import_known(tx, world.id, {image.sha256: world.classes[1].id for image in world.images})
    assert sources(world) == {"human": 4, "import": 56}


def test_an_audit_that_fails_withdraws_every_label_and_raises_the_threshold(system: System) -> None:
    world = project(system, pool=200, batch_size=40, auto_label_audit=0.1)
    world.do_train(**SURE)
    world.do_score(confidence=0.95, column=1)
    world.do_select()
    asked = live(world)
    for task in asked[:6]:
        answer(world, task, 0)
    assert sources(world)["model"] == 0
    with system.ledger.transaction() as tx:
        (event,) = [one for one in events.newest(tx, world.id) if one.kind == "autolabel.withdrawn"]
        now = overview(tx, world.id)
    # The alarm rings before the last of them; whoever still answers is told nothing, and their answers count.
    assert event.data["threshold"] == 0.9 and event.data["answers"] <= 6 and event.data["right"] == 0
    assert event.data["labels"] >= 180 and "shows a precision below 0.99" in event.data["reason"]
    assert now.auto_labels.failed is not None and now.auto_labels.failed.threshold == 0.9
    assert now.auto_labels.audited.answers == 0, "later audits belong to later labels"
    for task in asked[6:]:
        answer(world, task, 0)
    system.rounds.nudge(world.id)
    world.do_train(**SURE)
    world.do_score(confidence=1.0)
    assert sources(world)["model"] == 0, "the threshold that failed is not taken again"
    world.do_select()
    world.answer(1000)
    system.rounds.nudge(world.id)
    better = {"thresholds": [0.9, 0.98], "n": [500, 400], "right": [500, 400]}
    world.do_train(calibration={"above": better})
    world.do_score(confidence=0.99)
    assert sources(world)["model"] > 0, "a higher one is"


def test_a_lower_target_takes_the_threshold_that_failed_again(system: System) -> None:
    world = project(system, pool=200, batch_size=40, auto_label_audit=0.1)
    world.do_train(**SURE)
    world.do_score(confidence=0.95, column=1)
    world.do_select()
    for task in live(world):
        answer(world, task, 0)
    with system.ledger.transaction() as tx:
        changed = projects.get(tx, world.id).settings
        projects.set_settings(tx, world.id, type(changed)(**{**changed.__dict__, "auto_label_precision": 0.95}))
    system.rounds.nudge(world.id)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    assert sources(world)["model"] > 0


def test_audits_that_agree_leave_the_labels_and_are_counted(system: System) -> None:
    world = project(system, auto_label_audit=0.1)
    world.do_train(**SURE)
    world.do_score(confidence=0.95, column=1)
    world.do_select()
    for task in live(world):
        answer(world, task, 1)
    with system.ledger.transaction() as tx:
        now = overview(tx, world.id).auto_labels
    assert (now.labels, now.asked, now.audited.answers, now.audited.right) == (51, 5, 5, 5)


def test_an_audit_answer_that_is_taken_back_no_longer_counts(system: System) -> None:
    world = project(system, auto_label_audit=0.1)
    world.do_train(**SURE)
    world.do_score(confidence=0.95, column=1)
    world.do_select()
    answer(world, live(world)[0], 0)
    system.labelling.undo(world.id, world.user().id)
    with system.ledger.transaction() as tx:
        assert model_labels.answers(tx, world.id, after=0) == []


def held_by(world: World, *names: str) -> list[list[Task]]:
    """Every task that each of these people may be asked, by leasing all."""
    return [world.system.labelling.lease(world.id, world.user(name).id, count=1000) for name in names]


def said(world: World, name: str, task: Task, position: int) -> None:
    lease = Lease(task_id=task.id, fence=task.fence)
    chosen = world.classes[position].id
    world.system.labelling.submit(world.id, world.user(name).id, lease, chosen, key=f"{task.id}-{task.fence}")


def test_audits_are_asked_of_as_many_people_as_other_questions_and_count_once(system: System) -> None:
    world = project(system, overlap=2, auto_label_audit=0.1, people=("ann", "bob"))
    world.do_train(**SURE)
    world.do_score(confidence=0.95, column=1)
    world.do_select()
    anns, bobs = held_by(world, "ann", "bob")
    assert {task.image_id for task in anns} == {task.image_id for task in bobs} and len(anns) == 5
    assert {task.kind for task in anns + bobs} == {TaskKind.AUDIT}
    for task in anns:
        said(world, "ann", task, 1)
    with system.ledger.transaction() as tx:
        assert overview(tx, world.id).auto_labels.audited.answers == 0, "half an answer is none"
    for task in bobs:
        said(world, "bob", task, 1)
    with system.ledger.transaction() as tx:
        now = overview(tx, world.id).auto_labels
    assert (now.labels, now.asked, now.audited.answers, now.audited.right) == (51, 5, 5, 5)
    assert sources(world)["consensus"] == 9, "the first four and the five that were checked"


def test_a_label_of_the_model_stands_where_those_who_check_it_disagree_until_a_reviewer_decides(system: System) -> None:
    world = project(system, overlap=2, auto_label_audit=0.1, people=("ann", "bob"))
    world.do_train(**SURE)
    world.do_score(confidence=0.95, column=1)
    world.do_select()
    anns, bobs = held_by(world, "ann", "bob")
    image = anns[0].image_id
    said(world, "ann", anns[0], 0)
    said(world, "bob", next(task for task in bobs if task.image_id == image), 1)
    with system.ledger.transaction() as tx:
        assert model_labels.answers(tx, world.id, after=0) == []
    assert labelled_by_model(world)[image] == "b"
    eve = world.user("eve").id
    (question,), _ = system.adjudication.queue(world.id, eve, limit=9)
    system.adjudication.decide(world.id, eve, question.id, world.classes[0].id, key="k")
    with system.ledger.transaction() as tx:
        assert model_labels.answers(tx, world.id, after=0) == [False]


def test_an_audit_of_several_people_that_fails_withdraws_every_label(system: System) -> None:
    world = project(system, pool=200, batch_size=40, overlap=2, auto_label_audit=0.1, people=("ann", "bob"))
    world.do_train(**SURE)
    world.do_score(confidence=0.95, column=1)
    world.do_select()
    anns, bobs = held_by(world, "ann", "bob")
    for task in anns[:6]:
        said(world, "ann", task, 0)
    assert sources(world)["model"] > 0
    for task in sorted(bobs, key=lambda t: t.copy)[:6]:
        said(world, "bob", task, 0)
    assert sources(world)["model"] == 0
    with system.ledger.transaction() as tx:
        assert overview(tx, world.id).auto_labels.asked == 0, "later audits belong to later labels"


def test_audits_never_exceed_the_budget(system: System) -> None:
    world = project(system, auto_label_audit=1.0, label_budget=10)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    world.do_select()
    assert len(live(world)) == 3, "half of the six that are left"


def test_while_audits_are_due_the_pool_is_not_exhausted_and_then_it_is(system: System) -> None:
    world = project(system, pool=24, auto_label_audit=0.1)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    with system.ledger.transaction() as tx:
        assert projects.get(tx, world.id).state is ProjectState.RUNNING
    world.do_select()
    world.answer(100)
    system.rounds.nudge(world.id)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    with system.ledger.transaction() as tx:
        finished = projects.get(tx, world.id)
    assert finished.state is ProjectState.FINISHED
    assert finished.stop_reason == "pool exhausted: every image is labelled or was skipped"


def test_part_of_each_batch_is_random_until_there_is_evidence_enough(system: System) -> None:
    world = project(system, pool=200, batch_size=10, auto_label_random=0.3)
    world.do_train(**UNSURE)
    world.do_score()
    assert world.do_select() == 7
    asked = live(world)
    assert Counter(task.strategy for task in asked) == {"random": 10}, "the world's hands select at random, too"
    with system.ledger.transaction() as tx:
        before = {example.image_id for example in labels.examples(tx, world.id, Split.POOL) if example.at_random}
    assert len(before) == 4
    by_priority = sorted(asked, key=lambda task: task.priority)
    drawn = [at for at, task in enumerate(by_priority) if task.score is None]
    assert len(drawn) == 3 and drawn != [7, 8, 9], "they are spread between the others"


def test_audited_labels_are_no_random_sample_of_the_pool(system: System) -> None:
    world = project(system, auto_label_audit=0.1)
    world.do_train(**SURE)
    world.do_score(confidence=0.95, column=1)
    world.do_select()
    world.answer(100)
    with system.ledger.transaction() as tx:
        found = labels.examples(tx, world.id, Split.POOL)
    assert Counter(example.at_random for example in found) == {True: 4, False: 5}


# Hand-label the rest


def finished_project(system: System, pool: int = 40) -> World:
    world = project(system, pool=pool, max_rounds=1, auto_label=False)
    world.do_train()
    world.do_score()
    return world


def test_people_label_the_rest_until_nothing_is_left(system: System) -> None:
    world = finished_project(system)
    with system.ledger.transaction() as tx:
        assert projects.get(tx, world.id).state is ProjectState.FINISHED
        system.rounds.label_rest(tx, world.id, "test")
    with system.ledger.transaction() as tx:
        job = world.next_job(JobKind.SELECT)
        assert job.payload["strategy"] == "least_confidence"
        system.ledger.give_back(job)
    world.do_select()
    assert world.answer(1000) == 36
    system.rounds.nudge(world.id)
    with system.ledger.transaction() as tx:
        now, current = projects.get(tx, world.id), rounds.latest(tx, world.id)
    assert (
        now.state is ProjectState.FINISHED
        and now.stop_reason == "pool exhausted: every image is labelled or was skipped"
    )
    assert current is not None and (current.number, current.state) == (1, RoundState.DONE), "no more models are trained"
    assert sources(world) == {"human": 40}


def test_the_rest_is_what_has_no_label_of_the_model_either(system: System) -> None:
    world = project(system, shard_size=30, max_rounds=1)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    world.do_score(confidence=0.6)
    with system.ledger.transaction() as tx:
        system.rounds.label_rest(tx, world.id, "test")
    world.do_select()
    asked = {task.image_id for task in live(world)}
    assert len(asked) == 30 and not asked & set(labelled_by_model(world))


def test_nothing_left_is_said_and_changes_nothing(system: System) -> None:
    world = project(system, pool=24, max_rounds=1)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    with pytest.raises(Conflict, match="nothing is left"), system.ledger.transaction() as tx:
        system.rounds.label_rest(tx, world.id, "test")


def test_a_project_that_was_never_started_has_no_rest(system: System) -> None:
    world = build(system)
    with pytest.raises(Conflict, match="start the project first"), system.ledger.transaction() as tx:
        system.rounds.label_rest(tx, world.id, "test")


def test_starting_a_project_again_after_the_rest_trains_again(system: System) -> None:
    world = finished_project(system)
    with system.ledger.transaction() as tx:
        system.rounds.label_rest(tx, world.id, "test")
    world.do_select()
    world.answer(1000)
    system.rounds.nudge(world.id)
    world.start()
    with system.ledger.transaction() as tx:
        assert not projects.get(tx, world.id).labelling_rest
        current = rounds.latest(tx, world.id)
    assert current is not None and (current.number, current.state) == (2, RoundState.TRAINING)


def test_the_source_of_a_label_tells_that_the_model_gave_it(system: System) -> None:
    world = project(system)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    with system.ledger.transaction() as tx:
        found = labels.of_image(tx, next(iter(labelled_by_model(world))))
    assert found is not None and found.source is LabelSource.MODEL
