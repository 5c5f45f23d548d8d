"""Webhooks over HTTP: made, looked at, changed, tried; a key of one project knows only that project's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from standardwebhooks import Webhook

from shared.domain import ProjectId, Scope
from tests.integration.api_support import Api, open_api
from tests.integration.webhooks_support import LOOPBACK, Post
from tests.receiver import Receiver, Reply, receiver


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("WINNOW_WEBHOOK_ALLOW_NETWORKS", f'["{LOOPBACK[0]}"]')
    with open_api(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def made(client: TestClient, url: str = "http://127.0.0.1:9/", **changed: Any) -> dict[str, Any]:
    answer = client.post("/v1/webhooks", json={"url": url, "types": ["round.completed"], **changed})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_secret_is_shown_when_it_is_made_and_never_again(api: Api) -> None:
    new = made(api.client, description="ours")
    assert new["secret"].startswith("whsec_")
    shown = api.client.get(f"/v1/webhooks/{new['id']}")
    listed = api.client.get("/v1/webhooks").text
    assert shown.json()["description"] == "ours"
    assert "secret" not in shown.json() and new["secret"] not in shown.text + listed


def test_one_that_leads_to_the_inside_is_refused(api: Api) -> None:
    body = {"url": "https://169.254.169.254/latest/meta-data", "types": ["round.completed"]}
    refused = api.client.post("/v1/webhooks", json=body)
    assert refused.status_code == 422 and "not a public address" in refused.json()["detail"]
    kept = made(api.client)
    assert api.client.patch(f"/v1/webhooks/{kept['id']}", json={"url": body["url"]}).status_code == 422
    assert api.client.get(f"/v1/webhooks/{kept['id']}").json()["url"] == kept["url"]


@pytest.mark.parametrize("types", [[], ["round.finished"], "round.completed"])
def test_types_that_there_are_not_are_refused(api: Api, types: object) -> None:
    refused = api.client.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/", "types": types})
    assert refused.status_code == 422


def test_a_change_leaves_what_it_does_not_name(api: Api) -> None:
    new = made(api.client, description="ours")
    changed = api.client.patch(f"/v1/webhooks/{new['id']}", json={"enabled": False}).json()
    assert (changed["enabled"], changed["disabled_reason"]) == (False, "somebody disabled it")
    assert (changed["url"], changed["types"], changed["description"]) == (new["url"], new["types"], "ours")
    again = api.client.patch(f"/v1/webhooks/{new['id']}", json={"enabled": True, "types": ["model.promoted"]}).json()
    assert (again["enabled"], again["disabled_reason"], again["types"]) == (True, None, ["model.promoted"])


def test_a_ping_is_delivered_logged_and_delivered_again(api: Api, there: Receiver) -> None:
    new = made(api.client, there.url())
    post = Post.of(api.system, ProjectId(0))
    there.reply = lambda heard: Reply(200, body=b"thanks")
    path = f"/v1/webhooks/{new['id']}"
    sent = api.client.post(f"{path}/ping")
    assert (sent.status_code, sent.json()["state"]) == (202, "pending")
    assert api.client.post(f"{path}/deliveries/{sent.json()['id']}/redeliver").status_code == 409
    post.step()
    (listed,) = api.client.get(f"{path}/deliveries?state=delivered").json()["items"]
    assert (listed["last"]["status"], listed["last"]["excerpt"]) == (200, "thanks")
    again = api.client.post(f"{path}/deliveries/{listed['id']}/redeliver")
    assert (again.status_code, again.json()["webhook_id"]) == (202, listed["webhook_id"])
    post.step()
    whole = api.client.get(f"{path}/deliveries/{listed['id']}").json()
    assert [attempt["status"] for attempt in whole["log"]] == [200, 200]
    assert {heard.headers["webhook-id"] for heard in there.heard} == {listed["webhook_id"]}


def test_after_a_rotation_the_new_secret_verifies(api: Api, there: Receiver) -> None:
    new = made(api.client, there.url())
    rotated = api.client.post(f"/v1/webhooks/{new['id']}/rotate", json={"keep_s": 0}).json()
    assert rotated["secret"] != new["secret"]
    api.client.post(f"/v1/webhooks/{new['id']}/ping")
    Post.of(api.system, ProjectId(0)).step()
    (heard,) = there.heard
    Webhook(rotated["secret"]).verify(heard.body, dict(heard.headers))
    assert len(heard.headers["webhook-signature"].split()) == 1
    assert api.client.post(f"/v1/webhooks/{new['id']}/rotate").status_code == 200


def test_a_rotation_that_says_false_does_not_end_the_old_secret_at_once(api: Api) -> None:
    new = made(api.client)
    assert api.client.post(f"/v1/webhooks/{new['id']}/rotate", json={"keep_s": False}).status_code == 422


def test_deleted_it_is_gone_with_its_deliveries(api: Api) -> None:
    path = f"/v1/webhooks/{made(api.client)['id']}"
    api.client.post(f"{path}/ping")
    assert api.client.delete(path).status_code == 204
    for there in (path, f"{path}/deliveries"):
        assert api.client.get(there).status_code == 404


def test_deliveries_come_in_pages(api: Api) -> None:
    path = f"/v1/webhooks/{made(api.client)['id']}"
    sent = [api.client.post(f"{path}/ping").json()["id"] for _ in range(3)]
    first = api.client.get(f"{path}/deliveries?limit=2").json()
    second = api.client.get(f"{path}/deliveries?limit=2&cursor={first['next_cursor']}").json()
    assert [one["id"] for one in first["items"] + second["items"]] == sent[::-1]
    assert second["next_cursor"] is None


def test_to_a_key_of_one_project_the_webhooks_of_others_do_not_exist(api: Api) -> None:
    mine, other = api.new_project("mine"), api.new_project("other")
    limited = api.holding(Scope.MANAGE, project=mine)
    ours = made(limited, project_id=mine)
    for hidden in (made(api.client, project_id=other), made(api.client)):
        path = f"/v1/webhooks/{hidden['id']}"
        answers = [
            limited.get(path),
            limited.patch(path, json={"enabled": False}),
            limited.delete(path),
            limited.post(f"{path}/rotate"),
            limited.post(f"{path}/ping"),
            limited.get(f"{path}/deliveries"),
        ]
        assert {answer.status_code for answer in answers} == {404}
    assert [one["id"] for one in limited.get("/v1/webhooks").json()["items"]] == [ours["id"]]
    body = {"url": "http://127.0.0.1:9/", "types": ["round.completed"]}
    assert limited.post("/v1/webhooks", json=body).status_code == 403
    assert limited.post("/v1/webhooks", json={**body, "project_id": other}).status_code == 404


@pytest.mark.parametrize("scope", [Scope.READ, Scope.INGEST, Scope.LABEL])
def test_only_a_key_that_manages_may(api: Api, scope: Scope) -> None:
    path = f"/v1/webhooks/{made(api.client)['id']}"
    client = api.holding(scope)
    assert {client.get(there).status_code for there in ("/v1/webhooks", path, f"{path}/deliveries")} == {403}
    assert client.post(f"{path}/ping").status_code == 403


def test_who_did_what_is_on_record_without_the_secret(api: Api) -> None:
    project = api.new_project()
    new = made(api.client, project_id=project)
    path = f"/v1/webhooks/{new['id']}"
    api.client.patch(path, json={"description": "x"})
    secret = api.client.post(f"{path}/rotate").json()["secret"]
    api.client.delete(path)
    found = api.client.get(f"/v1/projects/{project}/events")
    kinds = [event["kind"] for event in found.json()["items"]]
    assert kinds[:4] == ["webhook.deleted", "webhook.rotated", "webhook.changed", "webhook.created"]
    assert new["secret"] not in found.text and secret not in found.text
