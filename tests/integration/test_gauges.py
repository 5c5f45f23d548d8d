"""What Prometheus reads of the database, over a real one that may go away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from shared import web
from shared.db import events, gauges, jobs
from shared.db.migrate import migrations
from shared.db.pool import Database
from shared.db.sql import queries
from shared.domain import JobKind, NewJob
from shared.errors import Permanent
from shared.gauges import CACHE_S, DatabaseGauges
from shared.health import exposition
from shared.settings import DatabaseSettings
from shared.system import System
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    return build(system, initial=4, batch_size=4)


def scrape(database: Database) -> dict[str, float]:
    """Series as they are written, by name and labels."""
    text = exposition([DatabaseGauges(database)]).decode()
    return {series: float(value) for series, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


def enqueue(world: World, key: str, kind: JobKind = JobKind.SCORE) -> None:
    with world.system.ledger.transaction() as tx:
        world.system.ledger.enqueue(tx, NewJob(kind=kind, project_id=world.id, unique_key=key))


def test_jobs_are_counted_by_kind_and_state(world: World) -> None:
    for key in ("one", "two", "three"):
        enqueue(world, key)
    world.next_job(JobKind.SCORE)
    world.system.ledger.fail(world.next_job(JobKind.SCORE), Permanent("no"))
    series = scrape(world.system.database)
    assert [series[f'winnow_jobs{{kind="score",state="{state}"}}'] for state in ("queued", "running", "dead")] == [
        1
    ] * 3
    assert series['winnow_jobs{kind="train",state="queued"}'] == 0


def test_the_oldest_due_job_is_the_one_that_has_waited_longest_and_one_not_yet_due_does_not_count(world: World) -> None:
    for key in ("new", "old", "later"):
        enqueue(world, key)
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE jobs SET run_after = now() - interval '500 s' WHERE unique_key = 'old'")
        tx.run("UPDATE jobs SET run_after = now() + interval '1 day' WHERE unique_key = 'later'")
    series = scrape(world.system.database)
    assert 500 <= series['winnow_jobs_oldest_due_seconds{kind="score"}'] < 600
    assert series['winnow_jobs_oldest_due_seconds{kind="train"}'] == 0


def test_a_project_shows_its_tasks_its_round_and_how_good_it_is(world: World) -> None:
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(4)
    with world.system.ledger.transaction() as tx:
        world.system.rounds.advance(tx, world.id)
    world.do_train(accuracy=0.75)
    world.system.labelling.lease(world.id, world.user().id, count=1)
    series = scrape(world.system.database)
    project = f'project="{world.id}"'
    assert series[f'winnow_project_info{{name="letters",{project},state="running"}}'] == 1
    assert series[f"winnow_project_running{{{project}}}"] == 1
    assert series[f"winnow_project_round{{{project}}}"] == 1
    assert series[f"winnow_project_labels{{{project}}}"] == 4
    assert series[f"winnow_project_accuracy_ratio{{{project}}}"] == 0.75
    assert series[f'winnow_tasks{{{project},state="leased"}}'] == 1
    assert series[f'winnow_tasks{{{project},state="open"}}'] > 0


def test_the_last_backup_shows_once_there_is_one(world: World) -> None:
    assert "winnow_backup_last_timestamp_seconds" not in scrape(world.system.database)
    with world.system.ledger.transaction() as tx:
        events.record(tx, None, "system", "backup.done")
    assert scrape(world.system.database)["winnow_backup_last_timestamp_seconds"] > 1.7e9


def test_webhooks_show_how_they_do_and_what_waits(world: World) -> None:
    with world.system.ledger.transaction() as tx:
        tx.run(
            "INSERT INTO webhook_endpoints (url, types, created_by, enabled, failing_since, failed_at) "
            "SELECT 'https://a.test', '{round.completed}', 'test', how.enabled, now() - how.ago, now() - how.tried "
            "FROM (VALUES (true, NULL, NULL), (true, interval '8 hours', interval '1 hour'), "
            "(true, interval '9 days', interval '5 days'), (false, interval '6 days', interval '1 hour')) "
            "AS how (enabled, ago, tried)"
        )
        tx.run(
            "INSERT INTO webhook_messages (endpoint_id, uid, type, data, next_at) "
            "SELECT e.id, gen_random_uuid(), 'round.completed', '{}'::jsonb, now() - late.by FROM webhook_endpoints e "
            "CROSS JOIN (VALUES (interval '300 s'), (interval '-1 hour')) AS late (by) WHERE e.failing_since IS NULL "
            "UNION ALL SELECT e.id, gen_random_uuid(), 'round.completed', '{}'::jsonb, now() - interval '2 hours' "
            "FROM webhook_endpoints e WHERE e.failing_since IS NOT NULL"
        )
    series = scrape(world.system.database)
    states = [series[f'winnow_webhook_endpoints{{state="{one}"}}'] for one in ("working", "failing", "disabled")]
    assert states == [1, 2, 1]
    assert 8 * 3600 <= series["winnow_webhook_failing_seconds"] < 8 * 3600 + 60, "not what was given up long ago"
    assert 300 <= series["winnow_webhook_oldest_due_seconds"] < 360, "not what is due at one that fails"


def test_without_webhooks_nothing_of_theirs_waits(world: World) -> None:
    series = scrape(world.system.database)
    assert (series["winnow_webhook_failing_seconds"], series["winnow_webhook_oldest_due_seconds"]) == (0, 0)


def test_the_schema_of_the_database_is_shown(world: World) -> None:
    assert scrape(world.system.database)["winnow_database_schema"] == migrations()[-1].number


def test_a_database_that_is_away_is_shown_as_down_and_the_scrape_succeeds() -> None:
    nowhere = Database(DatabaseSettings(url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing")))
    app = FastAPI()
    web.install(app, service="test", ready=nowhere.check, collectors=[DatabaseGauges(nowhere)])
    with TestClient(app) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200
    assert "winnow_database_up 0.0" in answer.text
    assert "winnow_jobs{" not in answer.text


def test_scrapes_in_quick_succession_ask_the_database_once(world: World) -> None:
    now = 0.0
    collector = DatabaseGauges(world.system.database, clock=lambda: now)
    before = exposition([collector])
    enqueue(world, "one")
    assert b'winnow_jobs{kind="score",state="queued"} 0.0' in before
    assert b'winnow_jobs{kind="score",state="queued"} 0.0' in exposition([collector])
    now = CACHE_S
    assert b'winnow_jobs{kind="score",state="queued"} 1.0' in exposition([collector])


def test_finished_jobs_are_never_read_however_many_there_are(world: World, migrated_database_url: str) -> None:
    connection = psycopg2.connect(migrated_database_url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO jobs (kind, project_id, unique_key, state) "
                "SELECT 'score', %s, 'done-' || n, 'done' FROM generate_series(1, 20000) n",
                (world.id,),
            )
            cursor.execute("ANALYZE jobs")
            cursor.execute("EXPLAIN " + queries("gauges")["jobs"])
            plan = "\n".join(row[0] for row in cursor.fetchall())
    finally:
        connection.close()
    assert "Seq Scan" not in plan, plan


def test_code_before_the_migration_runs_on_the_schema_after_it(world: World) -> None:
    """It names no trace when it asks for a job, and no time when it leases a task."""
    with world.system.ledger.transaction() as tx:
        row = tx.one(
            "INSERT INTO jobs (kind, project_id, unique_key) VALUES ('score', %(project)s, 'old') RETURNING id",
            {"project": world.id},
        )
        assert row is not None
        job = jobs.get(tx, row["id"])
        assert gauges.read(tx).jobs == {("score", "queued"): 1}
    assert job.trace_id is None
    assert "trace_id" not in job.log_context()
