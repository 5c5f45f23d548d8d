"""Reviewers decide blind where people disagree, and ask for second opinions, over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.db import labels
from shared.db.tasks import Lease
from shared.domain import ImageId, RoundMode
from tests.integration.ui_support import Ui, open_ui
from tests.world import World, build


@pytest.fixture
def ui(migrated_database_url: str, tmp_path: Path) -> Iterator[Ui]:
    with open_ui(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(ui: Ui) -> World:
    """Two people are asked about each of four images."""
    made = build(ui.system, pool=12, mode=RoundMode.STRICT, initial=4, overlap=2)
    made.start()
    made.do_embed()
    made.do_select()
    return made


def say(world: World, name: str, column: int) -> ImageId:
    person = world.user(name)
    (task,) = world.system.labelling.lease(world.id, person.id, count=1)
    held = Lease(task_id=task.id, fence=task.fence)
    world.system.labelling.submit(world.id, person.id, held, world.classes[column].id, key=uuid.uuid4().hex)
    return task.image_id


def get(ui: Ui, world: World, path: str) -> Any:
    response = ui.ann.get(f"/v1/projects/{world.id}/{path}")
    assert response.status_code == 200, response.text
    return response.json()


def post(ui: Ui, world: World, path: str, body: dict[str, Any], key: str = "k") -> Any:
    return ui.ann.post(f"/v1/projects/{world.id}/{path}", json=body, headers={"Idempotency-Key": key})


def label_name(world: World, image: ImageId) -> str | None:
    with world.system.ledger.transaction() as tx:
        found = labels.of_image(tx, image)
    return found.name if found else None


def test_a_disagreement_waits_without_what_was_said(ui: Ui, world: World) -> None:
    image = say(world, "bob", 0)
    say(world, "cy", 1)
    queue = get(ui, world, "adjudication")
    (question,) = queue["questions"]
    assert (question["image"]["id"], question["answers"], queue["waiting"]) == (image, 2, 1)
    assert set(question) == {"question_id", "kind", "image", "answers", "since"}


def test_what_was_said_is_told_when_asked_for_and_that_is_recorded(ui: Ui, world: World) -> None:
    say(world, "bob", 0)
    say(world, "cy", 1)
    (question,) = get(ui, world, "adjudication")["questions"]
    told = get(ui, world, f"adjudication/{question['question_id']}/answers")
    assert [(a["by"], a["class_id"]) for a in told["answers"]] == [
        ("bob", world.classes[0].id),
        ("cy", world.classes[1].id),
    ]
    assert told["label"] is None
    assert ui.events(world.id)[0].kind == "adjudication.revealed"


def test_a_decision_is_the_label_and_is_made_once(ui: Ui, world: World) -> None:
    image = say(world, "bob", 0)
    say(world, "cy", 1)
    (question,) = get(ui, world, "adjudication")["questions"]
    path, body = f"adjudication/{question['question_id']}", {"class_id": world.classes[1].id}
    first, again = post(ui, world, path, body), post(ui, world, path, body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["annotation_id"] == again.json()["annotation_id"]
    assert label_name(world, image) == "b"
    assert post(ui, world, path, body, key="another").status_code == 409
    assert get(ui, world, "adjudication")["waiting"] == 0


def test_nobody_decides_what_they_have_answered(ui: Ui, world: World) -> None:
    say(world, "ann", 0)
    say(world, "cy", 1)
    queue = get(ui, world, "adjudication")
    assert (queue["questions"], queue["waiting"]) == ([], 1)
    with world.system.ledger.transaction() as tx:
        row = tx.one("SELECT id FROM questions WHERE state = 'disagreed'")
    assert row is not None
    assert post(ui, world, f"adjudication/{row['id']}", {"class_id": world.classes[0].id}).status_code == 409


def agreed(world: World) -> ImageId:
    image = say(world, "bob", 0)
    say(world, "cy", 0)
    return image


def test_a_second_opinion_is_asked_of_somebody_else_who_is_not_told(ui: Ui, world: World) -> None:
    image = agreed(world)
    assert post(ui, world, "second-opinions", {"image_ids": [image]}).json() == {"asked": [image]}
    asked_next = {}
    for name in ("bob", "cy", "ann", "dan"):
        leased = world.system.labelling.lease(world.id, world.user(name).id, count=50)
        asked_next[name] = image in {task.image_id for task in leased}
    assert asked_next == {"bob": False, "cy": False, "ann": False, "dan": True}


def test_a_second_opinion_that_agrees_confirms_and_one_that_does_not_waits_for_a_reviewer(ui: Ui, world: World) -> None:
    first = agreed(world)
    post(ui, world, "second-opinions", {"image_ids": [first]})
    assert say(world, "dan", 0) == first
    second = agreed(world)
    post(ui, world, "second-opinions", {"image_ids": [second]})
    assert say(world, "dan", 1) == second
    states = {o["image"]["id"]: o["state"] for o in get(ui, world, "second-opinions")["opinions"]}
    assert states == {first: "resolved", second: "disagreed"}
    assert label_name(world, second) == "a", "the label stands until a reviewer decides"
    (question,) = get(ui, world, "adjudication")["questions"]
    told = get(ui, world, f"adjudication/{question['question_id']}/answers")
    assert [a["by"] for a in told["answers"]] == ["bob", "cy", "dan"]


def test_no_second_opinion_is_asked_about_what_has_no_label(ui: Ui, world: World) -> None:
    assert post(ui, world, "second-opinions", {"image_ids": [world.images[-1].id]}).json() == {"asked": []}
