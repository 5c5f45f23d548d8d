"""The pages where people label, on screens and phones, in light and dark: usable by everybody, nothing cut off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from shared.db import guidelines
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.gallery import digits, hang, open_for_labelling
from tests.browser.labelling_support import Visit, all_saved, open_page, press
from tests.browser.test_grid import guessed, open_grid
from tests.world import World

LOOKS: dict[str, dict[str, Any]] = {
    "desktop-light": {"viewport": DESKTOP, "color_scheme": "light"},
    "desktop-dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone-light": {**PHONE, "color_scheme": "light"},
    "phone-dark": {**PHONE, "color_scheme": "dark"},
}


@pytest.fixture(params=list(LOOKS))
def look(request: pytest.FixtureRequest) -> dict[str, Any]:
    return LOOKS[request.param]


@pytest.fixture
def world(system: System) -> World:
    names = [f"digit {n}" for n in range(10)]
    world = open_for_labelling(hang(system, digits(60), names, name="Digits", initial=40))
    with system.ledger.transaction() as tx:
        guidelines.set_text(tx, world.id, "Read the digit. If in doubt, flag it.")
        guidelines.set_description(tx, world.id, world.classes[7].id, "With or without a bar.")
        guidelines.set_examples(tx, world.id, world.classes[7].id, [world.images[7].id, world.images[17].id])
    return world


def assert_nothing_sticks_out(page: Page) -> None:
    """The page is not wider than the screen, and what labels is inside it."""
    width = page.evaluate("document.documentElement.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for button in page.locator(".class:visible, .turns button:visible, .tools button:visible").all():
        box = button.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width + 1


def test_the_labelling_page_is_usable_with_everything_open(visit: Visit, world: World, look: dict[str, Any]) -> None:
    page = open_page(visit(**look), world)
    for key in "123":
        press(page, key)
    all_saved(page)
    assert_nothing_sticks_out(page)
    assert_usable(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("l")
    expect(page.get_by_role("slider", name="Brightness")).to_be_visible()
    assert_usable(page)
    page.keyboard.press("g")
    expect(page.get_by_alt_text("An example of digit 7")).to_have_count(2)
    assert_usable(page)


@pytest.mark.parametrize("key", ["?", "/", "f", "Shift+Space"])
def test_every_dialog_of_the_labelling_page_is_usable(visit: Visit, world: World, key: str) -> None:
    page = open_page(visit(), world)
    page.keyboard.press(key)
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_usable(page)


def test_who_waits_is_told_in_a_way_that_everybody_can_read(visit: Visit, system: System, look: dict[str, Any]) -> None:
    draft = hang(system, digits(4), ["odd", "even"], name="Draft")
    page = visit(**look).page
    page.goto(f"/projects/{draft.id}/label")
    expect(page.locator("#pause")).to_contain_text("not been started")
    assert_usable(page)
    page.goto(f"/projects/{draft.id}/grid")
    expect(page.locator("#pause")).to_contain_text("not been started")
    assert_usable(page)


def test_the_grid_is_usable_with_images_marked(visit: Visit, system: System, look: dict[str, Any]) -> None:
    page = open_grid(visit(**look), guessed(system, ["cat", "dog", "fox"]))
    page.locator(".tile").nth(1).click()
    page.keyboard.press("ArrowRight")
    assert_nothing_sticks_out(page)
    assert_usable(page)


def test_the_page_of_flags_is_usable(visit: Visit, world: World, look: dict[str, Any]) -> None:
    page = open_page(visit(**look), world)
    page.keyboard.press("f")
    page.keyboard.type("1 looks like 7")
    page.keyboard.press("Enter")
    press(page, "1")
    all_saved(page)
    page.goto(f"/projects/{world.id}/flags")
    expect(page.get_by_text("1 looks like 7")).to_be_visible()
    assert_nothing_sticks_out(page)
    assert_usable(page)


def test_at_twice_the_size_everything_is_still_there(visit: Visit, world: World) -> None:
    half = {"width": DESKTOP["width"] // 2, "height": DESKTOP["height"] // 2}
    page = open_page(visit(viewport=half, device_scale_factor=2), world)
    assert_nothing_sticks_out(page)
    page.get_by_role("button", name="digit 9").click()
    all_saved(page)


@pytest.mark.parametrize("name", list(LOOKS))
def test_the_pages_have_their_pictures_taken(
    visit: Visit, world: World, system: System, picture_of: Callable[[Page, str], Path], tmp_path: Path, name: str
) -> None:
    """For the eye: nobody can assert that a page is not ugly."""
    visitor = visit(**LOOKS[name])
    page = open_page(visitor, world)
    for key in "123":
        press(page, key)
    page.screenshot(path=tmp_path / f"label-{name}.png")
    page.keyboard.press("g")
    expect(page.get_by_alt_text("An example of digit 7")).to_have_count(2)
    page.screenshot(path=tmp_path / f"guide-{name}.png")
    page = open_grid(visitor, guessed(system, ["cat", "dog", "fox"]))
    page.locator(".tile").nth(1).click()
    page.screenshot(path=tmp_path / f"grid-{name}.png")
    assert (tmp_path / f"grid-{name}.png").stat().st_size > 10_000
