"""Importing known labels over HTTP, and seeing where a project stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.db import jobs, labels
from shared.domain import JobKind, LabelSource, ProjectId, RoundState
from shared.errors import Permanent
from tests.integration.api_support import Api, open_api
from tests.world import World, build


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path) as opened:
        yield opened


def test_labels_are_taken_by_digest_and_by_id_and_each_failure_is_named(api: Api) -> None:
    world = build(api.system, pool=4)
    one, two, three, _ = world.images
    given = [
        {"sha256": one.sha256.upper(), "class": "a"},
        {"image_id": two.id, "class": "b"},
        {"image_id": 999_999, "class": "a"},
        {"sha256": "0" * 64, "class": "a"},
        {"image_id": three.id, "class": "c"},
        {"image_id": one.id, "class": "b"},
        {"image_id": two.id, "class": "b"},
    ]
    answer = api.client.post(f"/v1/projects/{world.id}/labels", json={"labels": given})
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert (body["labelled"], body["kept"], body["failed"]) == (2, 0, 4)
    assert [e["index"] for e in body["errors"]] == [2, 3, 4, 5]
    reasons = " / ".join(e["reason"] for e in body["errors"])
    assert "no image with the id 999999" in reasons
    assert "no class 'c'" in reasons
    assert "another class before" in reasons
    with api.system.database.transaction() as tx:
        found = [labels.of_image(tx, image.id) for image in (one, two, three)]
    assert [label and (label.name, label.source) for label in found] == [
        ("a", LabelSource.IMPORT),
        ("b", LabelSource.IMPORT),
        None,
    ]
    events = api.client.get(f"/v1/projects/{world.id}/events").json()["items"]
    assert (events[0]["kind"], events[0]["data"]) == ("labels.imported", {"labels": 2})


def test_images_of_another_project_are_unknown(api: Api) -> None:
    mine, other = build(api.system, pool=1, name="mine"), build(api.system, pool=1, name="other")
    image = other.images[0]
    given = [{"image_id": image.id, "class": "a"}, {"sha256": image.sha256, "class": "a"}]
    answer = api.client.post(f"/v1/projects/{mine.id}/labels", json={"labels": given}).json()
    assert (answer["labelled"], answer["failed"]) == (0, 2)


def test_what_a_person_said_stays(api: Api) -> None:
    world = round_zero(api)
    world.answer(1)
    with api.system.database.transaction() as tx:
        image = next(i for i in world.images if labels.of_image(tx, i.id))
    given = [{"image_id": image.id, "class": "b"}]
    answer = api.client.post(f"/v1/projects/{world.id}/labels", json={"labels": given}).json()
    assert (answer["labelled"], answer["kept"]) == (0, 1)
    shown = api.client.get(f"/v1/projects/{world.id}/images/{image.id}").json()
    assert (shown["label"]["class"], shown["label"]["source"]) == ("a", "human")


@pytest.mark.parametrize(
    "label",
    [
        {"class": "a"},
        {"image_id": 1, "sha256": "0" * 64, "class": "a"},
        {"sha256": "xyz", "class": "a"},
        {"image_id": 0, "class": "a"},
        {"image_id": 1},
        {"image_id": 1, "class": "a", "confidence": 1},
    ],
)
def test_a_label_that_is_none_is_refused(api: Api, label: dict[str, object]) -> None:
    world = build(api.system, pool=1)
    refused = api.client.post(f"/v1/projects/{world.id}/labels", json={"labels": [label]})
    assert refused.status_code == 422


def test_ten_thousand_labels_are_taken_at_once_and_no_more(api: Api) -> None:
    world = build(api.system, pool=10_000)
    given = [{"image_id": image.id, "class": "a"} for image in world.images]
    path = f"/v1/projects/{world.id}/labels"
    assert api.client.post(path, json={"labels": given}).json()["labelled"] == 10_000
    assert api.client.post(path, json={"labels": [*given, given[0]]}).status_code == 422


def test_imported_labels_move_the_round_on(api: Api) -> None:
    world = round_zero(api)
    given = [{"image_id": image.id, "class": "a"} for image in world.images[-3:]]
    api.client.post(f"/v1/projects/{world.id}/labels", json={"labels": given})
    state = api.client.get(f"/v1/projects/{world.id}/state").json()
    assert (state["round"]["number"], state["round"]["state"]) == (1, RoundState.TRAINING)


def round_zero(api: Api) -> World:
    """A project whose people are being asked for its first three labels."""
    world = build(api.system, pool=8, initial=3)
    world.start()
    world.do_embed()
    world.do_select()
    return world


def test_the_state_tells_everything_of_one_moment(api: Api) -> None:
    world = round_zero(api)
    state = api.client.get(f"/v1/projects/{world.id}/state").json()
    assert state["project"]["state"] == "running"
    assert state["doing"] == "round 0: labelling"
    assert state["images"] == {"total": 8, "holdout": 0, "ready": 8, "unreadable": 0}
    assert state["labels"] == {"pool": 0, "holdout": 0, "human": 0, "model": 0, "by_class": {"a": 0, "b": 0}}
    assert state["tasks"] == {"open": 6, "leased": 0}
    assert (state["round"]["number"], state["curve"], state["dead_jobs"]) == (0, [], [])


def test_rounds_and_the_learning_curve_can_be_read(api: Api) -> None:
    world = round_zero(api)
    world.answer(3)
    api.system.rounds.nudge(world.id)
    world.do_train(accuracy=0.5, confusion=[[1, 0], [1, 0]])
    path = f"/v1/projects/{world.id}"
    found = api.client.get(f"{path}/rounds").json()["items"]
    assert [(r["number"], r["state"]) for r in found] == [(0, "done"), (1, "scoring")]
    curve = api.client.get(f"{path}/checkpoints").json()["items"]
    assert [(p["round"], p["labels"], p["metrics"]["accuracy"]) for p in curve] == [(1, 3, 0.5)]
    assert curve[0]["checkpoint_id"] == found[1]["checkpoint_id"]


def test_dead_jobs_are_shown_with_their_error_and_tried_again_on_request(api: Api) -> None:
    world = round_zero(api)
    world.answer(3)
    api.system.rounds.nudge(world.id)
    job = world.next_job(JobKind.TRAIN)
    api.system.ledger.fail(job, Permanent("the weights file is missing"))
    path = f"/v1/projects/{world.id}/jobs"
    dead = api.client.get(path, params={"state": "dead"}).json()["items"]
    assert [(j["id"], j["kind"], j["error"]) for j in dead] == [
        (job.id, "train", "Permanent: the weights file is missing")
    ]
    assert [j["id"] for j in api.client.post(f"{path}/requeue").json()["items"]] == [job.id]
    assert api.client.post(f"{path}/requeue").json()["items"] == []
    with api.system.database.transaction() as tx:
        assert jobs.get(tx, job.id).state == "queued"
    kinds = [e["kind"] for e in api.client.get(f"/v1/projects/{world.id}/events").json()["items"]]
    assert kinds.count("jobs.requeued") == 1


def test_the_jobs_of_another_project_stay_dead(api: Api) -> None:
    world, other = build(api.system, pool=2, name="mine"), build(api.system, pool=2, name="other")
    for each in (world, other):
        each.start()
        api.system.ledger.fail(each.next_job(JobKind.EMBED), Permanent("broken"))
    api.client.post(f"/v1/projects/{world.id}/jobs/requeue")
    left = api.client.get(f"/v1/projects/{other.id}/jobs", params={"state": "dead"}).json()["items"]
    assert len(left) == 1
    with api.system.database.transaction() as tx:
        assert labels.counts(tx, ProjectId(other.id)).pool == 0
