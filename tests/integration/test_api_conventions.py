"""What holds for every endpoint of the api: idempotency keys, limits, compression, operations."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from services.api import idempotency
from services.api.limits import Buckets
from shared.db import projects
from shared.domain import Scope
from tests.integration.api_support import Api, open_api, picture
from tests.integration.batch_support import answers, new_deal, started, vendor_key

BODY = {"name": "birds", "classes": ["heron", "swan"]}


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path) as opened:
        yield opened


def post(client: TestClient, key: str, body: Any = BODY, path: str = "/v1/projects") -> Any:
    return client.post(path, json=body, headers={"Idempotency-Key": key})


def test_the_same_request_with_the_same_key_is_done_once_and_answered_twice_the_same(api: Api) -> None:
    first, again = post(api.client, "k1"), post(api.client, "k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content and again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers and again.headers["idempotency-replayed"] == "true"
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    with api.system.database.transaction() as tx:
        assert len(projects.page(tx)) == 1


def test_another_request_with_the_same_key_is_refused(api: Api) -> None:
    post(api.client, "k1")
    for other in (
        post(api.client, "k1", {**BODY, "name": "fish"}),
        post(api.client, "k1", BODY, "/v1/projects?x=1"),
        post(api.client, "k1", {}, "/v1/projects/1/start"),
    ):
        assert other.status_code == 422 and other.json()["type"].endswith("idempotency-key-reused")


def test_a_key_belongs_to_the_api_key_that_sent_it(api: Api) -> None:
    post(api.client, "k1")
    other = post(api.holding(Scope.MANAGE), "k1", {**BODY, "name": "fish"})
    assert other.status_code == 201


def test_a_request_that_failed_may_be_tried_again_with_its_key(api: Api) -> None:
    assert post(api.client, "k1", {"name": "birds"}).status_code == 422
    assert post(api.client, "k1").status_code == 201


def test_while_the_first_is_under_way_the_second_is_put_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    create = projects.create

    def slow(*args: Any, **kwargs: Any) -> Any:
        began.set()
        assert go_on.wait(20)
        return create(*args, **kwargs)

    monkeypatch.setattr(projects, "create", slow)
    done: list[Any] = []
    first = threading.Thread(target=lambda: done.append(post(api.client, "k1")))
    first.start()
    assert began.wait(20)
    second = post(api.client, "k1")
    go_on.set()
    first.join(20)
    assert second.status_code == 409 and second.json()["type"].endswith("idempotency-in-flight")
    assert second.headers["retry-after"] == "1"
    assert done[0].status_code == 201 and post(api.client, "k1").content == done[0].content


def test_what_a_dead_process_left_under_way_is_done_when_it_comes_again(api: Api) -> None:
    post(api.client, "k1")
    with api.system.database.transaction() as tx:
        tx.run("DELETE FROM projects")
        tx.run(
            "UPDATE idempotent_requests SET status = NULL, body = NULL, headers = NULL, "
            "busy_until = now() + interval '10 s'"
        )
    assert post(api.client, "k1").status_code == 409
    with api.system.database.transaction() as tx:
        tx.run("UPDATE idempotent_requests SET busy_until = now() - interval '1 s'")
    assert post(api.client, "k1").status_code == 201


def test_keys_are_forgotten_after_a_day(api: Api) -> None:
    post(api.client, "k1")
    with api.system.database.transaction() as tx:
        tx.run("UPDATE idempotent_requests SET created_at = now() - interval '25 hours'")
    assert post(api.client, "k1", {**BODY, "name": "fish"}).status_code == 201
    with api.system.database.transaction() as tx:
        assert len(tx.all("SELECT 1 FROM idempotent_requests")) == 1


def test_a_long_request_stays_marked_as_under_way(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "BUSY_S", 0.6)
    monkeypatch.setattr(idempotency, "RENEW_S", 0.1)
    began, go_on = threading.Event(), threading.Event()
    create = projects.create

    def slow(*args: Any, **kwargs: Any) -> Any:
        began.set()
        go_on.wait(20)
        return create(*args, **kwargs)

    monkeypatch.setattr(projects, "create", slow)
    first = threading.Thread(target=lambda: post(api.client, "k1"))
    first.start()
    assert began.wait(20)
    threading.Event().wait(1.5)
    second = post(api.client, "k1")
    go_on.set()
    first.join(20)
    assert second.status_code == 409


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb"])
def test_a_key_that_can_not_be_one_is_refused(api: Api, key: str) -> None:
    assert post(api.client, key).status_code == 422


def test_without_a_good_api_key_nothing_is_kept(api: Api) -> None:
    assert isinstance(api.client.app, FastAPI)
    nobody = TestClient(api.client.app)
    assert post(nobody, "k1").status_code == 401
    with api.system.database.transaction() as tx:
        assert tx.all("SELECT 1 FROM idempotent_requests") == []


def test_an_upload_is_told_by_its_contents_and_not_by_a_key(api: Api) -> None:
    project = api.new_project()
    parts = [("files", ("one.png", picture(1)))]
    place = f"/v1/projects/{project}/images"
    first = api.client.post(place, files=parts, headers={"Idempotency-Key": "k1"}).json()
    again = api.client.post(place, files=parts, headers={"Idempotency-Key": "k1"}).json()
    assert (first["stored"], again["duplicates"]) == (1, 1)


def test_a_lease_whose_answer_was_lost_is_had_again(api: Api) -> None:
    deal = new_deal(api)
    first = post(deal.vendor, "k1", {"count": 4}, f"/v1/batches/{deal.id}/leases").json()
    again = post(deal.vendor, "k1", {"count": 4}, f"/v1/batches/{deal.id}/leases").json()
    assert first == again and deal.look()["counts"]["leased"] == 4


def test_a_body_that_is_too_large_is_refused_with_a_key_too(api: Api) -> None:
    assert post(api.client, "k1", {"name": "x" * (9 << 20)}).status_code == 413


# Limits


def test_a_bucket_gives_its_quota_and_fills_at_an_even_rate() -> None:
    now = 0.0
    buckets = Buckets(quota=10, window_s=5, clock=lambda: now)
    taken = [buckets.take("a") for _ in range(11)]
    assert [one.allowed for one in taken] == [True] * 10 + [False]
    assert (taken[0].remaining, taken[9].remaining, taken[10].wait_s, taken[10].reset_s) == (9, 0, 1, 5)
    assert buckets.take("b").allowed, "each has a bucket of its own"
    now = 1.0
    assert [buckets.take("a").allowed for _ in range(3)] == [True, True, False]
    now = 100.0
    assert buckets.take("a").remaining == 9, "never more than the quota"


def test_a_key_that_asks_too_much_is_told_when_to_go_on(migrated_database_url: str, tmp_path: Path) -> None:
    with open_api(migrated_database_url, tmp_path, requests_per_minute=3) as api:
        first, *_, last = [api.client.get("/v1/projects") for _ in range(4)]
        assert first.status_code == 200 and first.headers["ratelimit-policy"] == '"default";q=3;w=60'
        assert first.headers["ratelimit"].startswith('"default";r=2;t=')
        assert last.status_code == 429 and last.json()["type"] == "urn:winnow:problem:too-many-requests"
        assert 1 <= int(last.headers["retry-after"]) <= 20
        assert last.headers["content-type"] == "application/problem+json"
        assert api.holding(Scope.READ).get("/v1/projects").status_code == 200, "another key is another matter"
        assert api.client.get("/readyz").status_code == 200


# Compression


def test_json_is_compressed_for_who_can_read_that_and_images_are_not(api: Api) -> None:
    deal = new_deal(api, world=started(api.system, pool=60, asked=40), size=30)
    headers = {"Accept-Encoding": "gzip"}
    zipped = deal.vendor.post(f"/v1/batches/{deal.id}/leases", json={"count": 20}, headers=headers)
    assert zipped.headers["content-encoding"] == "gzip" and len(zipped.json()["tasks"]) == 20
    plain = deal.vendor.post(
        f"/v1/batches/{deal.id}/leases", json={"count": 10}, headers={"Accept-Encoding": "identity"}
    )
    assert "content-encoding" not in plain.headers
    project = api.new_project()
    stored = api.upload(project, [("one.png", picture(1, 64, 64))]).json()["results"][0]["image_id"]
    image = api.client.get(f"/v1/projects/{project}/images/{stored}/content", headers=headers)
    assert image.status_code == 200 and "content-encoding" not in image.headers


# Operations


def test_a_cancellation_can_be_followed_to_its_counts(api: Api) -> None:
    deal = new_deal(api)
    deal.answer(3)
    deal.lease(2)
    answer = api.client.post(f"{deal.path}:cancel")
    assert answer.status_code == 202
    place = answer.headers["location"]
    under_way = api.client.get(place)
    assert under_way.json()["state"] == "running" and under_way.headers["retry-after"] == "1"
    deal.sweep()
    done = api.client.get(place).json()
    assert (done["state"], done["resource"]) == ("done", deal.path)
    assert done["result"] == {"answered": 3, "revoked": 2, "dropped": 5}


def test_an_operation_of_another_project_does_not_exist(api: Api) -> None:
    deal = new_deal(api)
    deal.do("cancel")
    elsewhere = started(api.system, name="elsewhere")
    assert api.holding(Scope.READ, project=elsewhere.id).get(f"/v1/operations/cancel-{deal.id}").status_code == 404
    assert api.holding(Scope.READ).get(f"/v1/operations/cancel-{deal.id}").status_code == 200
    for name in (f"fill-{deal.id}", f"cancel-{deal.id + 1}", "predict-1", "cancel-9999999999999999999"):
        assert api.client.get(f"/v1/operations/{name}").status_code == 404, name
    assert api.client.get("/v1/operations/nonsense").status_code == 422
    key = vendor_key(api.system)
    vendor = TestClient(deal.vendor.app, headers={"Authorization": f"Bearer {key}"})
    assert vendor.get(f"/v1/operations/cancel-{deal.id}").status_code == 403


def test_the_document_of_the_api_tells_of_keys_limits_and_examples(api: Api) -> None:
    document = api.client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert "429" in operation["responses"], path
            named = [one["name"] for one in operation.get("parameters", [])]
            takes_files = "multipart/form-data" in operation.get("requestBody", {}).get("content", {})
            assert ("Idempotency-Key" in named) == (method == "post" and not takes_files), path
    for name in ("NewBatch", "BatchChange", "LeaseIn", "AnswersIn", "Acceptance", "Rejection", "OperationOut"):
        assert document["components"]["schemas"][name]["examples"], name


def test_five_hundred_answers_in_one_request_are_recorded_quickly(api: Api) -> None:
    world = started(api.system, pool=520, asked=510)
    deal = new_deal(api, world=world, size=500)
    given = answers(deal.lease(500))
    sent = deal.vendor.post(f"/v1/batches/{deal.id}/annotations", json={"annotations": given})
    assert sent.json()["recorded"] == 500 and sent.json()["state"] == "completed"
    assert sent.elapsed.total_seconds() < 20, "a hundred times what it takes on an idle machine"
