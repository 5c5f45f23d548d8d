"""What is known, how good people are, and consensus, over the API."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.api.app import create_app
from shared.db import labels
from shared.db.tasks import Lease
from shared.domain import RoundMode, Scope
from shared.settings import ApiSettings
from tests.integration.api_support import Api, add_key
from tests.world import World, build, open_system


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_system(migrated_database_url, tmp_path) as system:
        app = create_app(system, ApiSettings())
        headers = {"Authorization": f"Bearer {add_key(system, Scope.MANAGE)}"}
        yield Api(system, TestClient(app, headers=headers))


@pytest.fixture
def world(api: Api) -> World:
    """Three people are asked about each of six images, two of which came with labels."""
    made = build(api.system, pool=6, mode=RoundMode.STRICT, initial=6, overlap=3)
    with api.system.ledger.transaction() as tx:
        labels.import_known(tx, made.id, {image.sha256: made.classes[0].id for image in made.images[:2]})
    made.start()
    made.do_embed()
    made.do_select()
    for name, column in (("ann", 0), ("bob", 0), ("cy", 1)):
        person = made.user(name)
        for task in api.system.labelling.lease(made.id, person.id, count=50):
            held = Lease(task_id=task.id, fence=task.fence)
            chosen = made.classes[column].id
            api.system.labelling.submit(made.id, person.id, held, chosen, key=uuid.uuid4().hex, duration_ms=800)
    return made


def test_the_figures_of_everybody_are_told(api: Api, world: World) -> None:
    told = api.client.get(f"/v1/projects/{world.id}/quality").json()
    assert (told["answers"], told["overlapping"], told["questions"]) == (12, 12, {"resolved": 4})
    by_name = {one["name"]: one for one in told["people"]}
    assert by_name["ann"]["consensus"]["share"] == 1.0 and by_name["cy"]["consensus"]["share"] == 0.0
    assert by_name["cy"]["confusion"] == [[0, 4], [0, 0]]
    assert by_name["ann"]["gold"] == {"answers": 0, "right": 0, "share": None, "low": None, "high": None}


def test_a_key_that_may_only_label_learns_nothing_of_people(api: Api, world: World) -> None:
    assert api.holding(Scope.LABEL).get(f"/v1/projects/{world.id}/quality").status_code == 403


def test_images_are_marked_as_known_by_the_label_that_they_have(api: Api, world: World) -> None:
    path, chosen = f"/v1/projects/{world.id}/gold", [image.id for image in world.images]
    marked = api.client.post(path, json={"image_ids": chosen}).json()["image_ids"]
    assert marked == chosen, "consensus and import both count"
    page = api.client.get(path, params={"limit": 4}).json()
    rest = api.client.get(path, params={"limit": 4, "cursor": page["next_cursor"]}).json()
    assert [one["image_id"] for one in page["items"] + rest["items"]] == chosen
    assert rest["next_cursor"] is None
    gone = api.client.post(f"{path}/remove", json={"image_ids": chosen[:1]}).json()
    assert gone["image_ids"] == chosen[:1]
    assert len(api.client.get(path).json()["items"]) == 5


def test_what_has_no_label_is_not_known(api: Api) -> None:
    bare = build(api.system, name="bare")
    marked = api.client.post(f"/v1/projects/{bare.id}/gold", json={"image_ids": [bare.images[0].id]})
    assert marked.json() == {"image_ids": []}


def test_all_answers_are_weighed_anew_when_asked_for(api: Api, world: World) -> None:
    told = api.client.post(f"/v1/projects/{world.id}/consensus").json()
    assert told == {"labels": 4, "changed": 0, "settled": 0}


def test_settings_that_do_not_go_together_are_refused(api: Api, world: World) -> None:
    refused = api.client.patch(f"/v1/projects/{world.id}", json={"settings": {"agreement": True, "overlap": 1}})
    assert refused.status_code == 422 and "overlap must be at least 2" in refused.text
