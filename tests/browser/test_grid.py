"""The grid: many images answered at once, by keyboard, mouse and finger."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from shared.domain import Image
from shared.system import System
from tests.browser.conftest import PHONE, Visitor
from tests.browser.gallery import digits, hang, open_for_labelling, photos, think
from tests.browser.labelling_support import Visit, all_saved, by_class, rows, until
from tests.waiting import wait_for
from tests.world import World

CLASSES = ["cat", "dog", "fox"]


def guess(classes: int) -> Callable[[Image], list[float]]:
    """Takes images for each class in turn, by their ids."""

    def probabilities(image: Image) -> list[float]:
        sure = 0.6 + (image.id % 30) / 100
        return [sure if n == image.id % classes else (1 - sure) / (classes - 1) for n in range(classes)]

    return probabilities


def guessed(system: System, classes: list[str], *, files: list[bytes] | None = None, batch: int = 60) -> World:
    """In round 1: a model has looked at everything, and ``batch`` questions are open."""
    files = files or digits(batch + 40)
    world = open_for_labelling(hang(system, files, classes, name="Animals", initial=6, batch_size=batch))
    world.answer(6, world.user("ben"))
    world.system.rounds.nudge(world.id)
    think(world, guess(len(classes)))
    world.do_select()
    return world


@pytest.fixture
def world(system: System) -> World:
    return guessed(system, CLASSES)


def open_grid(visitor: Visitor, world: World) -> Page:
    visitor.page.goto(f"/projects/{world.id}/grid")
    expect(visitor.page.locator(".tile").first).to_be_visible()
    return visitor.page


def group(page: Page, name: str) -> int:
    return page.get_by_role("region", name=re.compile(f"^{name}, ")).locator(".tile").count()


def answered(world: World) -> list[int]:
    """By class, without what was labelled before the model came."""
    found = rows(
        world,
        "SELECT class_id FROM annotations a JOIN users u ON u.id = a.user_id "
        "WHERE u.username = 'ann' AND undone_at IS NULL",
    )
    ids = [one.id for one in world.classes]
    return [sum(row["class_id"] == one for row in found) for one in ids]


def test_a_group_is_confirmed_with_one_key_except_what_is_marked(visit: Visit, world: World) -> None:
    page = open_grid(visit(), world)
    cats = group(page, "cat")
    assert cats + group(page, "dog") + group(page, "fox") == 60
    for tile in page.get_by_role("region", name=re.compile("^cat, ")).locator(".tile").all()[:2]:
        tile.click()
    expect(page.locator(".badge")).to_have_text(["not this", "not this"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name=re.compile("^cat, "))).to_have_count(0)
    expect(page.locator("#confirm-text")).to_have_text("The rest are dog")
    all_saved(page)
    assert answered(world) == [cats - 2, 0, 0]
    waiting = rows(world, "SELECT 1 FROM tasks WHERE state = 'open'")
    assert len(waiting) == 2, "what was marked is an ordinary question again"
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("#pause")).to_contain_text("2 images that you marked wait to be seen one by one")
    page.get_by_role("link", name="One by one").click()
    expect(page.get_by_alt_text("The image to label")).to_be_visible()


def test_marked_images_are_filed_under_the_class_whose_key_is_pressed(visit: Visit, world: World) -> None:
    page = open_grid(visit(), world)
    before = [group(page, name) for name in CLASSES]
    tiles = page.get_by_role("region", name=re.compile("^cat, ")).locator(".tile")
    tiles.nth(0).click()
    tiles.nth(3).click(modifiers=["Shift"])
    expect(page.locator(".tile[aria-pressed=true]")).to_have_count(4)
    page.keyboard.press("3")
    expect(page.locator(".tile[aria-pressed=true]")).to_have_count(0)
    assert [group(page, name) for name in CLASSES] == [before[0] - 4, before[1], before[2]]
    all_saved(page)
    assert answered(world) == [0, 0, 4]


def test_everything_is_done_by_keyboard(visit: Visit, world: World) -> None:
    page = open_grid(visit(), world)
    dogs = group(page, "dog")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".tile[aria-pressed=true]")).to_have_count(3)
    page.keyboard.press("Space")
    expect(page.locator(".tile[aria-pressed=true]")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.locator(".tile[aria-pressed=true]")).to_have_count(0)
    page.keyboard.press("a")
    page.keyboard.press("2")
    all_saved(page)
    expect(page.get_by_role("region", name=re.compile("^cat, "))).to_have_count(0)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    all_saved(page)
    assert answered(world)[1] > dogs and answered(world)[0] == 0


def test_a_whole_confirm_is_taken_back(visit: Visit, world: World) -> None:
    page = open_grid(visit(), world)
    before = [group(page, name) for name in CLASSES]
    page.keyboard.press("Shift+Enter")
    all_saved(page)
    wait_for(lambda: sum(answered(world)) == 60, "the whole page")
    page.keyboard.press("Backspace")
    expect(page.locator("#answered")).to_have_text("0")
    assert [group(page, name) for name in CLASSES] == before
    assert answered(world) == [0, 0, 0]
    assert len(rows(world, "SELECT 1 FROM tasks WHERE state = 'leased'")) == 60
    page.keyboard.press("Enter")
    all_saved(page)
    assert answered(world) == [before[0], 0, 0]


def test_with_two_classes_what_is_marked_is_the_other_one(visit: Visit, system: System) -> None:
    world = guessed(system, ["cat", "dog"])
    page = open_grid(visit(), world)
    cats, dogs = group(page, "cat"), group(page, "dog")
    page.get_by_role("region", name=re.compile("^cat, ")).locator(".tile").first.click()
    expect(page.locator(".badge")).to_have_text("→ dog")
    page.keyboard.press("Shift+Enter")
    all_saved(page)
    assert answered(world) == [cats - 1, dogs + 1]


def test_answers_given_here_say_that_the_suggestion_was_seen(visit: Visit, world: World) -> None:
    page = open_grid(visit(), world)
    page.get_by_role("region", name=re.compile("^cat, ")).locator(".tile").first.click()
    page.keyboard.press("2")
    all_saved(page)
    (answer,) = rows(world, "SELECT class_id, suggested FROM annotations ORDER BY id DESC LIMIT 1")
    assert answer == {"class_id": world.classes[1].id, "suggested": world.classes[0].id}


def test_without_a_model_images_are_marked_and_filed_in_one_group(visit: Visit, system: System) -> None:
    world = open_for_labelling(hang(system, digits(60), ["odd", "even"], name="Blind", initial=40))
    page = open_grid(visit(), world)
    expect(page.locator(".group")).to_have_count(1)
    expect(page.locator("#confirm")).to_be_hidden()
    page.keyboard.press("1")
    expect(page.locator("#toast")).to_contain_text("Mark the images that are odd first")
    tiles = page.locator(".tile")
    tiles.nth(0).click()
    tiles.nth(9).click(modifiers=["Shift"])
    page.keyboard.press("1")
    expect(tiles).to_have_count(30)
    all_saved(page)
    assert by_class(world) == [10, 0]
    (answer,) = rows(world, "SELECT DISTINCT suggested FROM annotations")
    assert answer["suggested"] is None


def test_who_wants_no_suggestions_gets_none(visit: Visit, world: World) -> None:
    page = open_grid(visit(), world)
    expect(page.locator(".group")).to_have_count(3)
    pages: list[str] = []
    page.on("response", lambda response: pages.append(response.text()) if response.url.endswith("/grid") else None)
    page.keyboard.press("m")
    expect(page.locator(".group")).to_have_count(1)
    expect(page.locator(".tile")).to_have_count(60)
    assert len(pages) == 1 and "confidence" not in pages[0]
    page.locator(".tile").first.click()
    page.keyboard.press("1")
    all_saved(page)
    (answer,) = rows(world, "SELECT suggested FROM annotations ORDER BY id DESC LIMIT 1")
    assert answer["suggested"] is None


def test_the_holdout_is_never_shown_with_what_the_model_thinks(visit: Visit, system: System) -> None:
    files = digits(60)
    world = open_for_labelling(
        hang(system, files, CLASSES, name="Held", initial=6, batch_size=20, holdout=10, mode="rolling")
    )
    with system.ledger.transaction() as tx:
        tx.run("UPDATE tasks SET priority = 1000 WHERE kind = 'holdout'")
    world.answer(6, world.user("ben"))
    world.system.rounds.nudge(world.id)
    think(world, guess(3))
    world.do_select()
    page = open_grid(visit(), world)
    held = rows(world, "SELECT kind FROM tasks WHERE state = 'leased'")
    assert held and {row["kind"] for row in held} == {"query"}
    expect(page.locator(".tile")).to_have_count(len(held))


def test_answers_to_a_group_without_a_connection_arrive_once(visit: Visit, world: World) -> None:
    visitor = visit()
    page = open_grid(visitor, world)
    cats = group(page, "cat")
    visitor.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.locator("#sent")).to_have_text(f"{cats} answers waiting to be sent")
    visitor.context.set_offline(False)
    all_saved(page)
    assert answered(world) == [cats, 0, 0]
    visitor.complaints[:] = [text for text in visitor.complaints if "ERR_INTERNET_DISCONNECTED" not in text]


def test_an_image_that_went_to_somebody_else_is_told_and_the_others_count(visit: Visit, world: World) -> None:
    page = open_grid(visit(), world)
    cats = group(page, "cat")
    image = page.get_by_role("region", name=re.compile("^cat, ")).locator(".tile img").first.get_attribute("src")
    assert image is not None
    with world.system.ledger.transaction() as tx:
        tx.run(
            "UPDATE tasks SET fence = fence + 1 WHERE state = 'leased' AND image_id = %(id)s",
            {"id": image.rsplit("/", 1)[1]},
        )
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_contain_text("1 answer came too late")
    expect(page.locator("#answered")).to_have_text(str(cats - 1))
    assert answered(world) == [cats - 1, 0, 0]


def test_leaving_the_grid_gives_its_images_back(visit: Visit, world: World) -> None:
    page = open_grid(visit(), world)
    assert len(rows(world, "SELECT 1 FROM tasks WHERE state = 'leased'")) == 60
    page.goto("/")
    wait_for(lambda: not rows(world, "SELECT 1 FROM tasks WHERE state = 'leased'"), "the tasks to be given back")


def test_a_finger_marks_and_confirms_on_a_phone(visit: Visit, world: World) -> None:
    page = open_grid(visit(**PHONE), world)
    expect(page.locator(".tile")).to_have_count(24)
    cats = group(page, "cat")
    page.get_by_role("region", name=re.compile("^cat, ")).locator(".tile").first.tap()
    expect(page.locator(".tile[aria-pressed=true]")).to_have_count(1)
    page.get_by_role("button", name="The rest are cat").tap()
    all_saved(page)
    assert answered(world) == [cats - 1, 0, 0]


def test_the_grid_has_its_picture_taken(visit: Visit, system: System, picture_of: Callable[[Page, str], Path]) -> None:
    classes = ["building", "flower", "landscape", "people", "vehicle", "none of these"]
    files = photos(96)
    world = open_for_labelling(hang(system, files, classes, name="Park photos", initial=6, batch_size=60))
    world.answer(6, world.user("ben"))
    world.system.rounds.nudge(world.id)
    place = {image.id: number for number, image in enumerate(world.images)}

    def nearly_right(image: Image) -> list[float]:
        number = place[image.id]
        wrong = number in (20, 41)
        best = (number + wrong) % 2
        return [0.9 - number / 400 if n == best else (0.1 + number / 400) / 5 for n in range(6)]

    think(world, nearly_right)
    world.do_select()
    page = open_grid(visit(), world)
    until(page, "[...document.querySelectorAll('.tile img')].every(one => one.complete)")
    for number in (20, 41):
        image = world.images[number].id
        page.locator(f".tile:has(img[src$='/images/{image}'])").click()
    assert picture_of(page, "grid.png").stat().st_size > 50_000
