"""The audit log: where from, taken along whole, and changed by nobody."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from fastapi.testclient import TestClient

from shared.db import events
from shared.domain import ProjectId, Scope
from tests.integration.api_support import Api, open_api


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path) as opened:
        yield opened


def test_each_event_says_where_its_request_came_from(api: Api) -> None:
    elsewhere = TestClient(api.client.app, headers=dict(api.client.headers), client=("203.0.113.7", 4321))
    elsewhere.post("/v1/projects", json={"name": "birds", "classes": ["heron", "swan"]})
    with api.system.database.transaction() as tx:
        events.record(tx, None, "system", "backup.done", {"snapshot": "s"})
    newest, made = api.client.get("/v1/events").json()["items"]
    assert (made["kind"], made["address"], made["project_id"]) == ("project.created", "203.0.113.7", 1)
    assert (newest["kind"], newest["address"]) == ("backup.done", None), "that was no request"


def test_the_log_of_a_project_is_taken_along_as_lines_or_as_a_table(api: Api) -> None:
    project = api.new_project()
    api.new_project("others")
    with api.system.database.transaction() as tx:
        for number in range(1200):
            events.record(tx, ProjectId(project), "user:1", "task.skipped", {"task": number, "reason": "=1+1"})
    base = f"/v1/projects/{project}/events/export"
    told = [json.loads(line) for line in api.client.get(base).text.splitlines()]
    assert len(told) == 1201 and {one["project_id"] for one in told} == {project}
    assert [one["id"] for one in told] == sorted((one["id"] for one in told), reverse=True)
    assert told[0]["data"] == {"task": 1199, "reason": "=1+1"}
    rows = list(csv.DictReader(io.StringIO(api.client.get(base, params={"format": "csv"}).text)))
    assert len(rows) == 1201 and rows[-1]["kind"] == "project.created"


def test_the_log_of_everything_needs_a_key_for_everything(api: Api) -> None:
    project = api.new_project()
    for path in ("/v1/events", "/v1/events/export"):
        assert api.client.get(path).status_code == 200
        assert api.holding(Scope.READ).get(path).status_code == 403
        assert api.holding(Scope.MANAGE, project=project).get(path).status_code == 403


def test_a_cell_that_a_spreadsheet_would_run_is_disarmed(api: Api) -> None:
    with api.system.database.transaction() as tx:
        events.record(tx, None, "=cmd()", "x.y")
    (row,) = csv.DictReader(io.StringIO(api.client.get("/v1/events/export", params={"format": "csv"}).text))
    assert row["actor"] == "'=cmd()"


@pytest.mark.parametrize("statement", ["UPDATE events SET actor = 'nobody'", "DELETE FROM events", "TRUNCATE events"])
def test_not_even_the_owner_of_the_schema_changes_the_log(api: Api, migrated_database_url: str, statement: str) -> None:
    api.new_project()
    connection = psycopg2.connect(migrated_database_url)
    with connection.cursor() as cursor, pytest.raises(psycopg2.Error, match="append-only"):
        cursor.execute(statement)
    connection.close()
    assert len(api.client.get("/v1/events").json()["items"]) == 1


@pytest.mark.parametrize("until", ["0.5", "1764000000", "0001-01-01T00:00:00+12:00", "soon"])
def test_a_moment_that_is_none_is_refused(api: Api, until: str) -> None:
    for path in ("/v1/events", "/v1/events/export"):
        assert api.client.get(path, params={"until": until}).status_code == 422


def test_a_moment_may_be_of_any_zone(api: Api) -> None:
    given = {"until": "0641-12-28T08:12:53-19:38"}
    assert api.client.get("/v1/events/export", params=given).text == ""
    assert api.client.get("/v1/events", params=given).json()["items"] == []
