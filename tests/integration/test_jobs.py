"""The ledger: work is claimed once, survives who does it, and ends once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.db import jobs as rows
from shared.db import projects
from shared.db.pool import Tx
from shared.domain import MAX_JOB_ATTEMPTS, Job, JobKind, JobState, NewJob, ProjectId, ProjectState, WakeUp
from shared.errors import Permanent, Retryable, StaleFence
from shared.jobs import Heartbeat, Ledger
from shared.sweeper import Sweeper
from shared.system import System
from tests.waiting import hear, wait_for
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    return build(system)


def enqueue(world: World, key: str = "job") -> Job | None:
    with world.system.ledger.transaction() as tx:
        return world.system.ledger.enqueue(tx, NewJob(kind=JobKind.EMBED, project_id=world.id, unique_key=key))


def claimed(world: World, lease_s: float = 60.0) -> Job:
    job = enqueue(world)
    assert job is not None
    mine = world.system.ledger.claim(job.id, worker="w", lease_s=lease_s)
    assert mine is not None
    return mine


def state(world: World, job: Job) -> JobState:
    with world.system.ledger.transaction() as tx:
        return rows.get(tx, job.id).state


def sweep(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        ledger.sweep(tx)


def test_asking_twice_is_asking_once(world: World) -> None:
    assert enqueue(world) is not None
    assert enqueue(world) is None


def test_the_wake_up_goes_out_after_the_commit_and_only_then(world: World) -> None:
    subscription = world.system.bus.subscribe([JobKind.EMBED])
    with pytest.raises(RuntimeError), world.system.ledger.transaction() as tx:
        world.system.ledger.enqueue(tx, NewJob(kind=JobKind.EMBED, project_id=world.id, unique_key="undone"))
        raise RuntimeError("the state change fails")
    job = enqueue(world, "done")
    assert job is not None
    assert hear(subscription).wakeup == WakeUp(kind=JobKind.EMBED, job_id=job.id)
    subscription.close()


def test_one_of_many_workers_gets_the_job(world: World) -> None:
    job = enqueue(world)
    assert job is not None
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: world.system.ledger.claim(job.id, worker=f"w{n}", lease_s=60), range(8)))
    assert len([w for w in won if w is not None]) == 1


def test_a_finished_job_can_not_be_claimed_again(world: World) -> None:
    job = claimed(world)
    with world.system.ledger.transaction() as tx:
        world.system.ledger.finish(tx, job)
    assert world.system.ledger.claim(job.id, worker="w", lease_s=60) is None
    assert state(world, job) is JobState.DONE


def test_a_worker_that_lost_its_lease_can_not_publish(world: World) -> None:
    slow = claimed(world, lease_s=-1)
    quick = world.system.ledger.claim(slow.id, worker="other", lease_s=60)
    assert quick is not None and quick.fence > slow.fence
    with pytest.raises(StaleFence), world.system.ledger.transaction() as tx:
        world.system.ledger.finish(tx, slow)
    assert not world.system.ledger.heartbeat(slow, lease_s=60, progress=0.5, detail={})
    with world.system.ledger.transaction() as tx:
        world.system.ledger.finish(tx, quick)


def test_a_result_and_the_end_of_its_job_are_one(world: World) -> None:
    job = claimed(world)
    with pytest.raises(RuntimeError), world.system.ledger.transaction() as tx:
        world.system.ledger.finish(tx, job)
        raise RuntimeError("writing the result fails")
    assert state(world, job) is JobState.RUNNING


def test_a_passing_fault_backs_off_and_a_permanent_one_is_dead(world: World) -> None:
    job = claimed(world)
    world.system.ledger.fail(job, Retryable("the store is away"))
    assert state(world, job) is JobState.QUEUED
    assert world.system.ledger.claim(job.id, worker="w", lease_s=60) is None, "it waits before the next attempt"
    other = enqueue(world, "other")
    assert other is not None
    mine = world.system.ledger.claim(other.id, worker="w", lease_s=60)
    assert mine is not None
    world.system.ledger.fail(mine, Permanent("no such weights"))
    with world.system.ledger.transaction() as tx:
        dead = rows.get(tx, other.id)
    assert dead.state is JobState.DEAD
    assert dead.error == "Permanent: no such weights"


def test_the_last_attempt_ends_dead_and_requeue_gives_another_life(world: World) -> None:
    job = claimed(world, lease_s=-1)
    for _ in range(MAX_JOB_ATTEMPTS - 1):
        again = world.system.ledger.claim(job.id, worker="w", lease_s=-1)
        assert again is not None
    assert world.system.ledger.claim(job.id, worker="w", lease_s=60) is None
    sweep(world.system.ledger)
    assert state(world, job) is JobState.DEAD
    assert [j.id for j in world.system.ledger.requeue(project_id=world.id)] == [job.id]
    assert world.system.ledger.claim(job.id, worker="w", lease_s=60) is not None


def test_giving_back_does_not_cost_an_attempt(world: World) -> None:
    job = claimed(world)
    world.system.ledger.give_back(job)
    again = world.system.ledger.claim(job.id, worker="w", lease_s=60)
    assert again is not None and again.attempts == job.attempts


def test_the_sweeper_takes_a_job_back_from_a_dead_worker_and_wakes_another(world: World) -> None:
    job = claimed(world, lease_s=-1)
    subscription = world.system.bus.subscribe([JobKind.EMBED])
    sweep(world.system.ledger)
    assert hear(subscription).wakeup.job_id == job.id
    assert state(world, job) is JobState.QUEUED
    subscription.close()


def test_the_sweeper_sends_a_lost_wake_up_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(wakeup: WakeUp) -> None:
        raise Retryable("the broker is away")

    with monkeypatch.context() as away:
        away.setattr(world.system.bus, "publish", lose)
        job = enqueue(world)
    assert job is not None, "the work is asked for, whatever happens to its message"
    subscription = world.system.bus.subscribe([JobKind.EMBED])
    monkeypatch.setattr("shared.jobs.WAKE_PATIENCE_S", -1.0)
    sweep(world.system.ledger)
    assert hear(subscription).wakeup.job_id == job.id
    subscription.close()


def test_one_project_that_fails_does_not_hold_up_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    other = build(world.system, name="other")
    for each in (world, other):
        with world.system.ledger.transaction() as tx:
            projects.set_state(tx, each.id, ProjectState.RUNNING)
    advance = world.system.rounds.advance

    def broken(tx: Tx, project_id: ProjectId) -> None:
        if project_id == world.id:
            raise ZeroDivisionError("a defect that this project alone meets")
        advance(tx, project_id)

    monkeypatch.setattr(world.system.rounds, "advance", broken)
    Sweeper(world.system.ledger, world.system.rounds, every_s=60).sweep()
    assert other.queued() == [JobKind.EMBED]
    assert world.queued() == []


def test_the_heartbeat_keeps_the_lease_and_tells_when_it_is_lost(world: World) -> None:
    job = claimed(world, lease_s=0.6)
    with Heartbeat(world.system.ledger, job, 0.6) as heartbeat:
        heartbeat.report(0.5, {"epoch": 3})

        def shown() -> bool:
            with world.system.ledger.transaction() as tx:
                return rows.get(tx, job.id).detail == {"epoch": 3}

        wait_for(shown, "the heartbeat to show progress")
        world.system.ledger.give_back(job)
        assert heartbeat.lost.wait(30)
