"""What may become of a batch, and where its questions come from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared import batches
from shared import trust as trusting
from shared.db import batches as rows
from shared.db import events, gold, jobs, labels, projects, quality, tasks, trust, users
from shared.db import questions as asked
from shared.db.batches import Counts, Terms
from shared.db.pool import Tx
from shared.db.questions import Known
from shared.db.tasks import Lease
from shared.db.webhooks import EventType
from shared.domain import Batch, BatchId, BatchState, JobKind, RoundMode, Task, TaskState
from shared.errors import Conflict, Invalid
from shared.jobs import Ledger
from shared.rounds import Pick
from shared.sweeper import Sweeper
from shared.system import System
from shared.vendors import Answer, Status
from shared.verdicts import Outcome, Verdict, judge
from tests.integration.batch_support import started
from tests.integration.webhooks_support import Post
from tests.world import World, build, open_system

S = BatchState


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path, pool_size=20) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    return started(system)


def new_batch(world: World, *, opened: bool = True, **terms: object) -> Batch:
    with world.system.ledger.transaction() as tx:
        vendor = users.vendor_named(tx, "Acme")
        wanted = replace(Terms(name=f"b{terms}", size=10), **terms)  # type: ignore[arg-type]
        batch = batches.create(tx, world.id, vendor, wanted, "test")
        return batches.open_(tx, world.system.ledger, batch.id, "test") if opened else batch


def state(world: World, batch: Batch) -> BatchState:
    with world.system.ledger.transaction() as tx:
        return rows.get(tx, batch.id).state


def counts(world: World, batch: Batch) -> Counts:
    with world.system.ledger.transaction() as tx:
        return rows.counts(tx, batch.id)


def sweep(world: World) -> None:
    Sweeper(world.system.ledger, world.system.rounds, every_s=60).sweep()


def work(world: World, batch: Batch, count: int, annotator: str | None = None, *, class_name: str = "a") -> int:
    """Lease and answer as the vendor; how many were accepted."""
    leased = world.system.vendors.lease(batch.id, count=count, ttl_s=60, annotator=annotator, actor="test")
    given = [Answer(task_id=t.id, token=leased.token or "", class_name=class_name) for t in leased.tasks]
    done = world.system.vendors.answer(batch.id, given) if given else []
    return sum(one.status is Status.ACCEPTED for one in done)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(S, S)))
def test_a_batch_moves_as_the_table_says_and_in_no_other_way(before: S, after: S) -> None:
    allowed = {
        (S.DRAFT, S.OPEN), (S.DRAFT, S.CANCELLING), (S.OPEN, S.IN_PROGRESS), (S.OPEN, S.PAUSED),
        (S.OPEN, S.COMPLETED), (S.OPEN, S.CANCELLING), (S.OPEN, S.FAILED), (S.IN_PROGRESS, S.PAUSED),
        (S.IN_PROGRESS, S.COMPLETED), (S.IN_PROGRESS, S.CANCELLING), (S.IN_PROGRESS, S.FAILED),
        (S.PAUSED, S.IN_PROGRESS), (S.PAUSED, S.COMPLETED), (S.PAUSED, S.CANCELLING), (S.PAUSED, S.FAILED),
        (S.COMPLETED, S.IN_PROGRESS), (S.CANCELLING, S.CANCELLED), (S.FAILED, S.OPEN), (S.FAILED, S.CANCELLING),
    }  # fmt: skip
    assert (after in batches.NEXT[before]) == ((before, after) in allowed)


def test_every_move_is_on_record_and_one_that_is_not_allowed_changes_nothing(world: World) -> None:
    batch = new_batch(world, opened=False)
    for to in set(S) - batches.NEXT[S.DRAFT]:
        with pytest.raises(Conflict, match="can't become"), world.system.ledger.transaction() as tx:
            batches.move(tx, rows.lock(tx, batch.id), to, "test")
    with world.system.ledger.transaction() as tx:
        moved = batches.move(tx, rows.lock(tx, batch.id), S.OPEN, "user:3")
        (newest, *_) = events.newest(tx, world.id)
    assert (moved.state, moved.version) == (S.OPEN, batch.version + 1)
    assert (newest.kind, newest.actor, newest.data["batch"]) == ("batch.opened", "user:3", batch.id)


@pytest.mark.parametrize("action", ["pause", "resume", "open_"])
def test_what_a_draft_or_an_ended_batch_can_not_do_is_refused(world: World, action: str) -> None:
    def do(tx: Tx, batch_id: BatchId) -> None:
        ledger: tuple[Ledger, ...] = (world.system.ledger,) if action == "open_" else ()
        getattr(batches, action)(tx, *ledger, batch_id, "test")

    ended = new_batch(world, size=1)
    assert work(world, ended, 1) == 1
    assert state(world, ended) is S.COMPLETED
    for batch in [ended] if action == "open_" else [ended, new_batch(world, opened=False, size=2)]:
        with pytest.raises(Conflict), world.system.ledger.transaction() as tx:
            do(tx, batch.id)


def test_a_paused_batch_hands_out_nothing_but_takes_what_is_answered(world: World) -> None:
    batch = new_batch(world, size=4)
    leased = world.system.vendors.lease(batch.id, count=2, ttl_s=60, annotator=None, actor="test")
    with world.system.ledger.transaction() as tx:
        batches.pause(tx, batch.id, "test")
    assert work(world, batch, 5) == 0
    given = [Answer(task_id=t.id, token=leased.token or "", class_name="a") for t in leased.tasks]
    assert [one.status for one in world.system.vendors.answer(batch.id, given)] == [Status.ACCEPTED] * 2
    with world.system.ledger.transaction() as tx:
        batches.resume(tx, batch.id, "test")
    assert work(world, batch, 5) == 2 and state(world, batch) is S.COMPLETED


def test_a_batch_takes_the_first_of_the_projects_queue_and_in_house_annotators_get_the_others(world: World) -> None:
    batch = new_batch(world, size=12)
    leased = world.system.vendors.lease(batch.id, count=50, ttl_s=60, annotator=None, actor="test")
    assert [t.priority for t in leased.tasks] == list(range(1, 13))
    mine = world.system.labelling.lease(world.id, world.user().id, count=50)
    assert [t.priority for t in mine] == list(range(13, 21))


def test_a_new_selection_replaces_what_waits_in_a_batch_and_keeps_it_full(system: System) -> None:
    world = started(system, pool=60, asked=10, mode=RoundMode.ROLLING, batch_size=5)
    batch = new_batch(world, size=18)
    before = counts(world, batch)
    assert before.open == 18, "twice what a round waits for is in the queue"
    assert work(world, batch, 10) == 10
    sweep(world)
    world.do_train(accuracy=0.5)
    world.do_score()
    with system.ledger.transaction() as tx:
        waiting = {row["id"] for row in tx.all("SELECT id FROM tasks WHERE batch_id IS NOT NULL AND state = 'open'")}
    world.do_select()
    with system.ledger.transaction() as tx:
        after = {row["id"] for row in tx.all("SELECT id FROM tasks WHERE batch_id IS NOT NULL AND state = 'open'")}
    assert len(after) == 8 and not after & waiting


def test_what_nothing_better_replaced_stays_in_the_batch(world: World) -> None:
    batch = new_batch(world, size=20)
    with world.system.ledger.transaction() as tx:
        given_up = batches.give_up_open(tx, world.id)
        batches.top_up(tx, projects.lock(tx, world.id), given_up)
    assert len(given_up[batch.id]) == 20 and counts(world, batch).open == 20


def test_a_batch_filled_at_random_keeps_its_questions_and_no_round_waits_for_them(world: World) -> None:
    world.answer(15)
    batch = new_batch(world, size=8, fill="random")
    assert counts(world, batch).open == 8
    world.answer(5)
    sweep(world)
    assert JobKind.TRAIN in world.queued(), "the round went on"
    world.do_train(accuracy=0.5)
    world.do_score()
    world.do_select()
    assert counts(world, batch).open == 8
    assert work(world, batch, 8) == 8 and state(world, batch) is S.COMPLETED


def test_a_strategy_of_the_batchs_own_chooses_once_there_is_a_model(world: World) -> None:
    with pytest.raises(Conflict, match="needs a model"):
        new_batch(world, size=4, fill="entropy")
    world.answer(20)
    sweep(world)
    world.do_train(accuracy=0.5)
    world.do_score()
    batch = new_batch(world, size=4, fill="margin")
    assert counts(world, batch).live == 0 and batch.fill_job is not None
    with world.system.ledger.transaction() as tx:
        job = jobs.get(tx, batch.fill_job)
    assert (job.payload["strategy"], job.payload["count"]) == ("margin", 4)
    claimed = world.system.ledger.claim(job.id, worker="test", lease_s=60)
    assert claimed is not None
    free = [image.id for image in world.images[-4:]]
    with world.system.ledger.transaction() as tx:
        world.system.ledger.finish(tx, claimed)
        world.system.rounds.selected(tx, claimed, "margin", [Pick(image_id=one, score=0.1) for one in free])
    assert counts(world, batch).open == 4
    assert work(world, batch, 9) == 4 and state(world, batch) is S.COMPLETED


def test_a_batch_whose_strategy_fails_for_good_has_failed_and_can_be_tried_again(world: World) -> None:
    world.answer(20)
    sweep(world)
    world.do_train(accuracy=0.5)
    world.do_score()
    batch = new_batch(world, size=4, fill="margin")
    assert batch.fill_job is not None
    with world.system.ledger.transaction() as tx:
        world.system.ledger.cancel(tx, batch.fill_job, world.id, "test")
    sweep(world)
    with world.system.ledger.transaction() as tx:
        failed = rows.get(tx, batch.id)
        assert (failed.state, failed.error) == (S.FAILED, "cancelled by test")
        again = batches.open_(tx, world.system.ledger, batch.id, "test")
    assert again.state is S.OPEN and again.fill_job != batch.fill_job and again.error is None


def test_a_project_that_was_never_started_opens_no_batch(system: System) -> None:
    world = build(system)
    with pytest.raises(Conflict, match="start the project"):
        new_batch(world)


def test_cancelling_keeps_what_is_done_revokes_what_is_held_and_counts_both(world: World) -> None:
    batch = new_batch(world, size=10)
    assert work(world, batch, 3) == 3
    held = world.system.vendors.lease(batch.id, count=2, ttl_s=60, annotator="maria", actor="test")
    with world.system.ledger.transaction() as tx:
        assert batches.cancel(tx, batch.id, "test").state is S.CANCELLING
    sweep(world)
    with world.system.ledger.transaction() as tx:
        done = rows.get(tx, batch.id)
        assert (done.state, done.revoked, done.dropped) == (S.CANCELLED, 2, 5)
        assert labels.counts(tx, world.id).human == 3
        (newest, *_) = events.newest(tx, world.id)
    assert {**newest.data, "answered": 3, "revoked": 2, "dropped": 5} == newest.data
    late = [Answer(task_id=t.id, token=held.token or "", class_name="a") for t in held.tasks]
    assert {one.status for one in world.system.vendors.answer(batch.id, late)} == {Status.STALE_LEASE}


def test_cancelling_under_load_leaves_each_answer_either_recorded_or_refused(system: System) -> None:
    world = started(system, pool=400, asked=300)
    batch = new_batch(world, size=300)
    cancelled = False

    def vendor(number: int) -> int:
        accepted = 0
        for _ in range(30):
            accepted += work(world, batch, 10, f"annotator-{number}")
            if cancelled:
                return accepted
        return accepted

    with ThreadPoolExecutor(5) as pool:
        running = [pool.submit(vendor, number) for number in range(4)]
        while counts(world, batch).answered < 60:
            pass
        with world.system.ledger.transaction() as tx:
            batches.cancel(tx, batch.id, "test")
        sweep(world)
        cancelled = True
        accepted = sum(one.result() for one in running)
    sweep(world)
    end = counts(world, batch)
    with world.system.ledger.transaction() as tx:
        batch = rows.get(tx, batch.id)
        assert labels.counts(tx, world.id).human == accepted
    assert batch.state is S.CANCELLED and end.live == 0
    assert end.answered == accepted and end.answered + batch.revoked + batch.dropped == 300


def test_rejected_work_loses_its_label_and_is_asked_again_first(world: World) -> None:
    batch = new_batch(world, size=5)
    assert work(world, batch, 5) == 5
    with world.system.ledger.transaction() as tx:
        ids = [one.id for one in rows.list_annotations(tx, batch.id)]
        first = judge(tx, batch.id, [*ids[:2], ids[0]], Verdict.REJECTED, "the other bird", "user:1")
        again = judge(tx, batch.id, ids[:1], Verdict.REJECTED, "the other bird", "user:1")
        refused = judge(tx, batch.id, ids[:1], Verdict.ACCEPTED, "", "user:1")
        assert labels.counts(tx, world.id).human == 3
    assert (first, again, refused) == (
        [Outcome.REJECTED] * 3, [Outcome.REPLAYED], [Outcome.NOT_STANDING],
    )  # fmt: skip
    assert state(world, batch) is S.IN_PROGRESS
    leased = world.system.vendors.lease(batch.id, count=9, ttl_s=60, annotator=None, actor="test")
    assert len(leased.tasks) == 2 and {t.strategy for t in leased.tasks} == {"asked_again"}
    given = [Answer(task_id=t.id, token=leased.token or "", class_name="b") for t in leased.tasks]
    world.system.vendors.answer(batch.id, given)
    assert state(world, batch) is S.COMPLETED
    end = counts(world, batch)
    assert (end.answered, end.rejected) == (5, 2)


def test_an_acceptance_is_recorded_and_may_be_followed_by_a_rejection(world: World) -> None:
    batch = new_batch(world, size=3)
    work(world, batch, 3)
    with world.system.ledger.transaction() as tx:
        ids = [one.id for one in rows.list_annotations(tx, batch.id)]
        assert judge(tx, batch.id, ids, Verdict.ACCEPTED, "", "user:1") == [Outcome.ACCEPTED] * 3
        assert judge(tx, batch.id, ids[:1], Verdict.REJECTED, "not so", "user:1") == [Outcome.REJECTED]
        end = rows.counts(tx, batch.id)
        with pytest.raises(Invalid, match="say why"):
            judge(tx, batch.id, ids, Verdict.REJECTED, " ", "user:1")
    assert (end.accepted, end.rejected) == (2, 1)


def test_an_annotation_of_another_batch_can_not_be_judged(world: World) -> None:
    one, other = new_batch(world, size=2), new_batch(world, size=3)
    work(world, one, 2)
    with world.system.ledger.transaction() as tx:
        ids = [a.id for a in rows.list_annotations(tx, one.id)]
        assert judge(tx, other.id, ids, Verdict.REJECTED, "why", "user:1") == [Outcome.UNKNOWN] * 2


def test_what_a_cancelled_batch_had_rejected_is_asked_in_house(world: World) -> None:
    batch = new_batch(world, size=5)
    work(world, batch, 2)
    with world.system.ledger.transaction() as tx:
        batches.cancel(tx, batch.id, "test")
    sweep(world)
    with world.system.ledger.transaction() as tx:
        ids = [one.id for one in rows.list_annotations(tx, batch.id)]
        judge(tx, batch.id, ids, Verdict.REJECTED, "why", "user:1")
    leased = world.system.labelling.lease(world.id, world.user().id, count=2)
    assert {task.strategy for task in leased} == {"asked_again"}


def test_whoever_wants_to_hear_of_a_batch_is_told(system: System, world: World) -> None:
    post = Post.of(system, world.id)
    wanted = [
        EventType.BATCH_OPENED,
        EventType.BATCH_COMPLETED,
        EventType.BATCH_CANCELLED,
        EventType.ANNOTATION_ACCEPTED,
        EventType.ANNOTATION_REJECTED,
    ]
    endpoint, _ = post.endpoint("http://127.0.0.1:9/", *wanted)
    batch = new_batch(world, size=2)
    work(world, batch, 2)
    with system.ledger.transaction() as tx:
        one, two = [a.id for a in rows.list_annotations(tx, batch.id)]
        judge(tx, batch.id, [one], Verdict.ACCEPTED, "", "user:1")
        judge(tx, batch.id, [two], Verdict.REJECTED, "why", "user:1")
        batches.cancel(tx, batch.id, "test")
    sweep(world)
    told = [(m.type, m.data["batch_id"]) for m in reversed(post.messages(endpoint))]
    assert told == [
        ("batch.opened", batch.id), ("batch.completed", batch.id), ("annotation.accepted", batch.id),
        ("annotation.rejected", batch.id), ("batch.cancelled", batch.id),
    ]  # fmt: skip


def test_sixteen_vendors_never_hold_the_same_task(system: System) -> None:
    world = started(system, pool=400, asked=320)
    batch = new_batch(world, size=320)

    def vendor(number: int) -> int:
        done = 0
        while accepted := work(world, batch, 7, f"annotator-{number}"):
            done += accepted
        return done

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(vendor, range(16))) == 320
    assert state(world, batch) is S.COMPLETED
    with system.ledger.transaction() as tx:
        assert labels.counts(tx, world.id).human == 320
        assert len({one.annotator for one in rows.work(tx, batch.id)}) <= 16


def test_an_image_is_asked_of_as_many_people_as_the_batch_says_and_gets_one_label(world: World) -> None:
    batch = new_batch(world, size=6, overlap=3)
    assert counts(world, batch).open == 18
    with pytest.raises(Invalid, match="annotator"):
        work(world, batch, 1)
    assert [work(world, batch, 50, name) for name in ("maria", "tom")] == [6, 6]
    assert work(world, batch, 50, "tom") == 0, "nobody is asked twice about an image"
    with world.system.ledger.transaction() as tx:
        assert labels.counts(tx, world.id).human == 0
    assert work(world, batch, 50, "ann") == 6 and state(world, batch) is S.COMPLETED
    with world.system.ledger.transaction() as tx:
        assert labels.counts(tx, world.id).pool == 6
        rejected = [one.id for one in rows.list_annotations(tx, batch.id)][:1]
        judge(tx, batch.id, rejected, Verdict.REJECTED, "look again", "user:1")
        assert labels.counts(tx, world.id).pool == 5, "what is left of its answers decides nothing yet"
    assert state(world, batch) is S.IN_PROGRESS
    assert work(world, batch, 50, "eve") == 1 and state(world, batch) is S.COMPLETED
    with world.system.ledger.transaction() as tx:
        assert labels.counts(tx, world.id).pool == 6


def test_what_a_cancelled_batch_had_half_answered_is_completed_in_house(world: World) -> None:
    batch = new_batch(world, size=6, overlap=2)
    assert work(world, batch, 4, "maria") == 4
    held = world.system.vendors.lease(batch.id, count=1, ttl_s=60, annotator="tom", actor="test")
    with world.system.ledger.transaction() as tx:
        batches.cancel(tx, batch.id, "test")
    sweep(world)
    with world.system.ledger.transaction() as tx:
        done = rows.get(tx, batch.id)
    assert questions(world) == {"asking": 4, "withdrawn": 2} and (done.revoked, done.dropped) == (1, 7)
    late = [Answer(task_id=held.tasks[0].id, token=held.token or "", class_name="a")]
    assert [one.status for one in world.system.vendors.answer(batch.id, late)] == [Status.STALE_LEASE]
    for task in in_house(world):
        if task.question_id is not None:
            lease = Lease(task_id=task.id, fence=task.fence)
            world.system.labelling.submit(world.id, world.user().id, lease, world.classes[0].id, key=f"{task.id}")
    assert questions(world) == {"resolved": 4, "withdrawn": 2}
    assert counts(world, batch).answered == 4, "the vendor is paid for what it had answered"


def test_a_rejected_copy_of_a_cancelled_batch_is_asked_in_house(world: World) -> None:
    batch = new_batch(world, size=1, overlap=2)
    assert [work(world, batch, 1, name) for name in ("maria", "tom")] == [1, 1]
    other = new_batch(world, size=2, overlap=2)
    work(world, other, 1, "maria")
    with world.system.ledger.transaction() as tx:
        batches.cancel(tx, other.id, "test")
    sweep(world)
    with world.system.ledger.transaction() as tx:
        ids = [one.id for one in rows.list_annotations(tx, other.id)]
        judge(tx, other.id, ids, Verdict.REJECTED, "why", "user:1")
    assert questions(world) == {"resolved": 1, "asking": 1, "withdrawn": 1}
    assert len([task for task in in_house(world) if task.question_id is not None]) == 1, "one person is not two"
    assert len([task for task in in_house(world, "bob") if task.question_id is not None]) == 1


def in_house(world: World, name: str = "ann") -> list[Task]:
    return world.system.labelling.lease(world.id, world.user(name).id, count=100)


def questions(world: World) -> dict[str, int]:
    with world.system.ledger.transaction() as tx:
        return {row["state"]: row["n"] for row in tx.all("SELECT state, count(*) AS n FROM questions GROUP BY state")}


def test_images_whose_answer_is_known_are_mixed_in_and_are_none_of_the_batchs_size(system: System) -> None:
    world = with_gold(system)
    batch = new_batch(world, size=12)
    now = counts(world, batch)
    assert (now.images, now.open) == (12, 15)
    assert work(world, batch, 50) == 15 and state(world, batch) is S.COMPLETED
    with system.ledger.transaction() as tx:
        assert labels.counts(tx, world.id).human == 12


def test_what_somebody_answered_who_is_paused_after_the_end_is_asked_in_house(world: World) -> None:
    batch = new_batch(world, size=3)
    assert work(world, batch, 3, "maria") == 3 and state(world, batch) is S.COMPLETED
    with world.system.ledger.transaction() as tx:
        maria = rows.annotator(tx, batch.vendor_id, "maria")
        assert trusting.pause(tx, world.id, maria, "not good enough", actor="test")
        doubted = {row["image_id"] for row in tx.all("SELECT image_id FROM annotations")}
    assert state(world, batch) is S.COMPLETED
    assert doubted <= {task.image_id for task in in_house(world)}


def with_gold(system: System, **settings: Any) -> World:
    """Twenty questions of its own and eight images whose answer, "a", is known."""
    world = build(system, pool=40, mode=RoundMode.STRICT, initial=20, gold_rate=0.2, **settings)
    with system.ledger.transaction() as tx:
        known = {image.sha256: world.classes[0].id for image in world.images[-8:]}
        gold.mark(tx, world.id, labels.import_known(tx, world.id, known), "test")
    world.start()
    world.do_embed()
    world.do_select()
    return world


@pytest.mark.parametrize("overlap", [1, 2])
def test_rejected_answers_to_what_is_known_are_asked_again_as_all_others_are(system: System, overlap: int) -> None:
    world = with_gold(system)
    batch = new_batch(world, size=4, overlap=overlap)
    people = ("maria", "tom")[:overlap]
    for name in people:
        assert work(world, batch, 50, name, class_name="b") == 5, "one of five is known"
    with system.ledger.transaction() as tx:
        first = rows.list_annotations(tx, batch.id)
        hers = [one for one in first if one.annotator == "maria"]
        judge(tx, batch.id, [one.id for one in hers], Verdict.REJECTED, "look again", "user:1")
    now = counts(world, batch)
    assert (now.open, now.rejected, now.answered) == (5, 5, 5 * (overlap - 1))
    assert state(world, batch) is S.IN_PROGRESS
    again = system.vendors.lease(batch.id, count=50, ttl_s=60, annotator="maria", actor="test")
    assert {task.image_id for task in again.tasks} == {one.image_id for one in hers}
    if overlap == 1:
        assert {(task.priority, task.strategy) for task in again.tasks} == {(-1.0, "asked_again")}
    ids = [task.id for task in sorted(again.tasks, key=lambda t: [one.image_id for one in hers].index(t.image_id))]
    assert ids == sorted(ids), "numbered in the order in which they were rejected, known or not"
    given = [Answer(task_id=t.id, token=again.token or "", class_name="a") for t in again.tasks]
    assert {one.status for one in system.vendors.answer(batch.id, given)} == {Status.ACCEPTED}
    assert state(world, batch) is S.COMPLETED


def test_a_record_keeps_the_first_answer_to_what_is_known_when_it_was_rejected(system: System) -> None:
    world = with_gold(system)
    batch = new_batch(world, size=4)
    work(world, batch, 50, "maria", class_name="b")
    with system.ledger.transaction() as tx:
        maria = rows.annotator(tx, batch.vendor_id, "maria")
        judge(tx, batch.id, [a.id for a in rows.list_annotations(tx, batch.id)], Verdict.REJECTED, "no", "user:1")
    work(world, batch, 50, "maria", class_name="a")
    with system.ledger.transaction() as tx:
        told = quality.answers(tx, world.id)
        assert trust.record(tx, world.id, maria) == Known(answers=1, right=0)
        assert asked.skills(tx, world.id, [maria]) == {maria: Known(answers=1, right=0)}
        assert [int(column) for column in told.classes[told.gold]] == [1]
        assert sorted((one.answers, one.right) for one in gold.page(tx, world.id, after=0, limit=9))[-1] == (1, 0)


def test_a_skipped_image_is_not_chosen_again(world: World) -> None:
    batch = new_batch(world, size=1)
    leased = world.system.vendors.lease(batch.id, count=1, ttl_s=60, annotator=None, actor="test")
    dark = Answer(task_id=leased.tasks[0].id, token=leased.token or "", class_name=None, reason="dark")
    assert [one.status for one in world.system.vendors.answer(batch.id, [dark])] == [Status.PASSED_ON]
    with world.system.ledger.transaction() as tx:
        assert tasks.get(tx, world.id, leased.tasks[0].id).state is TaskState.SKIPPED
