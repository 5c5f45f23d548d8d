"""A project moves through its rounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.db import images, labels, projects, rounds, tasks
from shared.domain import JobKind, NewImage, ProjectState, RoundMode, RoundState, Split
from shared.errors import Conflict, Invalid, StaleFence
from shared.rounds import Pick
from shared.system import System
from tests.world import World, build, new_images, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


def state_of(world: World) -> tuple[ProjectState, int | None, RoundState | None]:
    with world.system.ledger.transaction() as tx:
        project = projects.get(tx, world.id)
        current = rounds.latest(tx, world.id)
    return (project.state, current.number if current else None, current.state if current else None)


def live(world: World) -> int:
    with world.system.ledger.transaction() as tx:
        counts = tasks.live_counts(tx, world.id)
    return counts.open + counts.leased


def test_a_whole_strict_round_leads_to_the_next(system: System) -> None:
    world = build(system, pool=20, mode=RoundMode.STRICT, initial=4, batch_size=3, max_rounds=2)
    world.start()
    assert world.queued() == [JobKind.EMBED]
    assert state_of(world) == (ProjectState.RUNNING, None, None)
    world.do_embed()
    assert state_of(world) == (ProjectState.RUNNING, 0, RoundState.SELECTING)
    assert world.do_select() == 4
    assert state_of(world) == (ProjectState.RUNNING, 0, RoundState.LABELLING)
    assert world.answer(3) == 3
    system.rounds.nudge(world.id)
    assert state_of(world)[2] is RoundState.LABELLING, "a strict round waits for all its tasks"
    world.answer(1)
    system.rounds.nudge(world.id)
    assert state_of(world) == (ProjectState.RUNNING, 1, RoundState.TRAINING)
    world.do_train()
    assert state_of(world) == (ProjectState.RUNNING, 1, RoundState.SCORING)
    world.do_score()
    assert world.do_select() == 3
    world.answer(3)
    system.rounds.nudge(world.id)
    world.do_train()
    world.do_score()
    assert state_of(world) == (ProjectState.FINISHED, 2, RoundState.DONE)
    with system.ledger.transaction() as tx:
        assert projects.get(tx, world.id).stop_reason == "rounds: 2 of 2"
        assert labels.counts(tx, world.id).human == 7


def test_a_rolling_round_opens_more_tasks_than_it_waits_for(system: System) -> None:
    world = build(system, pool=40, mode=RoundMode.ROLLING, initial=4, batch_size=5, queue_factor=2.0)
    world.start()
    world.do_embed()
    assert world.do_select() == 8
    world.answer(4)
    system.rounds.nudge(world.id)
    assert state_of(world)[2] is RoundState.TRAINING
    assert world.answer(2) == 2, "the old queue is served while the model trains"
    world.do_train()
    world.do_score()
    leased = system.labelling.lease(world.id, world.user().id, count=1)
    assert world.do_select() == 10
    assert live(world) == 11, "the new selection replaces what nobody holds, and only that"
    with system.ledger.transaction() as tx:
        assert tasks.get(tx, world.id, leased[0].id).state.value == "leased"


def test_the_budget_counts_the_holdout_and_is_never_exceeded(system: System) -> None:
    world = build(system, pool=30, mode=RoundMode.STRICT, initial=5, batch_size=5, holdout_size=4, label_budget=12)
    world.start()
    world.do_embed()
    assert live(world) == 4, "the holdout is asked first"
    assert world.do_select() == 5
    assert world.answer(100) == 9
    system.rounds.nudge(world.id)
    world.do_train()
    world.do_score()
    assert world.do_select() == 3, "only what the budget still allows"
    assert world.answer(100) == 3
    system.rounds.nudge(world.id)
    world.do_train()
    world.do_score()
    with system.ledger.transaction() as tx:
        project = projects.get(tx, world.id)
        counts = labels.counts(tx, world.id)
    assert project.state is ProjectState.FINISHED
    assert project.stop_reason == "label budget: 12 of 12 labels"
    assert (counts.human, counts.holdout, counts.pool) == (12, 4, 8)


def test_the_holdout_is_never_a_candidate_nor_trained_on(system: System) -> None:
    world = build(system, pool=10, holdout=0, mode=RoundMode.STRICT, initial=3, batch_size=3, holdout_size=4)
    world.start()
    world.do_embed()
    with system.ledger.transaction() as tx:
        held_out = {i.id for i in images.page(tx, world.id, split=Split.HOLDOUT)}
        candidates = {i for s in images.shards(tx, world.id) for i, _ in images.candidates(tx, s.id)}
    assert len(held_out) == 4
    assert not held_out & candidates
    world.do_select()
    world.answer(100)
    with system.ledger.transaction() as tx:
        assert held_out == {e.image_id for e in labels.examples(tx, world.id, Split.HOLDOUT)}
        assert not held_out & {e.image_id for e in labels.examples(tx, world.id, Split.POOL)}


def test_a_target_accuracy_is_met_by_the_lower_end_of_the_interval(system: System) -> None:
    world = build(system, pool=20, mode=RoundMode.STRICT, initial=3, batch_size=3, target_accuracy=0.9)
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(3)
    system.rounds.nudge(world.id)
    world.do_train(accuracy=0.95, accuracy_low=0.89)
    world.do_score()
    assert state_of(world)[0] is ProjectState.RUNNING
    world.do_select()
    world.answer(3)
    system.rounds.nudge(world.id)
    world.do_train(accuracy=0.95, accuracy_low=0.91)
    world.do_score()
    assert state_of(world)[0] is ProjectState.FINISHED


def test_an_exhausted_pool_trains_on_its_last_labels_and_finishes(system: System) -> None:
    world = build(system, pool=5, mode=RoundMode.STRICT, initial=3, batch_size=3)
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(3)
    system.rounds.nudge(world.id)
    world.do_train()
    world.do_score()
    world.do_select()
    assert world.answer(10) == 2
    system.rounds.nudge(world.id)
    world.do_train()
    world.do_score()
    with system.ledger.transaction() as tx:
        project = projects.get(tx, world.id)
    assert project.state is ProjectState.FINISHED
    assert project.stop_reason is not None and project.stop_reason.startswith("pool exhausted")


def test_images_that_come_late_join_at_the_next_round(system: System) -> None:
    world = build(system, pool=6, mode=RoundMode.STRICT, initial=3, batch_size=3)
    world.start()
    world.do_embed()
    world.do_select()
    with system.ledger.transaction() as tx:
        images.add(tx, world.id, new_images(4))
        system.rounds.ingested(tx, world.id)
    assert JobKind.EMBED not in world.queued(), "a few images don't make a shard of their own yet"
    world.answer(3)
    system.rounds.nudge(world.id)
    assert world.queued() == [JobKind.EMBED, JobKind.TRAIN]
    world.do_embed()
    world.do_train()
    assert world.queued() == [JobKind.SCORE, JobKind.SCORE]


def test_a_full_shard_is_embedded_while_images_still_arrive(system: System) -> None:
    world = build(system, pool=10, shard_size=4)
    with system.ledger.transaction() as tx:
        system.rounds.ingested(tx, world.id)
    assert world.queued() == [JobKind.EMBED, JobKind.EMBED]
    with system.ledger.transaction() as tx:
        assert [s.image_count for s in images.shards(tx, world.id)] == [4, 4]


def test_a_shard_keeps_its_images_in_order_of_id(system: System) -> None:
    world = build(system, pool=10, shard_size=4)
    world.start()
    with system.ledger.transaction() as tx:
        rows = [i for s in images.shards(tx, world.id) for i in images.in_shard(tx, s.id)]
    assert [i.id for i in rows] == sorted(i.id for i in world.images)
    assert [i.shard_row for i in rows] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_pausing_stops_new_tasks_but_takes_answers_already_begun(system: System) -> None:
    world = build(system, pool=10, mode=RoundMode.STRICT, initial=4)
    world.start()
    world.do_embed()
    world.do_select()
    user = world.user()
    held = system.labelling.lease(world.id, user.id, count=1)[0]
    with system.ledger.transaction() as tx:
        system.rounds.pause(tx, world.id, "test")
    assert system.labelling.lease(world.id, world.user("bob").id, count=1) == []
    lease = tasks.Lease(task_id=held.id, fence=held.fence)
    system.labelling.submit(world.id, user.id, lease, world.classes[0].id, key="k")
    world.start()
    assert len(system.labelling.lease(world.id, world.user("bob").id, count=10)) == 3


def test_starting_twice_asks_once(system: System) -> None:
    world = build(system, pool=10)
    world.start()
    world.start()
    assert world.queued() == [JobKind.EMBED]


def test_a_project_without_pool_images_can_not_start(system: System) -> None:
    world = build(system, pool=0, holdout=3)
    with pytest.raises(Invalid, match="upload images"):
        world.start()


def test_a_holdout_as_large_as_the_pool_is_refused(system: System) -> None:
    world = build(system, pool=5, holdout_size=5)
    with pytest.raises(Invalid, match="leaves nothing"):
        world.start()
    with system.ledger.transaction() as tx:
        assert projects.get(tx, world.id).state is ProjectState.DRAFT


def test_only_a_running_project_can_be_paused(system: System) -> None:
    world = build(system)
    with pytest.raises(Conflict, match="draft"), system.ledger.transaction() as tx:
        system.rounds.pause(tx, world.id, "test")


def test_imported_labels_replace_the_cold_start(system: System) -> None:
    world = build(system, pool=10, initial=4)
    with system.ledger.transaction() as tx:
        labels.import_known(tx, world.id, {i.sha256: world.classes[0].id for i in world.images[:5]})
    world.start()
    world.do_embed()
    assert state_of(world) == (ProjectState.RUNNING, 1, RoundState.TRAINING)


def test_an_import_closes_the_question_but_never_overwrites_a_person(system: System) -> None:
    world = build(system, pool=4, mode=RoundMode.STRICT, initial=4)
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(1)
    with system.ledger.transaction() as tx:
        done = {e.image_id for e in labels.examples(tx, world.id, Split.POOL)}
        everything = {i.sha256: world.classes[1].id for i in world.images}
        imported = labels.import_known(tx, world.id, everything)
    assert len(imported) == 3 and not done & set(imported)
    assert live(world) == 0


def test_a_model_that_comes_after_its_round_is_not_published(system: System) -> None:
    world = build(system, pool=10, mode=RoundMode.STRICT, initial=2, batch_size=2)
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(2)
    system.rounds.nudge(world.id)
    job = world.next_job(JobKind.TRAIN)
    with system.ledger.transaction() as tx:
        system.ledger.give_back(job)
    world.do_train()
    with pytest.raises(StaleFence), system.ledger.transaction() as tx:
        system.ledger.finish(tx, job)
    with system.ledger.transaction() as tx:
        assert len(rounds.curve(tx, world.id)) == 1


def test_skipping_everything_asks_again_and_then_gives_up(system: System) -> None:
    world = build(system, pool=2, mode=RoundMode.STRICT, initial=2)
    world.start()
    world.do_embed()
    world.do_select()
    user = world.user()
    for _ in range(6):
        (task,) = system.labelling.lease(world.id, user.id, count=1)
        system.labelling.skip(world.id, user.id, tasks.Lease(task_id=task.id, fence=task.fence))
    system.rounds.nudge(world.id)
    state, _, _ = state_of(world)
    assert state is ProjectState.FINISHED


def test_a_repeated_digest_is_stored_once(system: System) -> None:
    world = build(system, pool=0)
    (image,) = new_images(1)
    with system.ledger.transaction() as tx:
        assert len(images.add(tx, world.id, [image, image])) == 1
        assert images.add(tx, world.id, [image]) == []
        assert set(images.by_sha256(tx, world.id, [image.sha256])) == {image.sha256}


def test_a_selection_passes_over_what_was_labelled_meanwhile(system: System) -> None:
    world = build(system, pool=6, mode=RoundMode.STRICT, initial=3)
    world.start()
    world.do_embed()
    job = world.next_job(JobKind.SELECT)
    first = world.images[0]
    with system.ledger.transaction() as tx:
        labels.import_known(tx, world.id, {first.sha256: world.classes[0].id})
    with system.ledger.transaction() as tx:
        system.ledger.finish(tx, job)
        picks = [Pick(image_id=i.id, score=1.0) for i in world.images[:3]]
        system.rounds.selected(tx, job, "random", picks)
    assert live(world) == 2


def test_labels_that_a_model_has_already_seen_do_not_make_another_round(system: System) -> None:
    world = build(system, pool=60, mode=RoundMode.ROLLING, initial=5, batch_size=5, queue_factor=4.0)
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(5)
    system.rounds.nudge(world.id)
    world.answer(5)  # while the training waits for a worker, which will read all ten
    world.do_train()
    world.do_score()
    world.do_select()
    system.rounds.nudge(world.id)
    assert state_of(world) == (ProjectState.RUNNING, 1, RoundState.LABELLING)
    world.answer(5)
    system.rounds.nudge(world.id)
    assert state_of(world) == (ProjectState.RUNNING, 2, RoundState.TRAINING)


def test_a_project_without_a_holdout_draws_a_tenth_of_its_images(system: System) -> None:
    world = build(system, pool=40, holdout_size=None)
    world.start()
    with system.ledger.transaction() as tx:
        assert images.counts(tx, world.id).holdout == 4


def test_an_uploaded_holdout_is_left_as_it_is(system: System) -> None:
    world = build(system, pool=40, holdout=7, holdout_size=None)
    world.start()
    with system.ledger.transaction() as tx:
        assert images.counts(tx, world.id).holdout == 7


def test_an_image_may_have_any_name(system: System) -> None:
    world = build(system, pool=0)
    odd = NewImage(sha256="cd" * 32, filename="ä'; DROP TABLE images; --.png", width=1, height=1, bytes=1, format="PNG")
    with system.ledger.transaction() as tx:
        (stored,) = images.add(tx, world.id, [odd])
    assert stored.filename == odd.filename
