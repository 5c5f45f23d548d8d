"""The calls of the labelling page: tasks are taken, answered, skipped and taken back over HTTP."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image as Picture

from services.ui import standing
from services.ui.app import create_app
from shared.db import events, labels
from shared.settings import UiSettings
from shared.store.base import view_key
from shared.system import System
from tests.browser.gallery import PASSWORD, add_user, digits, hang, open_for_labelling, serve
from tests.world import World, open_system

SignIn = Callable[[str], TestClient]


@pytest.fixture(autouse=True)
def _counts_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "FRESH_S", 0.0)


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path, pool_size=20) as opened:
        yield opened


@pytest.fixture
def app(system: System) -> FastAPI:
    return create_app(system, UiSettings())


@pytest.fixture
def world(system: System) -> World:
    """Twelve open tasks on pictures of digits."""
    return open_for_labelling(hang(system, digits(40), [str(n) for n in range(10)], initial=12))


@pytest.fixture
def sign_in(system: System, app: FastAPI) -> SignIn:
    def signed_in(username: str) -> TestClient:
        add_user(system, username)
        client = TestClient(app, follow_redirects=False)
        client.post("/sign-in", data={"username": username, "password": PASSWORD})
        return client

    return signed_in


@pytest.fixture
def ann(sign_in: SignIn) -> TestClient:
    return sign_in("ann")


def lease(client: TestClient, world: World, count: int = 1) -> dict[str, Any]:
    response = client.post(f"/v1/projects/{world.id}/leases", json={"count": count})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def one_task(client: TestClient, world: World) -> dict[str, Any]:
    task: dict[str, Any] = lease(client, world)["tasks"][0]
    return task


def submit(
    client: TestClient, world: World, task: dict[str, Any], key: str = "key-1", **changed: Any
) -> httpx.Response:
    body = {"fence": task["fence"], "class_id": world.classes[3].id, "duration_ms": 900, **changed}
    path = f"/v1/projects/{world.id}/tasks/{task['task_id']}/annotation"
    answered: httpx.Response = client.post(path, json=body, headers={"Idempotency-Key": key})
    return answered


def count_labels(world: World) -> int:
    with world.system.ledger.transaction() as tx:
        return labels.counts(tx, world.id).human


def test_a_task_says_what_to_look_at_and_nothing_that_sways(ann: TestClient, world: World) -> None:
    leased = lease(ann, world, 3)
    assert leased["waiting"] is None and len(leased["tasks"]) == 3
    task = leased["tasks"][0]
    assert set(task) == {"task_id", "fence", "lease_until", "image"}
    assert task["image"] == {
        "id": task["image"]["id"],
        "url": f"/projects/{world.id}/images/{task['image']['id']}",
        "width": 8,
        "height": 8,
    }
    everything = json.dumps(leased)
    assert not any(word in everything for word in ("strategy", "score", "kind", "query", "priority"))


def test_an_answer_becomes_a_label(ann: TestClient, world: World) -> None:
    task = one_task(ann, world)
    response = submit(ann, world, task)
    assert response.status_code == 201
    assert response.json()["replayed"] is False
    with world.system.ledger.transaction() as tx:
        label = labels.of_image(tx, task["image"]["id"])
    assert label is not None and label.class_id == world.classes[3].id
    assert lease(ann, world)["progress"]["answered_by_me"] == 1


def test_an_answer_sent_twice_is_recorded_once(ann: TestClient, world: World) -> None:
    task = one_task(ann, world)
    first, again = submit(ann, world, task), submit(ann, world, task)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {"annotation_id": first.json()["annotation_id"], "replayed": True, "next": None}
    assert count_labels(world) == 1


def test_an_answer_brings_the_next_tasks_if_they_are_wanted(ann: TestClient, world: World) -> None:
    task = one_task(ann, world)
    following = submit(ann, world, task, lease=2).json()["next"]
    assert following["waiting"] is None and following["progress"]["answered_by_me"] == 1
    assert len({task["task_id"], *(one["task_id"] for one in following["tasks"])}) == 3
    again = submit(ann, world, task, lease=2).json()
    assert again["replayed"] and [one["task_id"] for one in again["next"]["tasks"]] == [
        one["task_id"] for one in following["tasks"]
    ], "sent twice it holds no more than was wanted"


def test_an_answer_that_is_refused_holds_nothing(ann: TestClient, world: World) -> None:
    task = one_task(ann, world)
    refused = submit(ann, world, {**task, "fence": task["fence"] + 1}, lease=5)
    assert refused.status_code == 409 and "next" not in refused.json()
    assert [one["task_id"] for one in lease(ann, world, 1)["tasks"]] == [task["task_id"]]


def test_an_answer_under_a_lost_lease_is_refused(ann: TestClient, sign_in: SignIn, world: World) -> None:
    bob, task = sign_in("bob"), one_task(ann, world)
    released = ann.post(f"/v1/projects/{world.id}/leases/release", json={"leases": [task]})
    assert released.json() == {"released": [task["task_id"]]}
    taken = one_task(bob, world)
    assert taken["task_id"] == task["task_id"]
    refused = submit(ann, world, task)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:winnow:problem:stale-fence")
    assert submit(ann, world, taken).status_code == 409, "knowing the fence is not holding the task"
    assert submit(bob, world, taken, key="key-2").status_code == 201
    assert count_labels(world) == 1


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("key-1", {"class_id": 10**9}),
        ("key-1", {"class_id": 0}),
        ("key-1", {"fence": "no"}),
        ("key-1", {"duration_ms": -1}),
        ("", {}),
        ("k" * 201, {}),
    ],
)
def test_a_bad_answer_is_refused_and_the_task_stays_held(
    ann: TestClient, world: World, key: str, changed: dict[str, Any]
) -> None:
    task = one_task(ann, world)
    assert submit(ann, world, task, key, **changed).status_code == 422
    assert submit(ann, world, task).status_code == 201


def test_an_answer_without_an_idempotency_key_is_refused(ann: TestClient, world: World) -> None:
    task = one_task(ann, world)
    path = f"/v1/projects/{world.id}/tasks/{task['task_id']}/annotation"
    refused = ann.post(path, json={"fence": task["fence"], "class_id": world.classes[0].id})
    assert refused.status_code == 422 and "Idempotency-Key" in refused.json()["detail"].title()


def test_leases_are_renewed_by_their_holder_only(ann: TestClient, sign_in: SignIn, world: World) -> None:
    task, path = one_task(ann, world), f"/v1/projects/{world.id}/leases/renew"
    assert ann.post(path, json={"leases": [task]}).json() == {"held": [task["task_id"]]}
    assert sign_in("bob").post(path, json={"leases": [task]}).json() == {"held": []}


@pytest.mark.parametrize("content_type", ["application/json", "text/plain;charset=UTF-8"])
def test_a_page_that_is_left_can_give_its_tasks_back(ann: TestClient, world: World, content_type: str) -> None:
    task = one_task(ann, world)
    response = ann.post(
        f"/v1/projects/{world.id}/leases/release",
        content=json.dumps({"leases": [{"task_id": task["task_id"], "fence": task["fence"]}]}),
        headers={"content-type": content_type},
    )
    assert response.json() == {"released": [task["task_id"]]}


def test_a_release_that_is_not_json_says_what_it_should_be(ann: TestClient, world: World) -> None:
    refused = ann.post(f"/v1/projects/{world.id}/leases/release", content=b"leases!")
    assert refused.status_code == 422 and '"leases"' in refused.json()["detail"]


def test_an_answer_taken_back_brings_its_image_again(ann: TestClient, world: World) -> None:
    task = one_task(ann, world)
    annotation = submit(ann, world, task).json()["annotation_id"]
    back = ann.post(f"/v1/projects/{world.id}/undo", json={"annotation_id": annotation}).json()["task"]
    assert back["task_id"] == task["task_id"] and back["image"] == task["image"] and back["fence"] > task["fence"]
    assert count_labels(world) == 0
    assert submit(ann, world, back, key="key-2").status_code == 201


def test_undo_without_a_name_takes_the_newest_answer_back(ann: TestClient, world: World) -> None:
    older, newer = lease(ann, world, 2)["tasks"]
    submit(ann, world, older, key="older")
    submit(ann, world, newer, key="newer")
    undo = f"/v1/projects/{world.id}/undo"
    assert ann.post(undo, json={}).json()["task"]["task_id"] == newer["task_id"]
    assert ann.post(undo, json={}).json()["task"]["task_id"] == older["task_id"]
    assert ann.post(undo, json={}).status_code == 409


def test_nobody_takes_back_what_another_answered(ann: TestClient, sign_in: SignIn, world: World) -> None:
    annotation = submit(ann, world, one_task(ann, world)).json()["annotation_id"]
    refused = sign_in("bob").post(f"/v1/projects/{world.id}/undo", json={"annotation_id": annotation})
    assert refused.status_code == 409 and count_labels(world) == 1


def test_a_skipped_task_goes_to_the_end_of_the_queue(ann: TestClient, sign_in: SignIn, world: World) -> None:
    task = one_task(ann, world)
    path = f"/v1/projects/{world.id}/tasks/{task['task_id']}/skip"
    assert sign_in("bob").post(path, json={"fence": task["fence"]}).status_code == 409
    assert ann.post(path, json={"fence": task["fence"], "reason": "blurred"}).json() == {"task_id": task["task_id"]}
    assert ann.post(path, json={"fence": task["fence"]}).status_code == 409
    assert [t["task_id"] for t in lease(ann, world, 50)["tasks"]][-1] == task["task_id"]


def test_who_gets_no_task_is_told_why(ann: TestClient, sign_in: SignIn, world: World) -> None:
    bob = sign_in("bob")
    lease(ann, world, 50)
    waiting = lease(bob, world)["waiting"]
    assert waiting["reason"] == "held" and waiting["held"] == 12 and waiting["next_return"]
    assert waiting["message"].startswith("12 tasks are held by others, the next returns by ")
    assert ann.post(f"/v1/projects/{world.id}/pause").json()["project"]["state"] == "paused"
    assert lease(bob, world)["waiting"]["message"] == "The project is paused."
    ann.post(f"/v1/projects/{world.id}/start")
    for number, task in enumerate(lease(ann, world, 50)["tasks"]):
        submit(ann, world, task, key=f"all-{number}")
    world.system.rounds.nudge(world.id)
    assert lease(bob, world)["waiting"]["reason"] == "training"


def test_a_project_that_has_not_started_hands_out_nothing(ann: TestClient, system: System) -> None:
    draft = hang(system, digits(4), ["odd", "even"], name="draft")
    assert lease(ann, draft)["waiting"]["reason"] == "not_started"


def test_start_and_pause_are_on_record_with_who_did_it(ann: TestClient, world: World) -> None:
    ann.post(f"/v1/projects/{world.id}/pause")
    with world.system.ledger.transaction() as tx:
        newest = events.newest(tx, world.id, limit=1)[0]
    assert newest.kind == "project.paused" and newest.actor.startswith("user:")


def test_classes_come_with_their_keys(ann: TestClient, world: World) -> None:
    classes = ann.get(f"/v1/projects/{world.id}/classes").json()
    assert [one["name"] for one in classes] == [str(n) for n in range(10)]
    assert all(set(one) == {"id", "name", "colour", "hotkey"} for one in classes)
    assert len({one["hotkey"] for one in classes}) == 10, "every one of ten classes can be reached by a key"


def test_the_state_says_where_the_project_stands(ann: TestClient, world: World) -> None:
    submit(ann, world, one_task(ann, world))
    state = ann.get(f"/v1/projects/{world.id}/state").json()
    assert state["project"]["name"] == "garden" and state["round"]["state"] == "labelling"
    assert (state["progress"]["done"], state["progress"]["total"]) == (1, 12)
    assert state["labels"] == {"pool": 1, "holdout": 0, "human": 1, "model": 0}
    assert state["classes"][3]["labels"] == 1 and state["tasks"] == {"open": 11, "leased": 0}


def test_pages_show_what_they_are_for(ann: TestClient, world: World) -> None:
    assert "garden" in ann.get("/").text
    assert "Learning curve" in ann.get(f"/projects/{world.id}").text
    assert 'data-class="' in ann.get(f"/projects/{world.id}/label").text


def test_names_are_text_and_never_markup(ann: TestClient, system: System) -> None:
    evil = hang(system, digits(2), ["<script>alert(1)</script>", "b"], name="</script><script>alert(2)</script>")
    for path in ("/", f"/projects/{evil.id}", f"/projects/{evil.id}/label"):
        assert "<script>alert" not in ann.get(path).text


def test_an_image_comes_byte_for_byte_and_may_be_kept(ann: TestClient, world: World) -> None:
    task = one_task(ann, world)
    response = ann.get(task["image"]["url"])
    assert response.content in digits(40) and response.headers["content-type"] == "image/png"
    assert "private" in response.headers["cache-control"] and "immutable" in response.headers["cache-control"]
    again = ann.get(task["image"]["url"], headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_an_image_that_browsers_do_not_show_is_rendered_once(ann: TestClient, system: System) -> None:
    out = io.BytesIO()
    Picture.new("CMYK", (20, 10), (0, 255, 255, 0)).save(out, "TIFF")
    made = hang(system, [out.getvalue()], ["a", "b"], name="prints")
    path = f"/projects/{made.id}/images/{made.images[0].id}"
    first = ann.get(path)
    assert first.headers["content-type"] == "image/png"
    with Picture.open(io.BytesIO(first.content)) as shown:
        assert shown.size == (20, 10) and shown.mode == "RGB"
    assert system.store.get(view_key(made.id, made.images[0].sha256)) == first.content
    assert ann.get(path).content == first.content


def test_images_are_for_who_is_signed_in_and_of_their_project(app: FastAPI, ann: TestClient, world: World) -> None:
    path = f"/projects/{world.id}/images/{world.images[0].id}"
    assert TestClient(app, follow_redirects=False).get(path).status_code == 303
    assert ann.get(f"/projects/{world.id + 1}/images/{world.images[0].id}").status_code == 404


def test_many_annotators_at_once_never_share_a_task(system: System, app: FastAPI) -> None:
    world = open_for_labelling(hang(system, digits(150), ["a", "b"], name="crowd", initial=120))
    everybody = [add_user(system, f"user{n}") for n in range(8)]
    answered: list[int] = []
    adding = threading.Lock()

    def label(base: str, username: str) -> None:
        with httpx.Client(base_url=base, timeout=30) as client:
            client.post("/sign-in", data={"username": username, "password": PASSWORD})
            while tasks := client.post(f"/v1/projects/{world.id}/leases", json={"count": 5}).json()["tasks"]:
                for task in tasks:
                    body = {"fence": task["fence"], "class_id": world.classes[0].id}
                    path = f"/v1/projects/{world.id}/tasks/{task['task_id']}/annotation"
                    headers = {"Idempotency-Key": f"{username}-{task['task_id']}"}
                    assert client.post(path, json=body, headers=headers).status_code == 201
                    with adding:
                        answered.append(task["task_id"])

    with serve(app) as base, ThreadPoolExecutor(len(everybody)) as pool:
        for done in [pool.submit(label, base, user.username) for user in everybody]:
            done.result()
    assert len(answered) == len(set(answered)) == 120
    assert count_labels(world) == 120
