"""The images page in a browser: filtering, choosing with pointer and keys, acting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from shared import gold, tagging
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE, Visitor
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


def correct_dahlias(world: World) -> None:
    """What ben took for pagodas without looking."""
    dahlias = [image.id for image in world.images[1:8:2]]
    world.system.curation.relabel(world.id, world.user("bea").id, dahlias, world.classes[1].id)


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
    correct_dahlias(world)
    with world.system.ledger.transaction() as tx:
        tagging.tag(tx, world.id, [image.id for image in world.images[:14:3]], ["blurry"], "user:1")
    page = open_images(visit(), world)
    for at in (9, 11):
        page.locator("#found input").nth(at).check()
    page.get_by_label("Class to give").select_option(label="dahlia")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#found img')].slice(0, 14).every((i) => i.naturalWidth)"
    )
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
    correct_dahlias(world)
    with world.system.ledger.transaction() as tx:
        tagging.tag(tx, world.id, [world.images[1].id], ["blurry", "ask the client"], "user:1")
    page = open_images(visit(), world)
    page.get_by_role("link", name="1.jpeg", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("1.jpeg")
    picture_of(page, "image.png")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", level=1)).to_have_text("2.jpeg")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("heading", level=1)).to_have_text("1.jpeg")


def test_images_are_tagged_filtered_by_it_and_untagged(visit: Visit, world: World) -> None:
    page = open_images(visit(), world)
    for at in (2, 4):
        page.locator("#found input").nth(at).check()
    page.get_by_label("Tag to put on or take off").fill("Blurry")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_have_text("2 images were tagged: Blurry.")
    expect(page.locator(".shot").nth(2)).to_contain_text("Blurry")
    page.get_by_role("combobox", name="Tag", exact=True).select_option(label="Blurry")
    expect(page.locator("#matching")).to_have_text("2 images pass this filter")
    page.locator("#found input").first.check()
    page.get_by_label("Tag to put on or take off").fill("blurry")
    page.get_by_role("button", name="Untag").click()
    expect(page.locator("#matching")).to_have_text("1 image pass this filter")


def test_a_tag_is_put_on_one_image_and_taken_off_with_the_keyboard(visit: Visit, world: World) -> None:
    page = open_images(visit(), world)
    page.get_by_role("link", name="1.jpeg", exact=True).click()
    page.get_by_label("Tag to put on").fill("ask the client")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="ask the client").click()
    expect(page.locator("#matching")).to_have_text("1 image pass this filter")
    page.get_by_role("link", name="1.jpeg", exact=True).click()
    page.get_by_role("button", name="Take the tag ask the client off").press("Enter")
    expect(page.get_by_text("None. Tags are words of your own")).to_be_visible()


def test_an_image_becomes_gold_by_its_label_and_no_more(visit: Visit, world: World) -> None:
    page = open_images(visit(), world, "?state=labelled")
    page.locator(".shot a").first.click()
    name = page.get_by_role("heading", level=1).inner_text()
    page.get_by_role("button", name="Use as gold").click()
    expect(page.get_by_role("button", name="Not gold any more")).to_be_visible()
    page.goto(f"/projects/{world.id}/quality")
    expect(page.locator(".gold .shot")).to_contain_text([name])
    page.get_by_role("button", name=f"Withdraw {name}").click()
    expect(page.get_by_role("link", name="Choose among labelled images")).to_be_visible()


@pytest.mark.parametrize("look", [{}, {"color_scheme": "dark", **PHONE}])
def test_tags_and_gold_can_be_used_by_everybody(visit: Visit, world: World, look: dict[str, Any]) -> None:
    ids = [image.id for image in world.images]
    with world.system.ledger.transaction() as tx:
        tagging.tag(tx, world.id, ids[:6], ["blurry", "night", "ask the client", "a long one that goes on"], "user:1")
        assert gold.mark(tx, world.id, ids, "user:1")
    page = visit(**look).page
    for path in ("images?tag=night", f"images/{ids[0]}/details", "quality"):
        page.goto(f"/projects/{world.id}/{path}")
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path} is {wider} pixels wider than the screen"
        assert_usable(page)
