"""Tags on images: what a name may be, who is found by it, and what comes of it over the api and in exports."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.api.app import create_app
from shared import tagging
from shared.db import browsing, tags
from shared.db.browsing import Filter
from shared.domain import ImageId, Scope
from shared.errors import Conflict, Invalid
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
    return build(api.system, pool=8)


def put(world: World, count: int, *names: str) -> list[ImageId]:
    with world.system.ledger.transaction() as tx:
        return tagging.tag(tx, world.id, [image.id for image in world.images[:count]], names, "user:1")


def take(world: World, count: int, *names: str) -> list[ImageId]:
    with world.system.ledger.transaction() as tx:
        return tagging.untag(tx, world.id, [image.id for image in world.images[:count]], names, "user:1")


def names(world: World) -> list[str]:
    with world.system.database.transaction() as tx:
        return [tag.name for tag in tags.of_project(tx, world.id)]


def found(world: World, name: str, after: int = 0) -> list[ImageId]:
    with world.system.database.transaction() as tx:
        return [one.id for one in browsing.page(tx, world.id, Filter(tag=name), after=after, limit=100)]


def test_a_tag_keeps_its_case_and_is_found_in_any(world: World) -> None:
    put(world, 2, "Straße bei Nacht")
    put(world, 3, "STRASSE BEI NACHT")
    assert names(world) == ["Straße bei Nacht"]
    assert found(world, "strasse bei nacht") == [image.id for image in world.images[:3]]


def test_only_images_that_lacked_the_tag_are_said_to_have_changed(world: World) -> None:
    assert len(put(world, 2, "blurry")) == 2
    assert put(world, 3, "Blurry") == [world.images[2].id]
    assert put(world, 3, "blurry") == []


def test_what_is_tagged_is_on_record_once(world: World) -> None:
    put(world, 2, "blurry", "night")
    put(world, 2, "blurry")
    with world.system.database.transaction() as tx:
        rows = tx.all("SELECT actor, data FROM events WHERE kind = 'images.tagged'")
    ids = [image.id for image in world.images[:2]]
    assert rows == [{"actor": "user:1", "data": {"images": 2, "tags": ["blurry", "night"], "image_ids": ids}}]


def test_a_tag_that_is_on_no_image_any_more_is_gone(world: World) -> None:
    put(world, 3, "blurry", "night")
    assert len(take(world, 2, "BLURRY")) == 2
    assert names(world) == ["blurry", "night"]
    take(world, 3, "blurry")
    assert names(world) == ["night"]


def test_a_filter_pages_on_and_finds_nothing_by_an_unknown_name(world: World) -> None:
    put(world, 3, "blurry")
    assert found(world, "blurry", after=world.images[0].id) == [image.id for image in world.images[1:3]]
    assert found(world, "sharp") == []
    with world.system.database.transaction() as tx:
        assert browsing.count(tx, world.id, Filter(tag="blurry")) == 3
        assert browsing.ids(tx, world.id, Filter(tag="blurry"), limit=2) == [i.id for i in world.images[:2]]


@pytest.mark.parametrize("name", ["", "  \t ", "a,b", "x" * 51, "a\x00b", "to\u202eeht"])
def test_a_name_that_nobody_could_read_is_refused(world: World, name: str) -> None:
    with pytest.raises(Invalid, match="tag"):
        put(world, 1, name)


def test_space_around_and_within_a_name_says_nothing(world: World) -> None:
    put(world, 1, "  low \n light ")
    assert names(world) == ["low light"]


def test_a_project_has_a_thousand_tags_at_most(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging, "MOST_TAGS", 2)
    put(world, 1, "a", "b")
    with pytest.raises(Conflict, match="at most 2 tags"):
        put(world, 1, "c")
    assert names(world) == ["a", "b"]


def test_images_of_another_project_are_passed_over(api: Api, world: World) -> None:
    other = build(api.system, pool=2, name="other")
    theirs = [image.id for image in other.images]
    with api.system.ledger.transaction() as tx:
        assert tagging.tag(tx, world.id, theirs, ["blurry"], "user:1") == []
    assert names(world) == []
    put(other, 2, "blurry")
    with api.system.ledger.transaction() as tx:
        assert tagging.untag(tx, world.id, theirs, ["blurry"], "user:1") == []
    assert len(found(other, "blurry")) == 2


# Over the api


def test_tags_are_put_listed_found_and_taken_off(api: Api, world: World) -> None:
    base = f"/v1/projects/{world.id}"
    ids = [image.id for image in world.images]
    sent = api.client.post(f"{base}/images:tag", json={"image_ids": [*ids[:3], 10**9], "tags": ["Night", "blurry"]})
    assert (sent.status_code, sent.json()) == (200, {"image_ids": ids[:3]})
    assert api.client.get(f"{base}/images/{ids[0]}").json()["tags"] == ["blurry", "Night"]
    sent = api.client.post(f"{base}/images:untag", json={"image_ids": ids, "tags": ["night", "unknown"]})
    assert sent.json() == {"image_ids": ids[:3]}
    assert api.client.get(f"{base}/tags").json() == {"items": [{"name": "blurry", "images": 3}]}
    listed = api.client.get(f"{base}/images", params={"tag": "BLURRY", "limit": 2}).json()
    assert [(one["id"], one["tags"]) for one in listed["items"]] == [(one, ["blurry"]) for one in ids[:2]]
    more = api.client.get(f"{base}/images", params={"tag": "BLURRY", "cursor": listed["next_cursor"]}).json()
    assert [one["id"] for one in more["items"]] == ids[2:3]
    assert api.client.get(f"{base}/images", params={"tag": "none"}).json() == {"items": [], "next_cursor": None}
    assert api.client.get(f"{base}/images").json()["items"][-1]["tags"] == []


@pytest.mark.parametrize(
    "body", [{"tags": ["a"]}, {"image_ids": [], "tags": ["a"]}, {"image_ids": [1], "tags": ["a,b"]}]
)
def test_a_request_that_makes_no_sense_is_refused(api: Api, world: World, body: dict[str, object]) -> None:
    assert api.client.post(f"/v1/projects/{world.id}/images:tag", json=body).status_code == 422


def test_a_key_that_only_reads_tags_nothing(api: Api, world: World) -> None:
    body = {"image_ids": [world.images[0].id], "tags": ["a"]}
    reader = api.holding(Scope.READ)
    assert reader.post(f"/v1/projects/{world.id}/images:tag", json=body).status_code == 403
    assert reader.get(f"/v1/projects/{world.id}/tags").json() == {"items": []}


def test_tags_are_in_the_export(api: Api, world: World) -> None:
    put(world, 1, "night", "=1+1")
    sent = api.client.get(f"/v1/projects/{world.id}/export.csv").text
    rows = list(csv.DictReader(io.StringIO(sent)))
    assert [row["tags"] for row in rows[:2]] == ["'=1+1, night", ""]
