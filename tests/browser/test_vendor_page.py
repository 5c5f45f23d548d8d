"""A manager looks at how a vendor does."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from shared import batches
from shared.db import batches as rows
from shared.db import gold, labels, users
from shared.db.batches import Terms
from shared.domain import RoundMode
from shared.system import System
from shared.vendors import Answer
from shared.verdicts import Verdict, judge
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE, Visitor
from tests.browser.gallery import digits, hang, open_for_labelling
from tests.world import World

Visit = Callable[..., Visitor]
LOOKS = [{"color_scheme": "light"}, {"color_scheme": "dark", **PHONE}]


@pytest.fixture
def world(system: System) -> World:
    """Three of a vendor's people, one of them careless, answered a batch in which two are asked about each image."""
    hung = hang(system, digits(60), ["even", "odd"], initial=40, gold_rate=0.2, mode=RoundMode.STRICT)
    with system.ledger.transaction() as tx:
        known = {image.sha256: hung.classes[n % 2].id for n, image in enumerate(hung.images[-12:])}
        gold.mark(tx, hung.id, labels.import_known(tx, hung.id, known), "test")
    made = open_for_labelling(hung)
    with system.ledger.transaction() as tx:
        vendor = users.vendor_named(tx, "Acme Labels")
        terms = Terms(name="First lot", size=24, overlap=2, price=Decimal("0.05"), price_per="label", currency="EUR")
        batch = batches.create(tx, made.id, vendor, terms, "test")
        batches.open_(tx, system.ledger, batch.id, "test")
    truth = {image.id: made.classes[n % 2].name for n, image in enumerate(made.images)}
    for name, pace_ms in (("maria", 2100), ("tom", 2600), ("ann-lee", 400)):
        leased = system.vendors.lease(batch.id, count=20, ttl_s=60, annotator=name, actor="test")
        given = [
            Answer(
                task_id=task.id,
                token=leased.token or "",
                class_name=truth[task.image_id] if name != "ann-lee" else "even",
                duration_ms=pace_ms + 10 * n,
            )
            for n, task in enumerate(leased.tasks)
        ]
        system.vendors.answer(batch.id, given)
    with system.ledger.transaction() as tx:
        told = rows.list_annotations(tx, batch.id, limit=200)
        wrong = [one.id for one in told if one.class_name != truth[one.image_id]][:4]
        judge(tx, batch.id, wrong, Verdict.REJECTED, "look again", "test")
        right = [one.id for one in told if one.class_name == truth[one.image_id]][:16]
        judge(tx, batch.id, right, Verdict.ACCEPTED, "", "test")
    return made


def by_the_menu(page: Page, world: World) -> None:
    page.goto(f"/projects/{world.id}")
    page.get_by_text("Manage").click()
    page.get_by_role("link", name="Batches").click()
    page.get_by_role("link", name="Acme Labels").click()


def test_a_manager_finds_what_a_vendor_did_from_wherever_it_is_named(visit: Visit, world: World) -> None:
    page = visit().page
    by_the_menu(page, world)
    expect(page.get_by_role("heading", level=1)).to_have_text("Acme Labels")
    place = page.url
    expect(page.get_by_text("16 accepted, 4 rejected")).to_be_visible()
    expect(page.get_by_text("16 of 20")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("ann-lee"))).to_contain_text("0.25 EUR")
    page.get_by_role("link", name="First lot").click()
    page.get_by_role("link", name="Acme Labels").click()
    expect(page).to_have_url(place)
    for start in (f"/projects/{world.id}/quality", f"/projects/{world.id}/people"):
        page.goto(start)
        page.get_by_role("link", name="Acme Labels").click()
        expect(page).to_have_url(place)
    page.goto("/people")
    page.get_by_role("link", name=re.compile("Acme Labels in")).click()
    expect(page).to_have_url(place)


@pytest.mark.parametrize("look", LOOKS, ids=["desktop-light", "phone-dark"])
def test_the_page_can_be_used_by_everybody(
    visit: Visit, world: World, look: dict[str, object], picture_of: Callable[[Page, str], Path]
) -> None:
    page = visit(**look).page
    by_the_menu(page, world)
    expect(page.get_by_role("heading", level=1)).to_have_text("Acme Labels")
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"the page is {wider} pixels wider than the screen"
    assert_usable(page)
    if look["color_scheme"] == "light":
        picture_of(page, "vendor.png")


def test_a_vendor_without_a_batch_is_told_of(visit: Visit, world: World) -> None:
    with world.system.ledger.transaction() as tx:
        other = users.vendor_named(tx, "Umbra")
    page = visit().page
    page.goto(f"/projects/{world.id}/vendors/{other}")
    expect(page.get_by_role("heading", name="No batch was opened yet")).to_be_visible()
