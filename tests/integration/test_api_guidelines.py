"""What annotators are told, and what they flagged, over the api."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.domain import Scope
from tests.integration.api_support import Api, open_api
from tests.world import World, build


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(api: Api) -> World:
    return build(api.system, pool=6)


def test_guidelines_are_set_in_parts_and_read_back(api: Api, world: World) -> None:
    path, (one, two, *_) = f"/v1/projects/{world.id}/guidelines", world.images
    first = {
        "text": "Read the letter.",
        "classes": [{"class": "a", "description": "Round.", "examples": [two.id, one.id]}],
    }
    assert api.client.patch(path, json=first).status_code == 200
    assert api.client.patch(path, json={"classes": [{"class": "b", "description": "Tall."}]}).status_code == 200
    told = api.client.get(path).json()
    assert told["text"] == "Read the letter."
    a, b = told["classes"]
    assert (a["description"], a["examples"], a["picked"]) == ("Round.", [two.id, one.id], True)
    assert (b["description"], b["examples"], b["picked"]) == ("Tall.", [], False)
    newest = api.client.get(f"/v1/projects/{world.id}/events").json()["items"][0]
    assert newest["kind"] == "project.guidelines_changed"


def test_without_picked_examples_labelled_images_of_the_pool_are_shown(api: Api, world: World) -> None:
    held = build(api.system, pool=2, holdout=1, name="held")
    for image, name in [(held.images[0], "a"), (held.images[2], "a")]:
        body = {"labels": [{"image_id": image.id, "class": name}]}
        assert api.client.post(f"/v1/projects/{held.id}/labels", json=body).json()["labelled"] == 1
    (a, b) = api.client.get(f"/v1/projects/{held.id}/guidelines").json()["classes"]
    assert (a["examples"], a["picked"]) == ([held.images[0].id], False), "what measures is not shown"
    assert b["examples"] == []


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"class": "c", "description": "x"}, "no class 'c'"),
        ({"class": "b", "examples": [999_999]}, "no image 999999"),
    ],
)
def test_what_does_not_fit_changes_nothing(api: Api, world: World, part: dict[str, object], reason: str) -> None:
    path = f"/v1/projects/{world.id}/guidelines"
    refused = api.client.patch(path, json={"text": "New.", "classes": [{"class": "a", "description": "y"}, part]})
    assert refused.status_code == 422 and reason in refused.json()["detail"]
    told = api.client.get(path).json()
    assert told["text"] == "" and told["classes"][0]["description"] == ""


def test_who_may_only_read_changes_no_guidelines(api: Api, world: World) -> None:
    reader = api.holding(Scope.READ)
    assert reader.get(f"/v1/projects/{world.id}/guidelines").status_code == 200
    assert reader.patch(f"/v1/projects/{world.id}/guidelines", json={"text": "x"}).status_code == 403


def test_flags_come_newest_first_in_pages_and_are_resolved_once(api: Api, world: World) -> None:
    ann = world.user()
    for number, image in enumerate(world.images[:3]):
        world.system.labelling.flag(world.id, ann.id, image.id, f"note {number}", key=f"k{number}")
    path = f"/v1/projects/{world.id}/flags"
    first = api.client.get(path, params={"limit": 2}).json()
    assert [one["note"] for one in first["items"]] == ["note 2", "note 1"]
    rest = api.client.get(path, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [one["note"] for one in rest["items"]] == ["note 0"] and rest["next_cursor"] is None
    newest = first["items"][0]
    assert (newest["by_name"], newest["label"], newest["resolved_at"]) == ("ann", None, None)
    for _ in range(2):
        assert api.client.post(f"{path}/{newest['id']}/resolve").status_code == 204
    assert [one["note"] for one in api.client.get(path).json()["items"]] == ["note 1", "note 0"]
    (resolved, *_) = api.client.get(path, params={"only_open": False}).json()["items"]
    assert resolved["resolved_at"] is not None and resolved["resolved_by"].startswith("key:")


def test_a_flag_of_another_project_is_not_there(api: Api, world: World) -> None:
    other = build(api.system, pool=1, name="other")
    flag = world.system.labelling.flag(world.id, world.user().id, world.images[0].id, "", key="k")
    assert api.client.post(f"/v1/projects/{other.id}/flags/{flag}/resolve").status_code == 404
