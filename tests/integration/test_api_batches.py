"""Vendors' batches over HTTP: what managers order, and what vendors do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from shared.db import labels, tasks
from shared.domain import Scope
from tests.integration.api_support import Api, open_api, picture
from tests.integration.batch_support import Deal, answers, new_deal, started, vendor_key


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path) as opened:
        yield opened


def labels_of(deal: Deal) -> int:
    with deal.api.system.ledger.transaction() as tx:
        return labels.counts(tx, deal.world.id).human


def test_a_vendor_answers_a_batch_from_lease_to_completion(api: Api) -> None:
    deal = new_deal(api)
    assert deal.look()["state"] == "open"
    leased = deal.lease(6, annotator="maria")
    assert (leased["state"], len(leased["tasks"]), leased["classes"]) == ("in_progress", 6, ["a", "b"])
    done = deal.send([{**one, "external_id": f"x{at}"} for at, one in enumerate(answers(leased))])
    assert {one["status"] for one in done["results"]} == {"accepted"} and done["recorded"] == 6
    assert [one["external_id"] for one in done["results"]] == [f"x{at}" for at in range(6)]
    assert deal.send(answers(deal.lease()))["state"] == "completed"
    assert labels_of(deal) == 10
    stats = api.client.get(f"{deal.path}/stats").json()
    assert {work["annotator"]: work["answered"] for work in stats["annotators"]} == {"maria": 6, None: 4}
    assert stats["share"] == 1.0


def test_what_is_sent_again_is_replayed_and_recorded_once(api: Api) -> None:
    deal = new_deal(api)
    given = answers(deal.lease(5))
    first, again = deal.send(given)["results"], deal.send(given + given[:1])["results"]
    assert {one["status"] for one in again} == {"replayed"}
    assert [one["annotation_id"] for one in again[:5]] == [one["annotation_id"] for one in first]
    assert labels_of(deal) == 5


def test_each_item_has_its_own_result_and_a_refused_one_leaves_the_others(api: Api) -> None:
    deal = new_deal(api)
    one, two, three = answers(deal.lease(3))
    other = deal.lease(1)
    sent = [
        one,
        {**two, "class": "zebra"},
        {**three, "lease": "nobody's"},
        {**three, "lease": other["lease"]},
        {**one, "class": "b"},
    ]
    results = deal.send(sent)["results"]
    assert [r["status"] for r in results] == [
        "accepted", "unknown_class", "unknown_lease", "unknown_task", "conflict",
    ]  # fmt: skip
    assert labels_of(deal) == 1


def test_a_lease_that_ran_out_and_was_given_to_another_is_stale(api: Api) -> None:
    deal = new_deal(api, size=1)
    old = deal.lease(1, ttl_s=5, annotator="maria")
    with api.system.database.transaction() as tx:
        tx.run("UPDATE tasks SET lease_until = now() - interval '1 second' WHERE state = 'leased'")
    assert deal.lease()["waiting"] == "all_leased"
    deal.sweep()
    new = deal.lease(1, annotator="tom")
    assert [r["status"] for r in deal.send(answers(old))["results"]] == ["stale_lease"]
    assert [r["status"] for r in deal.send(answers(new))["results"]] == ["accepted"]


def test_a_heartbeat_keeps_a_lease_and_a_release_gives_it_back(api: Api) -> None:
    deal = new_deal(api, size=3)
    leased = deal.lease(3, ttl_s=5)
    place = f"/v1/batches/{deal.id}/leases/{leased['lease']}"
    (first, *rest) = answers(leased)
    deal.send([first])
    kept = deal.vendor.post(f"{place}:heartbeat", json={"ttl_s": 600}).json()["task_ids"]
    assert sorted(kept) == sorted(one["task_id"] for one in rest), "what is answered is held no more"
    assert deal.lease()["waiting"] == "all_leased"
    given_back = deal.vendor.post(f"{place}:release").json()["task_ids"]
    assert sorted(given_back) == sorted(kept)
    assert deal.vendor.post(f"{place}:heartbeat", json={}).json()["task_ids"] == []
    assert len(deal.lease()["tasks"]) == 2


def test_what_nobody_can_tell_ends_without_a_label(api: Api) -> None:
    deal = new_deal(api, size=2)
    one, two = answers(deal.lease(2))
    dark = {"task_id": one["task_id"], "lease": one["lease"], "cannot_tell": True, "reason": "too dark"}
    assert [r["status"] for r in deal.send([dark, two])["results"]] == ["passed_on", "accepted"]
    assert [r["status"] for r in deal.send([dark])["results"]] == ["replayed"]
    assert deal.look()["state"] == "completed" and labels_of(deal) == 1
    with api.system.database.transaction() as tx:
        assert [one.reason for one in tasks.could_not_tell(tx, deal.world.id, 5)] == ["too dark"]


def test_images_come_through_the_api_for_tasks_that_were_handed_out_only(api: Api) -> None:
    project = api.new_project(classes=["a", "b"])
    stored = api.upload(project, [("one.png", (body := picture(1))), ("two.png", picture(2))]).json()["results"]
    key = vendor_key(api.system)
    with api.system.database.transaction() as tx:
        tx.run("UPDATE images SET state = 'ready'")
        tx.run("UPDATE projects SET state = 'running'")
    terms = {"name": "both", "vendor": "Acme", "size": 1, "fill": "random"}
    batch = api.client.post(f"/v1/projects/{project}/batches", json=terms).json()["id"]
    assert api.client.post(f"/v1/projects/{project}/batches/{batch}:open").status_code == 200
    vendor = TestClient(api.client.app, headers={"Authorization": f"Bearer {key}"})
    (task,) = vendor.post(f"/v1/batches/{batch}/leases", json={}).json()["tasks"]
    shown = vendor.get(task["image_url"])
    assert shown.headers["content-type"] == "image/png"
    assert (shown.content == body) == (task["filename"] == "one.png")
    (other,) = {one["image_id"] for one in stored} - {task["image_id"]}
    assert vendor.get(f"/v1/batches/{batch}/images/{other}").status_code == 404
    assert TestClient(api.client.app).get(task["image_url"]).status_code == 401


def test_links_are_signed_for_the_public_endpoint_where_the_store_has_one(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    deal = new_deal(api, size=2)
    asked: list[int] = []

    def signed(key: str, expires_s: int) -> str:
        asked.append(expires_s)
        return f"https://images.example.org/{key}"

    monkeypatch.setattr(api.system.store, "presigned_get", signed)
    (task,) = deal.lease(1, ttl_s=300)["tasks"]
    assert task["image_url"].startswith(f"/v1/batches/{deal.id}/images/"), "no public endpoint: through the api"
    app = deal.vendor.app
    assert isinstance(app, FastAPI)
    app.state.settings = app.state.settings.model_copy(update={"image_endpoint": "https://images.example.org"})
    (task,) = deal.lease(1, ttl_s=300)["tasks"]
    assert task["image_url"].startswith("https://images.example.org/projects/") and asked == [300]


def test_another_vendors_batch_does_not_exist(api: Api) -> None:
    deal = new_deal(api)
    key = vendor_key(api.system, "Other")
    other = TestClient(api.client.app, headers={"Authorization": f"Bearer {key}"})
    token = deal.lease(1)["lease"]
    for method, path, body in [
        ("GET", "", None),
        ("POST", "/leases", {}),
        ("POST", f"/leases/{token}:heartbeat", {}),
        ("POST", f"/leases/{token}:release", None),
        ("POST", "/annotations", {"annotations": [{"task_id": 1, "lease": token, "class": "a"}]}),
        ("GET", "/annotations", None),
        ("GET", "/images/1", None),
    ]:
        assert other.request(method, f"/v1/batches/{deal.id}{path}", json=body).status_code == 404, path
    assert other.get("/v1/batches").json()["items"] == []
    assert [one["id"] for one in deal.vendor.get("/v1/batches").json()["items"]] == [deal.id]


def test_a_draft_is_not_shown_to_its_vendor(api: Api) -> None:
    deal = new_deal(api, opened=False)
    assert deal.vendor.get(f"/v1/batches/{deal.id}").status_code == 404
    assert deal.vendor.get("/v1/batches").json()["items"] == []
    deal.do("open")
    seen = deal.vendor.get(f"/v1/batches/{deal.id}").json()
    assert seen["question"] == "letters" and [one["name"] for one in seen["classes"]] == ["a", "b"]


def test_neither_side_does_what_is_the_others(api: Api) -> None:
    deal = new_deal(api)
    assert deal.vendor.get(deal.path).status_code == 404, "a vendor knows of no project"
    assert deal.vendor.post(f"{deal.path}:cancel").status_code == 404
    assert api.client.post(f"/v1/batches/{deal.id}/leases", json={}).status_code == 403
    assert api.holding(Scope.READ).get(deal.path).status_code == 403
    elsewhere = started(api.system, name="elsewhere")
    assert api.client.get(f"/v1/projects/{elsewhere.id}/batches/{deal.id}").status_code == 404
    limited = api.holding(Scope.MANAGE, project=elsewhere.id)
    assert limited.get(deal.path).status_code == 404


def test_a_vendors_key_that_is_limited_to_a_project_sees_no_batch_of_another(api: Api) -> None:
    deal = new_deal(api)
    elsewhere = started(api.system, name="elsewhere")
    key = vendor_key(api.system, project=elsewhere.id)
    limited = TestClient(api.client.app, headers={"Authorization": f"Bearer {key}"})
    assert limited.get(f"/v1/batches/{deal.id}").status_code == 404
    assert limited.get("/v1/batches").json()["items"] == []


def test_terms_change_only_for_who_has_seen_the_present_ones(api: Api) -> None:
    deal = new_deal(api, opened=False)
    seen = api.client.get(deal.path).headers["etag"]
    changed = api.client.patch(deal.path, json={"size": 12}, headers={"If-Match": seen})
    assert changed.json()["size"] == 12 and changed.headers["etag"] != seen
    late = api.client.patch(deal.path, json={"size": 13}, headers={"If-Match": seen})
    assert late.status_code == 412 and late.headers["etag"] == changed.headers["etag"]
    deal.do("open")
    assert api.client.patch(deal.path, json={"size": 14}).status_code == 409
    assert api.client.patch(deal.path, json={"deadline": "2031-01-01T00:00:00Z"}).json()["late"] is False
    assert api.client.patch(deal.path, json={"deadline": "2001-01-01T00:00:00Z"}).json()["late"] is True
    assert api.client.patch(deal.path, json={"deadline": None}).json()["deadline"] is None


@pytest.mark.parametrize(
    "terms",
    [
        {"vendor": "Nobody"},
        {"fill": "guesswork"},
        {"size": 0},
        {"deadline": "2031-01-01T00:00:00"},
        {"price": {"amount": "0.04", "per": "label"}},
        {"price": {"amount": "-1", "per": "label", "currency": "EUR"}},
    ],
)
def test_terms_that_mean_nothing_are_refused(api: Api, terms: dict[str, object]) -> None:
    deal = new_deal(api, opened=False)
    body = {"name": "other", "vendor": "Acme", "size": 5, **terms}
    assert api.client.post(f"/v1/projects/{deal.world.id}/batches", json=body).status_code == 422


def test_a_batch_of_the_same_name_is_refused(api: Api) -> None:
    deal = new_deal(api)
    body = {"name": "herons", "vendor": "Acme", "size": 5}
    assert api.client.post(f"/v1/projects/{deal.world.id}/batches", json=body).status_code == 409
