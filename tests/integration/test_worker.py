"""The worker loop, with handlers made for the test and the real ledger, bus and database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.db import events, jobs
from shared.db.pool import Tx
from shared.domain import Job, JobKind, JobState, NewJob
from shared.errors import Permanent, Retryable
from shared.settings import WorkerSettings
from shared.system import System
from shared.worker import Handler, JobContext, Publish, Worker
from tests.waiting import wait_for
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    return build(system)


@dataclass
class Scripted:
    """Does what it is told for each job, and publishes an event."""

    work: Callable[[Job, JobContext], None]
    kind: JobKind = JobKind.EMBED
    long: bool = False
    seen: list[int] = field(default_factory=list)

    def run(self, job: Job, context: JobContext) -> Publish:
        self.seen.append(int(job.id))
        self.work(job, context)

        def publish(tx: Tx) -> None:
            events.record(tx, job.project_id, "worker", "published", {"job": job.id})

        return publish


@contextmanager
def working(world: World, *handlers: Handler, lease_s: float = 30.0, drain_s: float = 4.0) -> Iterator[Worker]:
    settings = WorkerSettings(lease_s=lease_s, drain_s=drain_s)
    worker = Worker(world.system.ledger, world.system.bus, handlers, settings)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(30)
        assert not thread.is_alive(), "the worker must stop when told to"


def enqueue(world: World, key: str = "job", kind: JobKind = JobKind.EMBED) -> Job:
    with world.system.ledger.transaction() as tx:
        job = world.system.ledger.enqueue(tx, NewJob(kind=kind, project_id=world.id, unique_key=key))
    assert job is not None
    return job


def look(world: World, job: Job) -> Job:
    with world.system.ledger.transaction() as tx:
        return jobs.get(tx, job.id)


def published(world: World) -> int:
    with world.system.ledger.transaction() as tx:
        return len([e for e in events.newest(tx, world.id) if e.kind == "published"])


def nothing(job: Job, context: JobContext) -> None:
    pass


def test_a_wake_up_leads_to_a_finished_job(world: World) -> None:
    handler = Scripted(nothing)
    with working(world, handler):
        job = enqueue(world)
        wait_for(lambda: look(world, job).state is JobState.DONE, "the job to be done")
    assert published(world) == 1


def test_many_jobs_are_each_done_once_by_several_workers(world: World) -> None:
    handlers = [Scripted(nothing) for _ in range(3)]
    with working(world, handlers[0]), working(world, handlers[1]), working(world, handlers[2]):
        made = [enqueue(world, f"job-{n}") for n in range(30)]
        wait_for(lambda: all(look(world, job).state is JobState.DONE for job in made), "every job to be done")
    assert sorted(n for h in handlers for n in h.seen) == sorted(job.id for job in made)
    assert published(world) == 30


def test_an_urgent_job_waits_for_no_more_than_one_of_those_that_came_before_it(world: World) -> None:
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def work(job: Job, context: JobContext) -> None:
        order.append(str(job.kind))
        begun.set()
        assert go_on.wait(30)

    before = [enqueue(world, f"before-{n}", JobKind.SCORE) for n in range(6)]
    with working(world, Scripted(work, JobKind.SCORE), Scripted(work, JobKind.PREDICT)):
        assert begun.wait(30)
        asked = [enqueue(world, f"asked-{n}", JobKind.PREDICT) for n in range(3)]
        go_on.set()
        wait_for(lambda: all(look(world, job).state is JobState.DONE for job in before + asked), "every job to be done")
    assert order == ["score", *["predict", "score"] * 3, "score", "score"]


def test_a_passing_fault_is_tried_again(world: World) -> None:
    failures = iter([Retryable("the store is away")])

    def work(job: Job, context: JobContext) -> None:
        for error in failures:
            raise error

    with working(world, Scripted(work)):
        job = enqueue(world)
        wait_for(lambda: look(world, job).error is not None, "the first attempt to fail")

        def due_again() -> bool:
            with world.system.ledger.transaction() as tx:
                world.system.ledger.sweep(tx)
            return look(world, job).state is JobState.DONE

        wait_for(due_again, "the second attempt to succeed")
    assert published(world) == 1


def test_a_permanent_fault_ends_dead_with_its_reason_and_the_worker_lives_on(world: World) -> None:
    def work(job: Job, context: JobContext) -> None:
        if "bad" in job.payload:
            raise Permanent("the weights are not there")

    with working(world, Scripted(work)):
        with world.system.ledger.transaction() as tx:
            bad = world.system.ledger.enqueue(
                tx, NewJob(kind=JobKind.EMBED, project_id=world.id, unique_key="bad", payload={"bad": True})
            )
        assert bad is not None
        wait_for(lambda: look(world, bad).state is JobState.DEAD, "the bad job to be dead")
        good = enqueue(world, "good")
        wait_for(lambda: look(world, good).state is JobState.DONE, "the good job to be done")
    assert look(world, bad).error == "Permanent: the weights are not there"


def test_a_short_job_finishes_when_the_worker_is_told_to_stop(world: World) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(job: Job, context: JobContext) -> None:
        begun.set()
        assert go_on.wait(30)

    with working(world, Scripted(work)) as worker:
        job = enqueue(world)
        assert begun.wait(30)
        worker.stop()
        go_on.set()
    assert look(world, job).state is JobState.DONE


def test_a_long_job_is_given_back_at_once_and_costs_no_attempt(world: World) -> None:
    begun = threading.Event()

    def work(job: Job, context: JobContext) -> None:
        begun.set()
        while True:
            context.check()

    with working(world, Scripted(work, long=True)) as worker:
        job = enqueue(world)
        assert begun.wait(30)
        worker.stop()
    left = look(world, job)
    assert (left.state, left.attempts) == (JobState.QUEUED, 0)


def test_a_job_that_ignores_the_request_to_stop_is_given_back_too(world: World) -> None:
    begun, release = threading.Event(), threading.Event()

    def work(job: Job, context: JobContext) -> None:
        begun.set()
        release.wait(60)

    with working(world, Scripted(work, long=True), drain_s=0.5) as worker:
        job = enqueue(world)
        assert begun.wait(30)
        worker.stop()
        wait_for(lambda: look(world, job).state is JobState.QUEUED, "the job to be given back")
        again = world.system.ledger.claim(job.id, worker="other", lease_s=60)
        assert again is not None
        release.set()
    assert published(world) == 0, "what it made under the old fence is not published"
    assert look(world, job).worker == "other"


def test_no_wake_up_waits_behind_a_long_job(world: World) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(job: Job, context: JobContext) -> None:
        begun.set()
        release.wait(60)

    with working(world, Scripted(slow, long=True)):
        first = enqueue(world, "slow")
        assert begun.wait(30)
        with working(world, Scripted(nothing)):
            second = enqueue(world, "quick")
            wait_for(lambda: look(world, second).state is JobState.DONE, "another worker to do the second job")
        assert look(world, first).state is JobState.RUNNING
        release.set()
        wait_for(lambda: look(world, first).state is JobState.DONE, "the long job to be done")


def test_a_worker_that_lost_its_lease_stops_and_publishes_nothing(world: World) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def work(job: Job, context: JobContext) -> None:
        if begun.is_set():
            return  # the second attempt
        begun.set()
        try:
            while True:
                context.check()
        finally:
            stopped.set()

    with working(world, Scripted(work, long=True), lease_s=0.6):
        job = enqueue(world)
        assert begun.wait(30)
        world.system.ledger.give_back(look(world, job))  # as if somebody had taken it
        assert stopped.wait(30), "the heartbeat must find out that the lease is lost"
        wait_for(lambda: look(world, job).state is JobState.DONE, "the second attempt to be done")
    assert published(world) == 1


def test_progress_is_shown_while_the_job_runs(world: World) -> None:
    release = threading.Event()

    def work(job: Job, context: JobContext) -> None:
        context.report(0.5, epoch=3, epochs=6)
        release.wait(60)

    with working(world, Scripted(work), lease_s=0.6):
        job = enqueue(world)
        wait_for(lambda: look(world, job).detail == {"epoch": 3, "epochs": 6}, "progress in the job's row")
        assert look(world, job).progress == 0.5
        release.set()
