"""The review pages over HTTP: what they tell, to whom, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.ui.app import create_app
from services.ui.review_calls import MOST_POINTS, drawn
from services.ui.sessions import COOKIE
from shared.credentials import digest, new_token
from shared.db import members, users
from shared.domain import Role
from shared.learning.opinions import OPINION
from shared.settings import UiSettings
from tests.browser.gallery import digits, hang
from tests.browser.review_support import reviewable, truth_of
from tests.integration.ui_support import PAGE, Ui, open_ui
from tests.world import World


@pytest.fixture
def ui(migrated_database_url: str, tmp_path: Path) -> Iterator[Ui]:
    with open_ui(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(ui: Ui) -> World:
    return reviewable(ui.system, 60, wrong=6)


def call(ui: Ui, world: World, path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
    address = f"/v1/projects/{world.id}/review/{path}"
    answer = ui.ann.get(address) if body is None else ui.ann.post(address, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def person(ui: Ui, name: str, role: Role | None, world: World) -> TestClient:
    token = new_token()
    with ui.system.database.transaction() as tx:
        user = users.add(tx, name, name, "not a hash")
        if role is not None:
            members.put(tx, world.id, user.id, role)
        users.open_session(tx, user.id, digest(token), hours=1)
    return TestClient(create_app(ui.system, UiSettings()), cookies={COOKIE: token}, follow_redirects=False)


def test_a_cell_holds_as_many_images_as_the_diagonal_counts(ui: Ui, world: World) -> None:
    found = call(ui, world, "diagonal")
    assert found["images"] == found["unseen"] == 60 == sum(map(sum, found["counts"]))
    points = set(zip(found["points"]["images"], found["points"]["given"], found["points"]["said"], strict=True))
    for given, row in enumerate(found["counts"]):
        for said, count in enumerate(row):
            ids = [world.classes[at].id for at in (given, said)]
            cell = call(ui, world, f"cell?given={ids[0]}&said={ids[1]}")["images"]
            assert len(cell) == count and {(one, given, said) for one in cell} <= points


def test_images_come_in_the_order_asked_with_both_opinions(ui: Ui, world: World) -> None:
    ids = [world.images[at].id for at in (5, 2, 9)]
    shots = call(ui, world, "images", {"images": [*ids, 10**9]})["shots"]
    assert [one["id"] for one in shots] == ids
    for one, image in zip(shots, (world.images[at] for at in (5, 2, 9)), strict=True):
        assert one["filename"] == image.filename and (one["width"], one["height"]) == (8, 8)
        assert one["suggested"] != one["given"] and 0 <= one["own"] <= one["confidence"] <= 1


def test_doubts_are_listed_once_and_what_was_looked_at_not_again(ui: Ui, world: World) -> None:
    first = call(ui, world, "doubts", {"count": 2})
    rest = call(ui, world, "doubts", {"count": 60, "without": [one["id"] for one in first["shots"]]})
    assert first["left"] == rest["left"] == 2 + len(rest["shots"]) and (first["checked"], first["images"]) == (60, 60)
    keep, take = first["shots"]
    verdicts = [
        {"image_id": keep["id"], "class_id": keep["given"]},
        {"image_id": take["id"], "class_id": take["suggested"]},
    ]
    said = call(ui, world, "verdicts", {"verdicts": verdicts}, **{"Idempotency-Key": "k1"})
    assert said == {"corrected": [take["id"]], "kept": [keep["id"]], "replayed": False}
    assert call(ui, world, "verdicts", {"verdicts": verdicts}, **{"Idempotency-Key": "k1"})["replayed"]
    after = call(ui, world, "doubts", {})
    assert not {keep["id"], take["id"]} & {one["id"] for one in after["shots"]}
    assert after["left"] == first["left"] - 2
    truth = truth_of(next(one for one in world.images if one.id == take["id"]))
    assert world.classes[truth].id == take["suggested"]
    assert call(ui, world, "undo", {"key": "k1"}) == {"images": sorted([keep["id"], take["id"]])}
    assert call(ui, world, "doubts", {})["left"] == first["left"]


def test_only_reviewers_see_what_the_model_says_of_labels(ui: Ui, world: World) -> None:
    roles = {"rea": Role.REVIEWER, "abe": Role.ANNOTATOR, "new": None}
    expected = {"rea": 200, "abe": 403, "new": 404}
    for name, role in roles.items():
        client = person(ui, name, role, world)
        for path in ("", "/doubts"):
            assert client.get(f"/projects/{world.id}/review{path}", headers=PAGE).status_code == expected[name]
        assert client.get(f"/v1/projects/{world.id}/review/diagonal").status_code == expected[name]
        assert client.post(f"/v1/projects/{world.id}/review/doubts", json={}).status_code == expected[name]


def test_another_projects_images_are_not_shown_and_not_changed(ui: Ui, world: World) -> None:
    other = hang(ui.system, digits(3), ["a", "b"], name="Other")
    foreign = other.images[0].id
    assert call(ui, world, "images", {"images": [foreign]})["shots"] == []
    verdict = {"verdicts": [{"image_id": foreign, "class_id": world.classes[0].id}]}
    assert call(ui, world, "verdicts", verdict, **{"Idempotency-Key": "k"}) == {
        "corrected": [],
        "kept": [],
        "replayed": False,
    }


def test_bad_requests_are_refused(ui: Ui, world: World) -> None:
    base = f"/v1/projects/{world.id}/review"
    verdict = {"image_id": world.images[0].id, "class_id": world.classes[0].id}
    assert ui.ann.post(f"{base}/verdicts", json={"verdicts": [verdict]}).status_code == 422, "it needs a key"
    too_many = {"verdicts": [verdict] * 1001}
    assert ui.ann.post(f"{base}/verdicts", json=too_many, headers={"Idempotency-Key": "k"}).status_code == 422
    assert ui.ann.post(f"{base}/undo", json={"key": "never"}).status_code == 409
    assert ui.ann.post(f"{base}/images", json={"images": list(range(1, 200))}).status_code == 422
    assert ui.ann.get(f"{base}/cell?given={2**70}&said=1").status_code == 422


def test_of_too_many_points_those_off_the_diagonal_are_drawn_first() -> None:
    found = np.zeros(3 * MOST_POINTS, OPINION)
    found["said"][::100] = 1
    off = int((found["said"] != found["given"]).sum())
    places = drawn(found)
    assert len(places) == MOST_POINTS == len(set(places.tolist()))
    assert int((found["said"][places] == 1).sum()) == off
