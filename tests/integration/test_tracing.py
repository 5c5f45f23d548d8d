"""One id from a request, through the job it asks for, to the jobs that this one asks for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from structlog.contextvars import bound_contextvars
from structlog.testing import capture_logs

from shared import web
from shared.db import jobs
from shared.db.pool import Tx
from shared.domain import Job, JobKind, JobState, NewJob
from shared.settings import WorkerSettings
from shared.sweeper import Sweeper
from shared.system import System
from shared.worker import JobContext, Publish, Worker
from tests.waiting import wait_for
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    return build(system)


def enqueue(world: World, key: str, kind: JobKind = JobKind.SCORE) -> Job:
    with world.system.ledger.transaction() as tx:
        job = world.system.ledger.enqueue(tx, NewJob(kind=kind, project_id=world.id, unique_key=key))
    assert job is not None
    return job


def traces(world: World) -> dict[str, str | None]:
    """By kind, of every job there is."""
    with world.system.ledger.transaction() as tx:
        return {job.kind.value: job.trace_id for job in jobs.newest(tx, project_id=world.id)}


def test_a_job_carries_the_id_of_the_request_that_asked_for_it(world: World) -> None:
    app = FastAPI()

    @app.post("/start")
    def start() -> None:
        world.start()

    web.install(app, service="test", ready=lambda: None)
    with TestClient(app) as client:
        client.post("/start", headers={web.REQUEST_ID: "request-7"})
    assert traces(world) == {"embed": "request-7"}


def test_a_job_asked_for_outside_any_request_gets_a_trace_of_its_own(world: World) -> None:
    first, second = enqueue(world, "one"), enqueue(world, "two")
    assert first.trace_id and second.trace_id
    assert first.trace_id != second.trace_id


class Chain:
    """Asks for a select job as the result of a score job."""

    kind = JobKind.SCORE
    long = False

    def __init__(self, world: World) -> None:
        self._world = world

    def run(self, job: Job, context: JobContext) -> Publish:
        def publish(tx: Tx) -> None:
            new = NewJob(kind=JobKind.SELECT, project_id=job.project_id, unique_key="next")
            self._world.system.ledger.enqueue(tx, new)

        return publish


def test_a_job_hands_its_trace_on_to_the_jobs_that_it_asks_for(world: World) -> None:
    worker = Worker(world.system.ledger, world.system.bus, [Chain(world)], WorkerSettings())
    with bound_contextvars(trace_id="trace-1"):
        enqueue(world, "first")
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: "select" in traces(world), "the second job")
    finally:
        worker.stop()
        thread.join(30)
    assert traces(world) == {"score": "trace-1", "select": "trace-1"}


def test_a_queued_job_is_logged_with_its_ids_once_it_is_committed(world: World) -> None:
    with capture_logs() as lines, bound_contextvars(trace_id="trace-1"), world.system.ledger.transaction() as tx:
        job = world.system.ledger.enqueue(tx, NewJob(kind=JobKind.SCORE, project_id=world.id, unique_key="one"))
        assert lines == [], "not before the commit"
    assert job is not None
    (line,) = [line for line in lines if line["event"] == "job.queued"]
    assert (line["job_id"], line["job_kind"], line["project_id"]) == (job.id, "score", world.id)
    assert line["trace_id"] == "trace-1"


def test_a_job_that_is_rolled_back_is_not_logged(world: World) -> None:
    with capture_logs() as lines, pytest.raises(RuntimeError), world.system.ledger.transaction() as tx:
        world.system.ledger.enqueue(tx, NewJob(kind=JobKind.SCORE, project_id=world.id, unique_key="one"))
        raise RuntimeError
    assert lines == []


def test_what_a_sweep_begins_is_one_trace(world: World) -> None:
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE projects SET state = 'running', settings = settings || '{\"shard_size\": 10}'")
    Sweeper(world.system.ledger, world.system.rounds, every_s=60).sweep()
    with world.system.ledger.transaction() as tx:
        begun = [job.trace_id for job in jobs.newest(tx, project_id=world.id)]
    assert len(begun) == 2
    assert len(set(begun)) == 1


def test_a_job_taken_back_from_a_silent_worker_is_logged_with_its_trace(world: World) -> None:
    with bound_contextvars(trace_id="trace-1"):
        job = enqueue(world, "one")
    world.next_job(JobKind.SCORE)
    with capture_logs() as lines, world.system.ledger.transaction() as tx:
        tx.run("UPDATE jobs SET lease_until = now() - interval '1 s'")
        world.system.ledger.sweep(tx)
    (line,) = [line for line in lines if line["event"] == "job.lease_expired"]
    assert (line["job_id"], line["trace_id"]) == (job.id, "trace-1")
    with world.system.ledger.transaction() as tx:
        assert jobs.get(tx, job.id).state is JobState.QUEUED
