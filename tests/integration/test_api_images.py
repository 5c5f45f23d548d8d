"""Images over HTTP: lists, files, and what the model thinks of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared import arrays
from shared.db import images, projects, rounds
from shared.domain import CheckpointId, Image, ImageId, JobKind, ProjectId, Scope
from shared.store.base import image_key, scores_prefix
from tests.integration.api_support import Api, open_api, picture
from tests.world import World


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path) as opened:
        yield opened


def world_of(api: Api, project: int) -> World:
    """The hands that play this project's workers."""
    with api.system.database.transaction() as tx:
        found = projects.get(tx, ProjectId(project))
        return World(api.system, found, projects.classes(tx, found.id), images.page(tx, found.id, limit=500))


def write_scores(api: Api, project: int, probabilities: list[list[float]]) -> CheckpointId:
    """Play the scorer: probabilities for every shard, the same row for the same place in each."""
    with api.system.database.transaction() as tx:
        current = rounds.latest(tx, ProjectId(project))
        shards = images.shards(tx, ProjectId(project))
    assert current is not None and current.checkpoint_id is not None
    for shard in shards:
        key = scores_prefix(ProjectId(project), current.checkpoint_id, shard.id) + "probabilities.npy"
        arrays.save(api.system.store, key, np.array(probabilities, dtype=np.float32))
    return current.checkpoint_id


def trained_project(api: Api) -> tuple[World, CheckpointId]:
    """A project whose first model has scored its three images."""
    project = api.new_project(initial=1, batch_size=1, queue_factor=1)
    api.upload(project, [(f"{n}.png", picture(n)) for n in range(3)])
    world = world_of(api, project)
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(1)
    world.do_train()
    checkpoint = write_scores(api, project, [[0.9, 0.1], [0.25, 0.75], [0.5, 0.5]])
    world.do_score()
    return world, checkpoint


def test_pages_hold_every_image_once_and_filters_narrow_them(api: Api) -> None:
    project = api.new_project()
    api.upload(project, [(f"{n}.png", picture(n)) for n in range(4)])
    api.upload(project, [(f"{n}.png", picture(n)) for n in range(10, 13)], split="holdout")
    path = f"/v1/projects/{project}/images"
    first = api.client.get(path, params={"limit": 3}).json()
    second = api.client.get(path, params={"limit": 3, "cursor": first["next_cursor"]}).json()
    third = api.client.get(path, params={"limit": 3, "cursor": second["next_cursor"]}).json()
    ids = [image["id"] for page in (first, second, third) for image in page["items"]]
    assert len(ids) == 7 and ids == sorted(set(ids))
    assert third["next_cursor"] is None
    held = api.client.get(path, params={"split": "holdout"}).json()["items"]
    assert [image["filename"] for image in held] == ["10.png", "11.png", "12.png"]
    assert api.client.get(path, params={"state": "unreadable"}).json()["items"] == []
    assert api.client.get(path, params={"state": "lost"}).status_code == 422
    assert api.client.get(path, params={"limit": 0}).status_code == 422


def test_a_file_comes_with_what_a_browser_needs_to_treat_it_with_care(api: Api) -> None:
    project = api.new_project()
    file = picture(1, kind="JPEG")
    image = api.upload(project, [("hé ron.jpg", file)]).json()["results"][0]
    path = f"/v1/projects/{project}/images/{image['image_id']}/content"
    answer = api.client.get(path)
    assert (answer.content, answer.headers["content-type"]) == (file, "image/jpeg")
    assert answer.headers["content-length"] == str(len(file))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''h%C3%A9%20ron.jpg"
    again = api.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_file_that_the_store_lost_is_not_found(api: Api) -> None:
    project = api.new_project()
    image = api.upload(project, [("a.png", picture(1))]).json()["results"][0]
    api.system.store.delete(image_key(ProjectId(project), image["sha256"]))
    lost = api.client.get(f"/v1/projects/{project}/images/{image['image_id']}/content")
    assert (lost.status_code, lost.headers["content-type"]) == (404, "application/problem+json")


def test_without_a_model_there_is_no_prediction(api: Api) -> None:
    project = api.new_project()
    image = api.upload(project, [("a.png", picture(1))]).json()["results"][0]["image_id"]
    refused = api.client.get(f"/v1/projects/{project}/images/{image}/prediction")
    assert refused.status_code == 409
    assert "no model yet" in refused.json()["detail"]
    assert api.client.get(f"/v1/projects/{project}/images/999/prediction").status_code == 404


def test_a_prediction_names_the_class_its_confidence_and_the_model(api: Api) -> None:
    world, checkpoint = trained_project(api)
    path = f"/v1/projects/{world.id}/images/{world.images[1].id}/prediction"
    assert api.client.get(path).json() == {
        "image_id": world.images[1].id,
        "class": "swan",
        "confidence": 0.75,
        "probabilities": {"heron": 0.25, "swan": 0.75},
        "checkpoint_id": checkpoint,
        "round": 1,
        "asked": False,
    }


def test_an_image_that_came_after_the_model_is_scored_on_asking(api: Api) -> None:
    world, checkpoint = trained_project(api)
    late = api.upload(world.id, [("late.png", picture(77))]).json()["results"][0]["image_id"]
    path = f"/v1/projects/{world.id}/images/{late}/prediction"
    reader = api.holding(Scope.READ)
    waiting = reader.get(path)
    assert (waiting.status_code, waiting.json()["waiting_for"]) == (202, "embed")
    assert waiting.headers["retry-after"] == "1"
    assert reader.get(path).status_code == 202  # asking again asks for nothing more
    assert world.queued().count(JobKind.EMBED) == 1
    world.do_embed()
    assert (reader.get(path).status_code, reader.get(path).json()["waiting_for"]) == (202, "score")
    shard = image_row(api, world, late).shard_id
    assert shard is not None
    key = scores_prefix(world.id, checkpoint, shard) + "probabilities.npy"
    arrays.save(api.system.store, key, np.array([[0.125, 0.875]], dtype=np.float32))
    world.do_score()
    assert reader.get(path).json()["confidence"] == 0.875


def test_an_unreadable_image_gets_no_prediction(api: Api) -> None:
    world, _ = trained_project(api)
    late = api.upload(world.id, [("late.png", picture(77))]).json()["results"][0]["image_id"]
    api.client.get(f"/v1/projects/{world.id}/images/{late}/prediction")
    job = world.next_job(JobKind.EMBED)
    with api.system.ledger.transaction() as tx:
        api.system.ledger.finish(tx, job)
        api.system.rounds.embedded(tx, job, job.payload["shard_id"], {ImageId(late): "cut off at row 3"})
    refused = api.client.get(f"/v1/projects/{world.id}/images/{late}/prediction")
    assert refused.status_code == 409
    assert "cut off at row 3" in refused.json()["detail"]
    assert api.client.get(f"/v1/projects/{world.id}/images/{late}").json()["error"] == "cut off at row 3"


def image_row(api: Api, world: World, image: int) -> Image:
    with api.system.database.transaction() as tx:
        return images.get(tx, world.id, ImageId(image))
