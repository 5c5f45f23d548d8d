"""Processes count what they do, and only what was committed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from shared.db import tasks
from shared.db.tasks import Lease
from shared.domain import JobKind, NewJob
from shared.sweeper import Sweeper
from shared.system import System
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    made = build(system)
    made.start()
    made.do_embed()
    made.do_select()
    return made


class Since:
    """How much a metric has grown since this was made: other tests count too."""

    def __init__(self, name: str, **labels: str) -> None:
        self._name, self._labels = name, labels
        self._before = self._value()

    @property
    def grown(self) -> float:
        return self._value() - self._before

    def _value(self) -> float:
        return REGISTRY.get_sample_value(self._name, self._labels) or 0.0


def sweep(world: World) -> None:
    Sweeper(world.system.ledger, world.system.rounds, every_s=60).sweep()


def lease(world: World) -> Lease:
    (task,) = world.system.labelling.lease(world.id, world.user().id, count=1)
    return Lease(task_id=task.id, fence=task.fence)


def answer(world: World, held: Lease, *, duration_ms: int | None = None) -> None:
    key = uuid.uuid4().hex
    world.system.labelling.submit(
        world.id, world.user().id, held, world.classes[0].id, key=key, duration_ms=duration_ms
    )


def test_an_answer_counts_as_a_label_of_its_project(world: World) -> None:
    labels = Since("winnow_labels_total", project=str(world.id), source="human")
    answer(world, lease(world))
    assert labels.grown == 1


def test_the_time_from_lease_to_answer_is_measured_by_the_databases_clock(world: World) -> None:
    seconds, answers = Since("winnow_task_held_seconds_sum"), Since("winnow_task_held_seconds_count")
    held = lease(world)
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE tasks SET leased_at = leased_at - interval '90 s' WHERE state = 'leased'")
    answer(world, held)
    assert answers.grown == 1
    assert seconds.grown >= 90


def test_a_renewal_is_no_new_lease(world: World) -> None:
    held = lease(world)
    with world.system.ledger.transaction() as tx:
        before = tasks.get(tx, world.id, held.task_id).leased_at
    world.system.labelling.renew(world.id, world.user().id, [held])
    with world.system.ledger.transaction() as tx:
        assert tasks.get(tx, world.id, held.task_id).leased_at == before


def test_the_time_that_the_page_measured_is_kept_apart(world: World) -> None:
    seconds = Since("winnow_task_answer_seconds_sum")
    answer(world, lease(world), duration_ms=2500)
    assert seconds.grown == pytest.approx(2.5)


def test_a_task_leased_by_an_older_version_is_answered_without_being_measured(world: World) -> None:
    answers = Since("winnow_task_held_seconds_count")
    held = lease(world)
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE tasks SET leased_at = NULL")
    answer(world, held)
    assert answers.grown == 0


def test_leases_that_run_out_are_counted(world: World) -> None:
    job_leases = Since("winnow_job_leases_expired_total", kind="score")
    task_leases = Since("winnow_task_leases_expired_total")
    with world.system.ledger.transaction() as tx:
        world.system.ledger.enqueue(tx, NewJob(kind=JobKind.SCORE, project_id=world.id, unique_key="one"))
    world.next_job(JobKind.SCORE)
    lease(world)
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE state = 'running'")
        tx.run("UPDATE tasks SET lease_until = now() - interval '1 s' WHERE state = 'leased'")
    sweep(world)
    assert (job_leases.grown, task_leases.grown) == (1, 1)


def test_a_job_whose_workers_all_went_silent_counts_as_dead(world: World) -> None:
    dead = Since("winnow_jobs_finished_total", kind="score", outcome="dead")
    with world.system.ledger.transaction() as tx:
        world.system.ledger.enqueue(tx, NewJob(kind=JobKind.SCORE, project_id=world.id, unique_key="one"))
    world.next_job(JobKind.SCORE)
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE jobs SET lease_until = now() - interval '1 s', attempts = 5 WHERE state = 'running'")
    sweep(world)
    assert dead.grown == 1


def test_the_last_sweep_shows(world: World) -> None:
    swept_at = Since("winnow_sweep_last_timestamp_seconds")
    sweep(world)
    assert swept_at.grown > 0


def test_only_the_process_that_swept_says_so(world: World) -> None:
    with world.system.ledger.transaction() as tx:
        tx.one("SELECT pg_try_advisory_xact_lock(1398228304)")  # as a sweeper elsewhere holds it
        swept_at = Since("winnow_sweep_last_timestamp_seconds")
        sweep(world)
        assert swept_at.grown == 0


def test_connections_in_use_are_counted_while_they_are(world: World) -> None:
    in_use = Since("winnow_database_pool_in_use")
    with world.system.database.transaction():
        assert in_use.grown == 1
    assert in_use.grown == 0
