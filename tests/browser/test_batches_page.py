"""A manager orders labels from a vendor, watches the batch, and judges what came."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from shared.db import labels
from shared.domain import BatchId
from shared.sweeper import Sweeper
from shared.system import System
from shared.vendors import Answer
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE, Visitor
from tests.browser.gallery import digits, hang, open_for_labelling
from tests.integration.batch_support import vendor_key
from tests.world import World

Visit = Callable[..., Visitor]
LOOKS = [{"color_scheme": "light"}, {"color_scheme": "dark", **PHONE}]


@pytest.fixture
def world(system: System) -> World:
    vendor_key(system, "Acme Labels")
    return open_for_labelling(hang(system, digits(30), ["even", "odd"], initial=20))


def work(world: World, count: int) -> None:
    """As the vendor."""
    leased = world.system.vendors.lease(BatchId(1), count=count, ttl_s=60, annotator="maria", actor="test")
    given = [Answer(task_id=t.id, token=leased.token or "", class_name="even", duration_ms=1000) for t in leased.tasks]
    world.system.vendors.answer(BatchId(1), given)


def test_a_batch_is_ordered_watched_judged_and_cancelled(
    visit: Visit, world: World, picture_of: Callable[[Page, str], Path]
) -> None:
    visitor = visit()
    page = visitor.page
    page.goto(f"/projects/{world.id}")
    page.get_by_text("Manage").click()
    page.get_by_role("link", name="Batches").click()
    page.get_by_label("Name").fill("Digits, first lot")
    page.get_by_label("Images", exact=True).fill("8")
    page.get_by_label("Price").fill("0.05")
    page.get_by_label("Instructions").fill("Is it even?")
    page.get_by_role("button", name="Make a draft").click()
    expect(page.get_by_role("status")).to_contain_text("sees it once it is open")
    page.get_by_role("button", name="Open", exact=True).click()
    expect(page.get_by_text("8 held")).to_have_count(0)
    work(world, 5)
    page.reload()
    expect(page.get_by_text("0.25 EUR")).to_be_visible()
    expect(page.get_by_text("0.40 in the end")).to_be_visible()
    picture_of(page, "batch.png")
    page.get_by_role("checkbox", name=re.compile("Reject")).first.check()
    page.get_by_role("button", name="Record these").click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    visitor.complaints.clear()  # of the status of that page
    page.get_by_role("checkbox", name=re.compile("Reject")).first.check()
    page.get_by_label("Why").fill("that is a 7")
    page.get_by_role("button", name="Record these").click()
    expect(page.get_by_role("status")).to_contain_text("asked again")
    expect(page.get_by_text("0.20 EUR")).to_be_visible()
    with world.system.ledger.transaction() as tx:
        assert labels.counts(tx, world.id).human == 4
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Cancel the batch").click()
    Sweeper(world.system.ledger, world.system.rounds, every_s=60).sweep()
    page.reload()
    expect(page.get_by_text("4 had been given to nobody")).to_be_visible()
    page.get_by_text("Manage").click()
    page.get_by_role("link", name="Batches").click()
    expect(page.get_by_role("row", name=re.compile("Digits, first lot"))).to_contain_text("cancelled")


def test_what_can_not_be_meant_is_said_and_what_was_typed_stays(visit: Visit, world: World) -> None:
    visitor = visit()
    page = visitor.page
    page.goto(f"/projects/{world.id}/batches")
    page.get_by_label("Name").fill("Digits")
    page.get_by_label("Images", exact=True).fill("many")
    page.get_by_role("button", name="Make a draft").click()
    expect(page.get_by_role("alert")).to_contain_text("The size is a number of images")
    expect(page.get_by_label("Name")).to_have_value("Digits")
    visitor.complaints.clear()  # of the status of that page


@pytest.mark.parametrize("look", LOOKS, ids=["desktop-light", "phone-dark"])
def test_the_pages_can_be_used_by_everybody(
    visit: Visit, world: World, look: dict[str, object], tmp_path: Path
) -> None:
    page = visit(**look).page
    page.goto(f"/projects/{world.id}/batches")
    page.get_by_label("Name").fill("A batch with a name that is rather longer than most of them are")
    page.get_by_label("Images", exact=True).fill("8")
    page.get_by_role("button", name="Make a draft").click()
    page.get_by_role("button", name="Open", exact=True).click()
    work(world, 5)
    for path in (f"/projects/{world.id}/batches", f"/projects/{world.id}/batches/1"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path} is {wider} pixels wider than the screen"
        assert_usable(page)
        page.screenshot(path=tmp_path / f"{path.replace('/', '_')}.png", full_page=True)
