"""What people see of a project by their role in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.ui.app import create_app
from services.ui.sessions import COOKIE
from shared.credentials import digest, new_token
from shared.db import events, guidelines, members, users
from shared.domain import Role, User
from shared.settings import UiSettings
from shared.store.base import image_key
from shared.system import System
from tests.integration.api_support import picture
from tests.integration.ui_support import text_of
from tests.world import World, build, open_system


@dataclass
class House:
    system: System
    world: World
    elsewhere: World

    def person(self, name: str, role: Role | None, at: World | None = None) -> tuple[User, TestClient]:
        token = new_token()
        with self.system.database.transaction() as tx:
            user = users.add(tx, name, name, "not a hash")
            if role is not None:
                members.put(tx, (at or self.world).id, user.id, role)
            users.open_session(tx, user.id, digest(token), hours=1)
        app = create_app(self.system, UiSettings())
        return user, TestClient(app, cookies={COOKIE: token}, follow_redirects=False)


@pytest.fixture
def house(migrated_database_url: str, tmp_path: Path) -> Iterator[House]:
    with open_system(migrated_database_url, tmp_path) as system:
        made = House(system, build(system, pool=12, initial=12, batch_size=4), build(system, name="whales"))
        for image in made.world.images:
            system.store.put_bytes(image_key(image.project_id, image.sha256), picture(image.id), "image/png")
        yield made


def asked(house: House) -> None:
    house.world.start()
    house.world.do_embed()
    house.world.do_select()


def test_people_see_their_projects_only(house: House) -> None:
    _, annotator = house.person("ann", Role.ANNOTATOR)
    _, stranger = house.person("new", None)
    mine = text_of(annotator.get("/").text)
    assert "letters" in mine and "whales" not in mine and "Accuracy" not in mine
    assert "No project yet" in stranger.get("/").text


def test_the_navigation_leads_nowhere_that_is_closed(house: House) -> None:
    project = f"/projects/{house.world.id}"
    _, reviewer = house.person("rea", Role.REVIEWER)
    page = reviewer.get(f"{project}/images").text
    assert f'{project}/label"' in page and f'{project}/flags"' in page
    assert f'{project}/settings"' not in page and f'{project}/data"' not in page and '"/system"' not in page
    assert "Remove label" not in page and "Relabel" in page


def test_an_annotator_who_opens_the_project_comes_to_where_they_label(house: House) -> None:
    _, annotator = house.person("ann", Role.ANNOTATOR)
    answer = annotator.get(f"/projects/{house.world.id}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/projects/{house.world.id}/label")
    assert annotator.get(f"/projects/{house.world.id}/label").status_code == 200
    assert annotator.get(f"/v1/projects/{house.world.id}/state").status_code == 403
    assert annotator.get(f"/v1/projects/{house.elsewhere.id}/state").status_code == 404


def test_an_annotator_sees_the_images_they_hold_or_answered_and_no_other(house: House) -> None:
    asked(house)
    ann, client = house.person("ann", Role.ANNOTATOR)
    bob, _ = house.person("bob", Role.ANNOTATOR)

    def visible() -> set[int]:
        base = f"/projects/{house.world.id}/images"
        found = {one.id: client.get(f"{base}/{one.id}").status_code for one in house.world.images}
        thumbs = {one.id: client.get(f"{base}/{one.id}/thumb").status_code for one in house.world.images}
        assert found == thumbs and set(found.values()) <= {200, 404}
        return {image for image, status in found.items() if status == 200}

    assert visible() == set()
    held = {task.image_id for task in house.system.labelling.lease(house.world.id, ann.id, count=2)}
    house.system.labelling.lease(house.world.id, bob.id, count=2)
    assert visible() == held
    house.world.answer(2, ann)
    assert visible() >= held, "what one answered can be looked at again"
    free = next(one.id for one in house.world.images if one.id not in held)
    with house.system.database.transaction() as tx:
        guidelines.set_examples(tx, house.world.id, house.world.classes[0].id, [free])
    assert free in visible(), "the examples of the guidelines are for everybody"


def test_a_reviewer_sees_every_image(house: House) -> None:
    _, reviewer = house.person("rea", Role.REVIEWER)
    base = f"/projects/{house.world.id}/images"
    assert {reviewer.get(f"{base}/{one.id}").status_code for one in house.world.images} == {200}


def test_a_reviewer_corrects_labels_but_moves_no_image(house: House) -> None:
    _, reviewer = house.person("rea", Role.REVIEWER)
    url = f"/projects/{house.world.id}/images/actions"
    image = house.world.images[0].id
    given = {"action": "relabel", "id": image, "class_id": house.world.classes[0].id}
    assert reviewer.post(url, data=given).status_code == 303
    for action in ("remove", "holdout", "pool"):
        assert reviewer.post(url, data={"action": action, "id": image, "confirmed": "1"}).status_code == 403


def test_nothing_more_is_asked_of_who_is_paused_and_they_are_told_why(house: House) -> None:
    asked(house)
    ann, client = house.person("ann", Role.ANNOTATOR)
    base = f"/v1/projects/{house.world.id}"
    assert client.post(f"{base}/leases", json={"count": 1}).json()["tasks"]
    with house.system.database.transaction() as tx:
        members.pause(tx, house.world.id, ann.id, "too fast to have looked")
    for call, found in (("leases", "tasks"), ("grid", "tiles")):
        answer = client.post(f"{base}/{call}", json={"count": 1}).json()
        assert answer[found] == [] and answer["waiting"]["reason"] == "member_paused"
        assert "too fast to have looked" in answer["waiting"]["message"]
    with house.system.database.transaction() as tx:
        members.resume(tx, house.world.id, ann.id)
    assert client.post(f"{base}/leases", json={"count": 1}).json()["tasks"]


def test_a_manager_reads_the_log_of_their_projects_and_not_that_of_others(house: House) -> None:
    _, manager = house.person("max", Role.MANAGER)
    with house.system.database.transaction() as tx:
        events.record(tx, house.world.id, "user:1", "project.paused")
        events.record(tx, house.elsewhere.id, "key:wnw_secret", "project.started")
        events.record(tx, None, "system", "user.added", {"user": 1, "username": "mallory"})
    for path in ("/activity", "/activity.csv"):
        told = manager.get(path).text
        assert "paused" in told and "wnw_secret" not in told and "mallory" not in told
    assert manager.get(f"/projects/{house.elsewhere.id}/activity").status_code == 404
    assert manager.get("/system").status_code == 403
