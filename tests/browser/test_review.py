"""The review pages in a browser: labels against the model, the likeliest wrong, and what is done about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from shared.db import browsing
from shared.db.browsing import Filter
from shared.domain import Image
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE, Visitor
from tests.browser.gallery import digits, hang
from tests.browser.labelling_support import until
from tests.browser.review_support import reviewable, truth_of
from tests.world import World

Visit = Callable[..., Visitor]
LOOKS: dict[str, dict[str, Any]] = {
    "desktop-light": {"color_scheme": "light"},
    "desktop-dark": {"color_scheme": "dark"},
    "phone-light": {"color_scheme": "light", **PHONE},
    "phone-dark": {"color_scheme": "dark", **PHONE},
    "zoomed": {"viewport": {"width": 640, "height": 400}, "reduced_motion": "reduce"},
}
DOUBTS = "/doubts"


@pytest.fixture
def world(system: System) -> World:
    return reviewable(system)


def open_review(visitor: Visitor, world: World, way: str = "") -> Page:
    visitor.page.goto(f"/projects/{world.id}/review{way}")
    expect(visitor.page.locator("#standing")).to_contain_text("labels")
    return visitor.page


def labels_of(world: World) -> dict[int, int]:
    """Column of the class by image."""
    with world.system.database.transaction() as tx:
        rows = tx.all("SELECT l.image_id, c.position FROM labels l JOIN classes c ON c.id = l.class_id")
    return {row["image_id"]: row["position"] for row in rows}


def shown(page: Page) -> list[int]:
    ids = page.locator("#shots .tile").evaluate_all("tiles => tiles.map(tile => Number(tile.dataset.shot))")
    return [int(one) for one in ids]


def image(world: World, image_id: int) -> Image:
    return next(one for one in world.images if one.id == image_id)


def saved(page: Page) -> None:
    expect(page.locator("#sent")).to_have_text("Every decision is saved")


def counts(page: Page) -> dict[tuple[int, int], int]:
    """By position: what people say, what the model says."""
    cells = page.locator("#matrix .cell").evaluate_all("cells => cells.map(one => [one.dataset.cell, one.textContent])")
    return {(int(cell.split(",")[0]), int(cell.split(",")[1])): int(text) for cell, text in cells}


def points_of(page: Page, row: int, column: int) -> tuple[float, float]:
    """The middle of a cell of the picture, on the page."""
    picture = page.locator("#picture")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    left, low, edge, size = 56, 46, 8, box["width"]
    across, down = (size - left - edge) / 10, (size - low - edge) / 10
    return box["x"] + left + (column + 0.5) * across, box["y"] + edge + (row + 0.5) * down


def test_every_label_is_counted_where_people_and_the_model_put_it(visit: Visit, world: World) -> None:
    page = open_review(visit(), world)
    given = labels_of(world)
    found = counts(page)
    assert sum(found.values()) == len(given) == 240
    for row in range(10):
        assert sum(n for (r, _), n in found.items() if r == row) == sum(1 for label in given.values() if label == row)
    agreed = sum(n for (r, c), n in found.items() if r == c)
    expect(page.locator("#standing")).to_contain_text(f"{agreed} of 240 labels are what the model says")


def test_a_click_on_the_picture_shows_the_images_of_the_cell(visit: Visit, world: World) -> None:
    page = open_review(visit(), world)
    (row, column), n = max(((at, n) for at, n in counts(page).items() if at[0] != at[1]), key=lambda one: one[1])
    x, y = points_of(page, row, column)
    page.mouse.move(x, y)
    expect(page.locator("#under")).to_have_text(f"labelled {row}, the model says {column}: {n} images")
    page.mouse.click(x, y)
    expect(page.locator("#gallery-title")).to_have_text(f"labelled {row}, the model says {column}: {n} images")
    expect(page.locator("#shots .tile")).to_have_count(n)
    labels = labels_of(world)
    assert {labels[one] for one in shown(page)} == {row}


def test_a_lasso_shows_the_points_in_it(visit: Visit, world: World) -> None:
    page = open_review(visit(), world)
    n = counts(page)[(0, 0)] + counts(page).get((1, 1), 0) + counts(page).get((0, 1), 0) + counts(page).get((1, 0), 0)
    x, y = points_of(page, 0, 0)
    x2, y2 = points_of(page, 1, 1)
    half = (x2 - x) / 2
    page.mouse.move(x - half, y - half)
    page.mouse.down()
    for to in ((x2 + half, y - half), (x2 + half, y2 + half), (x - half, y2 + half), (x - half, y - half + 2)):
        page.mouse.move(*to, steps=4)
    page.mouse.up()
    expect(page.locator("#gallery-title")).to_have_text(f"{n} images in the lasso")
    expect(page.locator("#shots .tile")).to_have_count(min(n, 60))


def test_the_table_serves_who_has_no_pointer(visit: Visit, world: World) -> None:
    page = open_review(visit(), world)
    (row, column) = next(at for at in counts(page) if at[0] == at[1] and (at[0] + 1, at[1] + 1) in counts(page))
    page.locator(f'#matrix [data-cell="{row},{column}"]').focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("#gallery-title")).to_contain_text(f"{row}, and the model agrees")
    until(page, "document.activeElement.classList.contains('tile')")


def test_marked_images_get_the_class_whose_key_is_pressed_and_the_picture_follows(
    visit: Visit, world: World, picture_of: Callable[[Page, str], Path]
) -> None:
    page = open_review(visit(), world)
    page.wait_for_timeout(300)
    picture_of(page, "review.png")
    (row, column), n = max(((at, n) for at, n in counts(page).items() if at[0] != at[1]), key=lambda one: one[1])
    page.locator(f'#matrix [data-cell="{row},{column}"]').click()
    expect(page.locator("#shots .tile")).to_have_count(n)
    ids = shown(page)
    page.locator("#shots .tile").first.click()
    page.locator("#shots .tile").last.click(modifiers=["Shift"])
    expect(page.locator("#chosen")).to_have_text(f"{n} marked")
    page.keyboard.press(str(column))
    expect(page.locator("#shots .tile")).to_have_count(0)
    expect(page.locator("#toast")).to_have_text(f"{n} images reviewed: now {column}")
    saved(page)
    labels = labels_of(world)
    assert {labels[one] for one in ids} == {column}
    expect(page.locator(f'#matrix [data-cell="{row},{column}"]')).to_have_count(0)
    page.keyboard.press("Backspace")
    expect(page.locator("#toast")).to_have_text(f"{n} images taken back.")
    expect(page.locator("#shots .tile")).to_have_count(n)
    expect(page.locator(f'#matrix [data-cell="{row},{column}"]')).to_have_text(str(n))
    labels = labels_of(world)
    assert {labels[one] for one in ids} == {row}


def test_the_likeliest_wrong_come_first_and_what_was_looked_at_stays_away(
    visit: Visit, world: World, picture_of: Callable[[Page, str], Path]
) -> None:
    page = open_review(visit(), world, DOUBTS)
    expect(page.locator("#shots .tile").first).to_be_visible()
    page.wait_for_timeout(300)
    picture_of(page, "doubts.png")
    ids = shown(page)
    before = labels_of(world)
    wrong = [one for one in ids if truth_of(image(world, one)) != before[one]]
    assert len(wrong) >= 6 and ids[0] in wrong, "labels that are wrong lead the list"
    page.keyboard.press("Enter")
    page.keyboard.press("k")
    page.keyboard.press("5")
    saved(page)
    labels = labels_of(world)
    assert labels[ids[0]] == truth_of(image(world, ids[0])), "Enter takes the suggestion"
    assert labels[ids[1]] == before[ids[1]], "K keeps the label"
    assert labels[ids[2]] == 5, "a class key corrects"
    assert shown(page) == ids[3:]
    page = open_review(visit("ben2"), world, DOUBTS)
    expect(page.locator("#shots .tile").first).to_be_visible()
    assert not set(ids[:3]) & set(shown(page))
    expect(page.locator("#standing")).to_contain_text("was looked at already")


def test_several_are_reviewed_at_once_each_as_the_model_says(visit: Visit, world: World) -> None:
    page = open_review(visit(), world, DOUBTS)
    ids = shown(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#chosen")).to_have_text("3 marked")
    page.keyboard.press("Enter")
    saved(page)
    labels = labels_of(world)
    for one in ids[1:4]:
        assert labels[one] == truth_of(image(world, one))
    assert shown(page)[0] == ids[0]
    page.keyboard.press("Backspace")
    expect(page.locator("#toast")).to_have_text("3 images taken back.")
    assert sorted(shown(page)) == sorted(ids)


def tagged(world: World, name: str) -> set[int]:
    with world.system.database.transaction() as tx:
        return set(browsing.ids(tx, world.id, Filter(tag=name), limit=1000))


def test_the_images_of_a_lasso_are_tagged_and_untagged_and_stay_to_be_decided_on(visit: Visit, world: World) -> None:
    page = open_review(visit(), world)
    x, y = points_of(page, 0, 0)
    x2, y2 = points_of(page, 1, 1)
    half = (x2 - x) / 2
    page.mouse.move(x - half, y - half)
    page.mouse.down()
    for to in ((x2 + half, y - half), (x2 + half, y2 + half), (x - half, y2 + half), (x - half, y - half + 2)):
        page.mouse.move(*to, steps=4)
    page.mouse.up()
    expect(page.locator("#shots .tile").first).to_be_visible()
    page.keyboard.press("a")
    ids = set(shown(page))
    expect(page.locator("#chosen")).to_have_text(f"{len(ids)} marked")
    page.get_by_label("Tag to put on or take off").fill("Round ones")
    page.get_by_role("button", name="Tag", exact=True).click()
    expect(page.locator("#toast")).to_have_text(f"{len(ids)} images tagged “Round ones”.")
    assert tagged(world, "round ones") == ids
    assert_usable(page)
    expect(page.locator("#chosen")).to_have_text(f"{len(ids)} marked")
    page.get_by_role("button", name="Tag", exact=True).click()
    expect(page.locator("#toast")).to_have_text("All of these are tagged “Round ones” already.")
    page.get_by_role("button", name="Untag").click()
    expect(page.locator("#toast")).to_have_text(f"“Round ones” taken off {len(ids)} images.")
    assert tagged(world, "round ones") == set()


def test_an_image_in_doubt_is_tagged_by_keys_alone(visit: Visit, world: World) -> None:
    page = open_review(visit(), world, DOUBTS)
    first, second, *_ = shown(page)
    page.keyboard.press("t")
    page.keyboard.type("ask k")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_have_text("1 image tagged “ask k”.")
    until(page, f"document.activeElement.dataset.shot === '{first}'")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("t")
    page.keyboard.press("Escape")
    until(page, f"document.activeElement.dataset.shot === '{second}'")
    assert tagged(world, "ask k") == {first}
    page.reload()
    expect(page.locator("#tags option")).to_have_attribute("value", "ask k")


def test_a_tag_is_not_put_on_without_a_connection_and_the_page_says_so(visit: Visit, world: World) -> None:
    visitor = visit()
    page = open_review(visitor, world, DOUBTS)
    expect(page.locator("#shots .tile").first).to_be_visible()
    visitor.context.set_offline(True)
    page.get_by_label("Tag to put on or take off").fill("blurry")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_have_text("Tags need the connection. Try again in a moment.")
    visitor.context.set_offline(False)
    page.get_by_label("Tag to put on or take off").fill("a,b")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_contain_text("That was refused: a tag has no commas")
    assert tagged(world, "blurry") == set()
    visitor.complaints.clear()  # the browser's own about requests that failed


def test_the_buttons_of_an_image_are_enough_for_a_finger(visit: Visit, world: World) -> None:
    page = open_review(visit(**PHONE), world, DOUBTS)
    ids = shown(page)
    before = labels_of(world)
    first = page.locator(".review-shot").first
    first.get_by_role("button", name="It is").tap()
    expect(page.locator("#shots .tile")).to_have_count(len(ids) - 1)
    page.locator(".review-shot").first.get_by_role("button", name="Keep").tap()
    expect(page.locator("#shots .tile")).to_have_count(len(ids) - 2)
    saved(page)
    labels = labels_of(world)
    assert labels[ids[0]] == truth_of(image(world, ids[0])) and labels[ids[1]] == before[ids[1]]
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390, "nothing sticks out to the side"


def test_what_is_decided_without_a_connection_is_sent_when_it_is_back(visit: Visit, world: World) -> None:
    visitor = visit()
    page = open_review(visitor, world, DOUBTS)
    ids = shown(page)
    visitor.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.locator("#sent")).to_contain_text("1 decision waiting to be sent. No connection.")
    page.keyboard.press("Enter")
    expect(page.locator("#sent")).to_contain_text("2 decisions waiting")
    visitor.context.set_offline(False)
    saved(page)
    labels = labels_of(world)
    assert [labels[one] for one in ids[:2]] == [truth_of(image(world, one)) for one in ids[:2]]
    visitor.complaints.clear()  # the browser's own about requests that failed


def test_a_decision_survives_a_page_that_is_closed_before_it_is_sent(visit: Visit, world: World) -> None:
    visitor = visit()
    page = open_review(visitor, world, DOUBTS)
    first = shown(page)[0]
    visitor.context.set_offline(True)
    page.keyboard.press("Enter")
    until(page, "document.getElementById('sent').textContent.includes('waiting')")
    page.close()
    visitor.context.set_offline(False)
    visitor.page = visitor.context.new_page()
    page = open_review(visitor, world, DOUBTS)
    expect(page.locator("#sent")).to_be_empty()
    until(page, f"!document.querySelector('[data-shot=\"{first}\"]')")
    assert labels_of(world)[first] == truth_of(image(world, first))
    visitor.complaints.clear()


def test_without_a_model_the_page_says_what_it_is_for(visit: Visit, system: System) -> None:
    world = hang(system, digits(12), ["even", "odd"], name="New")
    page = visit().page
    for way in ("", DOUBTS):
        page.goto(f"/projects/{world.id}/review{way}")
        expect(page.get_by_role("heading", name="There is no model yet")).to_be_visible()
        assert_usable(page)


def test_without_notes_the_page_says_that_the_next_training_writes_them(visit: Visit, system: System) -> None:
    world = reviewable(system, 60, notes=False)
    page = open_review(visit(), world)
    assert sum(counts(page).values()) == 60, "the scores tell all the same"
    page.goto(f"/projects/{world.id}/review{DOUBTS}")
    expect(page.get_by_text("The next training writes them.")).to_be_visible()


def test_many_classes_are_listed_by_what_differs_most(visit: Visit, system: System) -> None:
    names = [f"class {n}" for n in range(40)]
    world = reviewable(system, 80, names=names)
    page = open_review(visit(), world)
    pairs = page.locator("#matrix .review-pairs button")
    expect(pairs.first).to_be_visible()
    numbers = [int(text) for text in pairs.locator("strong").all_inner_texts()]
    assert numbers == sorted(numbers, reverse=True)
    pairs.first.click()
    expect(page.locator("#shots .tile")).to_have_count(numbers[0])


@pytest.mark.parametrize("look", LOOKS)
def test_the_pages_are_usable_by_everybody(visit: Visit, world: World, look: str) -> None:
    page = open_review(visit(**LOOKS[look]), world)
    assert_usable(page)
    page.locator("#matrix td.wrong button").first.click()
    expect(page.locator("#shots .tile").first).to_be_visible()
    page.locator("#shots .tile").first.click()
    assert_usable(page)
    page.goto(f"/projects/{world.id}/review{DOUBTS}")
    expect(page.locator("#shots .tile").first).to_be_visible()
    assert_usable(page)
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="How to review")).to_be_visible()
    assert_usable(page)
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= room, "nothing sticks out to the side"


def test_thousands_of_points_are_drawn_within_a_second(visit: Visit, system: System) -> None:
    world = reviewable(system, 60)
    visitor = visit()
    rng = np.random.default_rng(1)
    given = rng.integers(0, 10, 20_000)
    said = np.where(rng.random(20_000) < 0.9, given, rng.integers(0, 10, 20_000))
    counted = np.zeros((10, 10), np.int64)
    np.add.at(counted, (given, said), 1)
    points = {"images": list(range(1, 20_001)), "given": given.tolist(), "said": said.tolist()}
    answer = {
        "model": True,
        "images": 20_000,
        "agreed": int(np.trace(counted)),
        "unseen": 20_000,
        "counts": counted.tolist(),
        "points": {**points, "looked_at": [False] * 20_000},
    }
    visitor.page.route("**/review/diagonal", lambda route: route.fulfill(json=answer))
    page = open_review(visitor, world)
    until(page, "document.getElementById('picture').width > 0")
    began = page.evaluate("performance.now()")
    page.set_viewport_size({"width": 1000, "height": 800})
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("performance.now()") - began < 1000
