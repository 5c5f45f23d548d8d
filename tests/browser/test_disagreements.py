"""Where people differ, in a browser: decided blind, one image after the other."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from shared.db import labels
from shared.db.tasks import Lease
from shared.domain import ImageId
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE, Visitor
from tests.browser.gallery import hang, open_for_labelling, photos
from tests.browser.review_support import reviewable
from tests.world import World

Visit = Callable[..., Visitor]
CLASSES = ["pagoda", "dahlia", "neither"]


@pytest.fixture
def world(system: System) -> World:
    """Four images about which bob and cy have been asked; they differ on three."""
    world = open_for_labelling(hang(system, photos(6), CLASSES, name="Garden", initial=4, overlap=2))
    for person, columns in (("bob", [0, 1, 0, 1]), ("cy", [1, 0, 1, 1])):
        user = world.user(person)
        tasks = world.system.labelling.lease(world.id, user.id, count=4)
        for task, column in zip(sorted(tasks, key=lambda one: one.image_id), columns, strict=True):
            held = Lease(task_id=task.id, fence=task.fence)
            key = uuid.uuid4().hex
            world.system.labelling.submit(world.id, user.id, held, world.classes[column].id, key=key)
    return world


def open_cases(visitor: Visitor, world: World) -> Page:
    visitor.page.goto(f"/projects/{world.id}/review/disagreements")
    expect(visitor.page.get_by_alt_text("The image to decide on")).to_be_visible()
    return visitor.page


def on_show(page: Page) -> int:
    source = page.get_by_alt_text("The image to decide on").get_attribute("src")
    assert source is not None
    return int(source.rpartition("/")[2])


def label(world: World, image: int) -> str | None:
    with world.system.database.transaction() as tx:
        found = labels.of_image(tx, ImageId(image))
    return found.name if found else None


def kinds(world: World) -> list[Any]:
    with world.system.database.transaction() as tx:
        return [row["kind"] for row in tx.all("SELECT kind FROM events ORDER BY id")]


def test_images_are_decided_by_key_and_what_was_said_stays_hidden(visit: Visit, world: World) -> None:
    page = open_cases(visit(), world)
    expect(page.locator("#standing")).to_have_text("3 images wait for a decision.")
    assert "bob" not in page.locator("#case").inner_text().lower()
    decided = []
    for left in (2, 1):
        decided.append(on_show(page))
        page.keyboard.press("3")
        expect(page.locator("#standing")).to_contain_text(f"{left} image")
    decided.append(on_show(page))
    page.keyboard.press("3")
    expect(page.get_by_role("heading", name="Nobody disagrees just now")).to_be_visible()
    expect(page.locator("#sent")).to_have_text("Every decision is saved")
    assert len(set(decided)) == 3
    assert [label(world, one) for one in decided] == ["neither"] * 3
    assert "adjudication.revealed" not in kinds(world)


def test_what_was_said_is_shown_on_request_and_that_is_on_record(
    visit: Visit, world: World, picture_of: Callable[[Page, str], Path]
) -> None:
    page = open_cases(visit(), world)
    page.keyboard.press("s")
    expect(page.locator("#answers li")).to_have_count(2)
    expect(page.locator("#answers")).to_contain_text("bob")
    picture_of(page, "disagreements.png")
    assert "adjudication.revealed" in kinds(world)
    page.keyboard.press("1")
    expect(page.locator("#answers")).to_be_hidden()


def test_what_is_left_for_later_comes_again(visit: Visit, world: World) -> None:
    page = open_cases(visit(), world)
    seen = []
    for _ in range(4):
        seen.append(on_show(page))
        page.keyboard.press("ArrowRight")
        expect(page.get_by_alt_text("The image to decide on")).not_to_have_attribute(
            "src", f"/projects/{world.id}/images/{seen[-1]}"
        )
    assert len(set(seen[:3])) == 3 and seen[3] in seen[:3]


def test_a_second_opinion_is_asked_for_from_the_labels_in_review(visit: Visit, system: System) -> None:
    world = reviewable(system, 60, wrong=6)
    page = visit().page
    page.goto(f"/projects/{world.id}/review/doubts")
    expect(page.locator("#shots .tile").first).to_be_visible()
    page.keyboard.press("s")
    expect(page.locator("#toast")).to_have_text("Another person is asked about 1 image.")
    page.keyboard.press("s")
    expect(page.locator("#toast")).to_contain_text("Nobody can be asked about these")


@pytest.mark.parametrize("look", [{}, {"color_scheme": "dark", **PHONE}], ids=["desktop", "phone-dark"])
def test_the_page_is_usable_by_everybody(visit: Visit, world: World, look: dict[str, Any]) -> None:
    page = open_cases(visit(**look), world)
    assert_usable(page)
    page.keyboard.press("s")
    expect(page.locator("#answers li").first).to_be_visible()
    assert_usable(page)
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= room, "nothing sticks out to the side"
