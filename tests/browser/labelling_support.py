"""What tests of the labelling pages have in common."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from shared.db import labels
from shared.db.labels import LabelCounts
from tests.browser.conftest import Visitor
from tests.world import World

Visit = Callable[..., Visitor]
TAKEN = "The image to label"


def counts(world: World) -> LabelCounts:
    with world.system.ledger.transaction() as tx:
        return labels.counts(tx, world.id)


def by_class(world: World) -> list[int]:
    with world.system.ledger.transaction() as tx:
        return [count.labels for count in labels.by_class(tx, world.id)]


def open_page(visitor: Visitor, world: World) -> Page:
    visitor.page.goto(f"/projects/{world.id}/label")
    expect(visitor.page.get_by_alt_text(TAKEN)).to_be_visible()
    return visitor.page


def shown(page: Page) -> str:
    source = page.get_by_alt_text(TAKEN).get_attribute("src")
    assert source is not None
    return source


def press(page: Page, key: str) -> str:
    """Press a key, wait for the next image and return the one that was there."""
    before = shown(page)
    page.keyboard.press(key)
    expect(page.get_by_alt_text(TAKEN)).not_to_have_attribute("src", before)
    return before


def all_saved(page: Page) -> None:
    expect(page.locator("#sent")).to_have_text("Every answer is saved")


def until(page: Page, expression: str) -> None:
    """Wait for a JavaScript expression to hold. Playwright's own waiting evaluates text in the page, which its content
    security policy forbids."""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"waited in vain for {expression}"
        page.wait_for_timeout(20)


def rows(world: World, sql: str) -> list[dict[str, object]]:
    """The truth behind the page."""
    with world.system.ledger.transaction() as tx:
        return tx.all(sql)
