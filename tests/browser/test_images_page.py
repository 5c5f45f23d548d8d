"""The images page in a browser: filtering, choosing with pointer and keys, acting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from shared.system import System
from tests.browser.conftest import Visitor
from tests.browser.gallery import digits, hang, open_for_labelling, photos
from tests.world import World

Visit = Callable[..., Visitor]


@pytest.fixture
def world(system: System) -> World:
    files = photos(18) + digits(50)
    world = open_for_labelling(hang(system, files, ["pagoda", "dahlia", "digit"], name="Garden", initial=12))
    world.answer(8, world.user("ben"))
    return world


def open_images(visitor: Visitor, world: World, query: str = "") -> Page:
    visitor.page.goto(f"/projects/{world.id}/images{query}")
    return visitor.page


def chosen(page: Page) -> int:
    return page.locator("#found input:checked").count()


def test_choosing_a_class_filters_at_once(visit: Visit, world: World) -> None:
    page = open_images(visit(), world)
    page.get_by_role("combobox", name="Class", exact=True).select_option(label="pagoda")
    expect(page.locator("#matching")).to_have_text("8 images pass this filter")
    page.get_by_role("link", name="Clear").click()
    expect(page.locator("#matching")).to_have_text("68 images")


def test_shift_and_a_click_choose_all_between(visit: Visit, world: World) -> None:
    page = open_images(visit(), world)
    page.locator("#found input").nth(2).click()
    page.locator("#found input").nth(6).click(modifiers=["Shift"])
    assert chosen(page) == 5
    expect(page.locator("#chosen-count")).to_have_text("5 chosen")
    page.get_by_role("button", name="None").click()
    assert chosen(page) == 0
    expect(page.get_by_role("button", name="Relabel")).to_be_disabled()


def test_everything_can_be_done_with_the_keyboard(visit: Visit, world: World) -> None:
    page = open_images(visit(), world)
    page.locator("#found input").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert chosen(page) == 3
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("[...document.querySelectorAll('#found input')].indexOf(document.activeElement)")
    assert focused > 3, "the arrow went a row down"
    page.keyboard.press("Escape")
    assert chosen(page) == 0
    page.keyboard.press("Control+a")
    assert chosen(page) == 60


def test_images_that_are_relabelled_show_it(
    visit: Visit, world: World, picture_of: Callable[[Page, str], Path]
) -> None:
    page = open_images(visit(), world)
    for at in (9, 11):
        page.locator("#found input").nth(at).check()
    page.get_by_label("Class to give").select_option(label="dahlia")
    picture_of(page, "images.png")
    page.get_by_role("button", name="Relabel").click()
    expect(page.get_by_role("status").first).to_have_text("2 images were relabelled.")
    expect(page.locator(".shot").nth(9)).to_contain_text("dahlia")


def test_a_question_comes_before_labels_are_removed(visit: Visit, world: World) -> None:
    page = open_images(visit(), world, "?state=labelled")
    page.locator("#found input").first.check()
    page.get_by_role("button", name="Remove label").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Remove the label of 1 image?")
    page.keyboard.press("Enter")
    expect(page.locator("#matching")).to_have_text("7 images pass this filter")


def test_the_page_of_an_image_turns_with_the_arrow_keys(
    visit: Visit, world: World, picture_of: Callable[[Page, str], Path]
) -> None:
    page = open_images(visit(), world)
    page.get_by_role("link", name="1.jpeg", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("1.jpeg")
    picture_of(page, "image.png")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", level=1)).to_have_text("2.jpeg")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("heading", level=1)).to_have_text("1.jpeg")
