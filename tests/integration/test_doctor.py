"""What `winnow doctor` finds, and `winnow dead` shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shared.db import events
from shared.db.migrate import migrate
from shared.domain import JobKind
from shared.errors import Permanent
from tests.world import World, build, open_system
from winnow.cli import app
from winnow.doctor import Finding, examine


@pytest.fixture
def world(migrated_database_url: str, tmp_path: Path) -> Iterator[World]:
    with open_system(migrated_database_url, tmp_path / "objects") as system:
        yield build(system, pool=20)


def findings(world: World) -> dict[str, Finding]:
    return {finding.about: finding for finding in examine(world.system)}


def fail_a_job(world: World) -> int:
    world.start()
    job = world.next_job(JobKind.EMBED)
    world.system.ledger.fail(job, Permanent("the disk is on fire"))
    return int(job.id)


def test_a_system_that_is_well_needs_no_advice_but_to_back_up(world: World) -> None:
    with closing(world.system.bus.subscribe(list(JobKind))):
        found = findings(world)
    assert {about for about, finding in found.items() if finding.verdict != "ok"} <= {"backup", "disk"}
    assert "winnow backup" in found["backup"].advice


def test_a_backup_is_remembered(world: World) -> None:
    with world.system.ledger.transaction() as tx:
        events.record(tx, None, "system", "backup.done")
    assert findings(world)["backup"].verdict == "ok"


def test_kinds_of_work_that_nobody_listens_for_are_named(world: World) -> None:
    with closing(world.system.bus.subscribe([kind for kind in JobKind if kind is not JobKind.TRAIN])):
        listeners = findings(world)["listeners"]
    assert listeners.verdict == "warn"
    assert listeners.advice.endswith("start what does train")


def test_a_schema_that_is_behind_is_a_failure(database_url: str, tmp_path: Path) -> None:
    migrate(database_url, upto=1)
    with open_system(database_url, tmp_path) as system:
        (schema,) = [finding for finding in examine(system) if finding.about == "schema"]
    assert schema.verdict == "FAIL"
    assert "winnow migrate" in schema.advice


def test_a_database_that_is_away_is_a_failure_and_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    with open_system("postgresql://nobody@127.0.0.1:1/none", tmp_path) as system:
        found = {finding.about: finding for finding in examine(system)}
    assert found["database"].verdict == "FAIL"
    assert found["store"].verdict == "ok"


def test_dead_jobs_are_counted_listed_shown_and_tried_again(
    world: World, migrated_database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WINNOW_DATABASE_URL", migrated_database_url)
    monkeypatch.setenv("WINNOW_STORE_PATH", str(tmp_path / "objects"))
    job = fail_a_job(world)
    assert findings(world)["jobs"].verdict == "warn"
    run = CliRunner().invoke
    assert "on fire" in run(app, ["dead", "list"]).output
    assert "the disk is on fire" in run(app, ["dead", "show", str(job)]).output
    assert "1 job(s) queued again" in run(app, ["dead", "requeue", str(job)]).output
    assert "no dead jobs" in run(app, ["dead", "list"]).output
    assert world.queued() == [JobKind.EMBED]
    with world.system.ledger.transaction() as tx:
        assert events.newest(tx, world.id)[0].data == {"jobs": [job]}


def test_which_dead_jobs_must_be_said(world: World, migrated_database_url: str) -> None:
    result = CliRunner().invoke(app, ["dead", "requeue", "--database", migrated_database_url])
    assert result.exit_code != 0


@pytest.mark.parametrize(("device", "verdict"), [("cpu", "ok"), ("cuda", "FAIL")])
def test_a_gpu_is_missed_only_where_one_is_wanted(
    world: World, monkeypatch: pytest.MonkeyPatch, device: str, verdict: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("WINNOW_WORKER_DEVICE", device)
    assert findings(world)["gpu"].verdict == verdict
