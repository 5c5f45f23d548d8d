"""Projects over HTTP, and who may see and change them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shared.credentials import new_api_key
from shared.db import projects, users
from shared.domain import ProjectId, Scope
from tests.integration.api_support import Api, open_api, picture

BIRDS: dict[str, Any] = {"name": "birds", "classes": ["heron", "swan"]}


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path) as opened:
        yield opened


def test_a_project_is_made_with_its_classes_in_order_and_the_settings_given(api: Api) -> None:
    made = api.client.post("/v1/projects", json={**BIRDS, "settings": {"strategy": "entropy", "alpha": 0.25}})
    project = made.json()
    assert made.status_code == 201
    assert made.headers["location"] == f"/v1/projects/{project['id']}"
    assert (project["name"], project["state"]) == ("birds", "draft")
    assert [(c["position"], c["name"], c["hotkey"]) for c in project["classes"]] == [
        (0, "heron", "1"),
        (1, "swan", "2"),
    ]
    assert project["settings"]["strategy"] == "entropy"
    assert project["settings"]["alpha"] == 0.25
    assert project["settings"]["batch_size"] == 100
    assert api.client.get(made.headers["location"]).json() == project


def test_a_name_is_given_once(api: Api) -> None:
    api.new_project("birds")
    again = api.client.post("/v1/projects", json=BIRDS)
    assert again.status_code == 409
    assert again.json()["detail"] == "there is a project named 'birds' already"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**BIRDS, "settings": {"strategy": "astrology"}}, "settings.strategy"),
        ({**BIRDS, "settings": {"alpha": 1.5}}, "settings.alpha"),
        ({**BIRDS, "settings": {"batchsize": 5}}, "settings.batchsize"),
        ({**BIRDS, "settings": {"train_mode": "guess"}}, "settings.train_mode"),
        ({**BIRDS, "settings": {"channels": 2}}, "settings.channels"),
        ({**BIRDS, "classes": ["heron"]}, "classes"),
        ({**BIRDS, "classes": ["heron", "sw\u0000an"]}, "classes.1"),
        ({**BIRDS, "name": "   "}, "name"),
        ({**BIRDS, "name": "x" * 201}, "name"),
        ({"classes": ["heron", "swan"]}, "name"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(api: Api, body: dict[str, Any], field: str) -> None:
    refused = api.client.post("/v1/projects", json=body)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert field in [error["field"] for error in refused.json()["errors"]]
    assert api.client.get("/v1/projects").json()["items"] == []


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"arch": "cnn_mnist", "train_mode": "ridge"}, "pretrained"),
        ({"recipe": {"depth": 3}}, "there is no depth"),
        ({"recipe": {"augment": "wild"}}, "augment is 'wild'"),
        ({"train_mode": "head"}, "pretrained"),
        ({"shard_size": 65536, "image_size": 1024}, "lower shard_size or image_size"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(api: Api, settings: dict[str, Any], reason: str) -> None:
    refused = api.client.post("/v1/projects", json={**BIRDS, "settings": settings})
    assert refused.status_code == 422
    assert reason in refused.json()["detail"]


def test_a_class_given_twice_is_refused(api: Api) -> None:
    refused = api.client.post("/v1/projects", json={**BIRDS, "classes": ["swan", " swan "]})
    assert (refused.status_code, refused.json()["detail"]) == (422, "every class needs a name of its own")


@pytest.mark.parametrize(
    "settings", [{"initial": "50"}, {"initial": True}, {"auto_label": 1}, {"alpha": "0.5"}, {"channels": True}]
)
def test_what_json_has_a_kind_of_its_own_for_is_taken_as_that_alone(api: Api, settings: dict[str, Any]) -> None:
    body = {"name": "x", "classes": ["a", "b"], "settings": settings}
    assert api.client.post("/v1/projects", json=body).status_code == 422


def test_not_a_number_is_no_setting(api: Api) -> None:
    body = '{"name": "birds", "classes": ["a", "b"], "settings": {"dropout": NaN}}'
    refused = api.client.post("/v1/projects", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422


def test_pages_hold_every_project_once(api: Api) -> None:
    made = [api.new_project(f"project {n}") for n in range(5)]
    seen: list[int] = []
    cursor: dict[str, str] = {}
    pages = 0
    while True:
        page = api.client.get("/v1/projects", params={"limit": "2", **cursor}).json()
        seen += [item["id"] for item in page["items"]]
        pages += 1
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert (seen, pages) == (made, 3)


@pytest.mark.parametrize("cursor", ["7", "!!!", "YWZ0ZXI6eA", "YWZ0ZXI6OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "é"])
def test_a_cursor_that_was_not_given_is_refused(api: Api, cursor: str) -> None:
    refused = api.client.get("/v1/projects", params={"cursor": cursor})
    assert refused.status_code == 422
    assert "cursor" in refused.json()["detail"]


def test_only_the_settings_named_change(api: Api) -> None:
    project = api.new_project(batch_size=50, label_budget=900)
    changed = api.client.patch(f"/v1/projects/{project}", json={"settings": {"strategy": "margin"}})
    assert changed.status_code == 200
    kept = changed.json()["settings"]
    assert (kept["strategy"], kept["batch_size"], kept["label_budget"]) == ("margin", 50, 900)
    cleared = api.client.patch(f"/v1/projects/{project}", json={"settings": {"label_budget": None}}).json()
    assert cleared["settings"]["label_budget"] is None


def test_a_change_may_name_arch_alone_once_the_mode_fits_it(api: Api) -> None:
    project = api.new_project(train_mode="head", arch="resnet18", image_size=64)
    changed = api.client.patch(f"/v1/projects/{project}", json={"settings": {"arch": "mobilenet_v2"}})
    assert changed.status_code == 200, changed.text
    assert changed.json()["settings"]["train_mode"] == "head"


def test_what_prepared_images_depend_on_is_fixed_once_they_are_sealed(api: Api) -> None:
    project = api.new_project(shard_size=2)
    path = f"/v1/projects/{project}"
    assert api.client.patch(path, json={"settings": {"image_size": 16}}).status_code == 200
    api.upload(project, [("a.png", picture(1)), ("b.png", picture(2))])
    refused = api.client.patch(path, json={"settings": {"image_size": 64, "batch_size": 9}})
    assert refused.status_code == 409
    assert "image_size can't change any more" in refused.json()["detail"]
    assert api.client.get(path).json()["settings"]["batch_size"] == 100
    assert api.client.patch(path, json={"settings": {"image_size": 16, "batch_size": 9}}).status_code == 200


def test_a_project_starts_pauses_and_goes_on(api: Api) -> None:
    project = api.new_project()
    path = f"/v1/projects/{project}"
    empty = api.client.post(f"{path}/start")
    assert (empty.status_code, empty.json()["detail"]) == (422, "upload images to the pool before starting the project")
    assert api.client.post(f"{path}/pause").status_code == 409
    api.upload(project, [("a.png", picture(1))])
    assert api.client.post(f"{path}/start").json()["state"] == "running"
    assert api.client.post(f"{path}/start").json()["state"] == "running"
    assert api.client.post(f"{path}/pause").json()["state"] == "paused"
    assert api.client.post(f"{path}/start").json()["state"] == "running"


def test_who_did_what_is_written_down(api: Api) -> None:
    project = api.new_project()
    path = f"/v1/projects/{project}"
    api.client.patch(path, json={"settings": {"strategy": "margin"}})
    api.upload(project, [("a.png", picture(1)), ("b.png", b"no image")])
    api.client.post(f"{path}/start")
    events = api.client.get(f"{path}/events").json()["items"]
    assert [e["kind"] for e in events] == [
        "project.started",
        "images.uploaded",
        "project.settings_changed",
        "project.created",
    ]
    assert {e["actor"].split("_")[0] for e in events} == {"key:wnw"}
    assert events[1]["data"] == {"split": "pool", "stored": 1, "duplicate": 0, "rejected": 1}
    assert events[2]["data"] == {"strategy": "margin"}
    first = api.client.get(f"{path}/events", params={"limit": 3}).json()
    rest = api.client.get(f"{path}/events", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [e["id"] for e in first["items"] + rest["items"]] == [e["id"] for e in events]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("path", ["/v1/projects/99", "/v1/projects/99/state", "/v1/projects/99/jobs"])
def test_an_unknown_project_is_not_found(api: Api, path: str) -> None:
    missing = api.client.get(path)
    assert (missing.status_code, missing.json()["detail"]) == (404, "there is no project 99")
    assert missing.json()["type"] == "urn:winnow:problem:not-found"


def test_an_id_beyond_the_database_is_refused(api: Api) -> None:
    assert api.client.get(f"/v1/projects/{2**63}").status_code == 422


# Keys


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wnw_00000000_guess"}, {"Authorization": "Basic eDp5"}]
)
def test_without_a_good_key_nothing_is_answered(api: Api, headers: dict[str, str]) -> None:
    refused = TestClient(api.client.app).get("/v1/projects", headers=headers)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.headers["content-type"] == "application/problem+json"


def test_a_revoked_key_and_one_that_ran_out_are_refused(api: Api) -> None:
    revoked, old = new_api_key(), new_api_key()
    with api.system.database.transaction() as tx:
        for key, end in ((revoked, None), (old, datetime(2020, 1, 1, tzinfo=UTC))):
            users.add_key(tx, name="k", prefix=key.prefix, key_sha256=key.sha256, scopes=[Scope.MANAGE], expires_at=end)
        users.revoke_key(tx, revoked.prefix)
    for key in (revoked, old):
        headers = {"Authorization": f"Bearer {key.secret}"}
        assert api.client.get("/v1/projects", headers=headers).status_code == 401


READ = [("GET", ""), ("GET", "/state"), ("GET", "/images"), ("GET", "/events"), ("GET", "/export.csv")]
MANAGE = [("PATCH", ""), ("POST", "/start"), ("POST", "/pause"), ("POST", "/jobs/requeue")]
INGEST = [("POST", "/images")]
LABEL = [("POST", "/labels")]
BODIES: dict[str, dict[str, Any]] = {
    "": {"json": {"settings": {}}},
    "/labels": {"json": {"labels": [{"image_id": 1, "class": "swan"}]}},
    "/images": {"files": [("f", ("a.png", picture(5)))]},
}


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [(Scope.READ, READ), (Scope.INGEST, INGEST), (Scope.LABEL, LABEL), (Scope.MANAGE, READ + MANAGE + INGEST + LABEL)],
)
def test_a_scope_opens_its_doors_and_no_others(api: Api, scope: Scope, allowed: list[tuple[str, str]]) -> None:
    project = api.new_project()
    client = api.holding(scope)
    for method, path in READ + MANAGE + INGEST + LABEL:
        body = BODIES.get(path, {}) if method != "GET" else {}
        status = client.request(method, f"/v1/projects/{project}{path}", **body).status_code
        assert (status == 403) is ((method, path) not in allowed), (method, path, status)


def test_to_a_key_of_one_project_no_other_exists(api: Api) -> None:
    mine, other = api.new_project("mine"), api.new_project("other")
    client = api.holding(Scope.MANAGE, project=mine)
    assert client.get(f"/v1/projects/{mine}").status_code == 200
    hidden, missing = client.get(f"/v1/projects/{other}"), client.get(f"/v1/projects/{other + 1}")
    assert (hidden.status_code, hidden.json()["detail"]) == (404, f"there is no project {other}")
    assert {**hidden.json(), "request_id": "", "detail": "", "instance": ""} == {
        **missing.json(),
        "request_id": "",
        "detail": "",
        "instance": "",
    }
    assert [p["id"] for p in client.get("/v1/projects").json()["items"]] == [mine]
    assert client.post("/v1/projects", json=BIRDS).status_code == 403


def test_reading_a_project_needs_no_more_than_the_scope_to_read(api: Api) -> None:
    api.new_project()
    assert api.holding(Scope.READ).post("/v1/projects", json={**BIRDS, "name": "more"}).status_code == 403
    with api.system.database.transaction() as tx:
        assert [p.name for p in projects.page(tx)] == ["birds"]
        assert projects.get(tx, ProjectId(1)).name == "birds"
