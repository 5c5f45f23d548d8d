"""The audit log and the system page over HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.ui.activity import PAGE
from services.ui.sentences import KINDS, Names, sentence
from shared.db import events, jobs
from shared.db.events import Event
from shared.domain import JobKind, JobState
from shared.errors import Permanent
from tests.browser.gallery import digits, hang
from tests.integration.ui_support import ELSEWHERE, Ui, open_ui, text_of
from tests.world import World


@pytest.fixture
def ui(migrated_database_url: str, tmp_path: Path) -> Iterator[Ui]:
    with open_ui(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(ui: Ui) -> World:
    return hang(ui.system, digits(12), ["x", "y"], initial=4)


def record(ui: Ui, world: World | None, actor: str, kind: str, **data: object) -> None:
    with ui.system.database.transaction() as tx:
        events.record(tx, world.id if world else None, actor, kind, data)


def test_events_are_told_in_sentences(ui: Ui, world: World) -> None:
    record(ui, world, "user:1", "images.uploaded", split="pool", stored=1200, duplicate=3, rejected=0)
    record(ui, world, "key:wnw_ab12", "project.settings_changed", strategy="entropy", label_budget=None)
    record(ui, world, "user:1", "labels.corrected", images=2, class_id=world.classes[1].id, image_ids=[1, 2])
    page = text_of(ui.ann.get(f"/projects/{world.id}/activity").text)
    assert "Ann Lee uploaded 1,200 images to the pool; 3 were there already" in page
    assert "API key wnw_ab12 changed settings: strategy = entropy, label_budget = by itself" in page
    assert "Ann Lee labelled 2 images “y” by hand" in page


def test_an_event_of_another_version_tells_its_bare_data() -> None:
    names = Names(users={}, classes={}, projects={})
    event = Event(id=1, at=None, project_id=None, actor="x", kind="moon.landed", data={"by": 3})  # type: ignore[arg-type]
    assert sentence(event, names) == "moon.landed: by 3"
    for kind in KINDS:
        odd = Event(id=1, at=None, project_id=None, actor="x", kind=kind, data={})  # type: ignore[arg-type]
        assert sentence(odd, names), kind


def test_the_log_of_everything_names_projects_and_leaves_none_out(ui: Ui, world: World) -> None:
    record(ui, world, "user:1", "project.started")
    record(ui, None, "system", "user.added", username="bob")
    page = text_of(ui.ann.get("/activity").text)
    assert "Ann Lee started the project garden" in page and "Winnow added the user bob" in page
    assert "added the user" not in ui.ann.get(f"/projects/{world.id}/activity").text


def test_filters_and_pages(ui: Ui, world: World) -> None:
    for number in range(PAGE + 5):
        record(ui, world, "user:1", "task.skipped", task=number, reason="")
    record(ui, world, "user:1", "project.paused")
    page = ui.ann.get("/activity?kind=task.skipped").text
    assert page.count("skipped task") == PAGE and "paused the project" not in text_of(page)
    older = page.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert ui.ann.get(older).text.count("skipped task") == 5
    assert "Nothing of that kind" in ui.ann.get("/activity?actor=system").text
    assert "skipped task" in ui.ann.get("/activity?since=2020-01-01&until=2099-01-01").text
    assert "Nothing of that kind" in ui.ann.get("/activity?until=2020-01-01").text
    assert ui.ann.get("/activity?since=yesterday").status_code == 422


def test_the_csv_has_every_event_and_is_harmless_in_a_spreadsheet(ui: Ui, world: World) -> None:
    record(ui, world, "=HYPERLINK(1)", "task.skipped", task=1, reason="a, b")
    record(ui, world, "user:1", "project.paused")
    answer = ui.ann.get(f"/projects/{world.id}/activity.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["what"] for row in rows] == ["paused the project", "skipped task 1, saying “a, b”"]
    assert rows[1]["who"] == "'=HYPERLINK(1)" and "attachment" in answer.headers["content-disposition"]
    assert len(list(csv.DictReader(io.StringIO(ui.ann.get("/activity.csv?kind=project.paused").text)))) == 1


def dead_job(ui: Ui, world: World) -> int:
    world.start()
    job = world.next_job(JobKind.EMBED)
    ui.system.ledger.fail(job, Permanent("the <disk> is full"))
    return job.id


def state(ui: Ui, job: int) -> JobState:
    with ui.system.database.transaction() as tx:
        return jobs.get(tx, job).state  # type: ignore[arg-type]


def test_the_system_page_shows_a_failed_job_and_tries_it_again(ui: Ui, world: World) -> None:
    job = dead_job(ui, world)
    page = ui.ann.get("/system").text
    assert "the &lt;disk&gt; is full" in page and "works" in page and "PostgreSQL" in page
    answer = ui.ann.post(f"/system/jobs/{job}/retry")
    assert (answer.status_code, answer.headers["location"]) == (303, "/system?requeued=1")
    assert state(ui, job) is JobState.QUEUED
    assert "1 job is tried again." in ui.ann.get("/system?requeued=1").text
    assert ui.events(world.id)[0].kind == "jobs.requeued" and ui.events(world.id)[0].actor == "user:1"
    assert ui.ann.post(f"/system/jobs/{job}/retry").status_code == 409


def test_all_failed_jobs_are_tried_again(ui: Ui, world: World) -> None:
    job = dead_job(ui, world)
    assert ui.ann.post("/system/jobs/retry").headers["location"] == "/system?requeued=1"
    assert state(ui, job) is JobState.QUEUED


def test_a_job_under_way_shows_its_worker_and_is_cancelled_only_on_purpose(ui: Ui, world: World) -> None:
    world.start()
    job = world.next_job(JobKind.EMBED)
    ui.system.ledger.heartbeat(job, lease_s=60, progress=0.37, detail={})
    page = text_of(ui.ann.get("/system").text)
    assert "on test" in page and "37%" in page and "at work now" in page
    assert ui.ann.post(f"/system/jobs/{job.id}/cancel").status_code == 422
    assert ui.ann.post(f"/system/jobs/{job.id}/cancel", data={"confirmed": "1"}).status_code == 303
    assert state(ui, job.id) is JobState.DEAD


def test_unknown_jobs_strangers_and_other_sites_are_refused(ui: Ui, world: World) -> None:
    assert ui.ann.post("/system/jobs/999/retry").status_code == 404
    assert ui.ann.post("/system/jobs/x/retry").status_code == 422
    assert ui.ann.get("/projects/999/activity").status_code == 404
    assert ui.ann.post("/system/jobs/retry", headers=ELSEWHERE).status_code == 403
    stranger = ui.stranger()
    assert stranger.post("/system/jobs/retry").status_code == 401
    for path in ("/system", "/activity", "/activity.csv", f"/projects/{world.id}/activity.csv"):
        assert stranger.get(path).status_code == 303
