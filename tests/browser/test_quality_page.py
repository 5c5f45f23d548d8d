"""The page that shows how good people are, as a manager and as a reviewer meet it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sklearn.datasets import load_digits

from shared import gold
from shared.db import labels
from shared.db.tasks import Lease
from shared.domain import RoundMode
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE, Visitor
from tests.browser.gallery import digits, hang, open_for_labelling
from tests.world import World

Visit = Callable[..., Visitor]


@pytest.fixture
def world(system: System) -> World:
    """Two people have been asked about each of eight images, and one of them is careless."""
    files = digits(20)
    hung = hang(system, files, ["even", "odd"], name="Digits", initial=8, holdout=0, overlap=2, mode=RoundMode.STRICT)
    made = open_for_labelling(hung)
    for name, column in (("bea", 0), ("cal", 1)):
        person = made.user(name)
        for n, task in enumerate(system.labelling.lease(made.id, person.id, count=50)):
            held = Lease(task_id=task.id, fence=task.fence)
            chosen = made.classes[column if n % 2 else 0].id
            system.labelling.submit(made.id, person.id, held, chosen, key=uuid.uuid4().hex, duration_ms=1500)
    return made


@pytest.fixture
def measured(system: System) -> World:
    """Two people have been asked about ten images whose answer is known, among others; one of them says even always."""
    hung = hang(system, digits(60), ["even", "odd"], name="Digits", initial=34, overlap=2, gold_rate=0.3)
    truth = {image.id: hung.classes[int(load_digits().target[n]) % 2].id for n, image in enumerate(hung.images)}
    with system.ledger.transaction() as tx:
        labels.import_known(tx, hung.id, {image.sha256: truth[image.id] for image in hung.images[:10]})
        gold.mark(tx, hung.id, [image.id for image in hung.images[:10]], "user:1")
    made = open_for_labelling(hung)
    for name, careless in (("bea", False), ("cal", True)):
        person = made.user(name)
        for task in system.labelling.lease(made.id, person.id, count=50):
            held = Lease(task_id=task.id, fence=task.fence)
            chosen = made.classes[0].id if careless else truth[task.image_id]
            system.labelling.submit(made.id, person.id, held, chosen, key=uuid.uuid4().hex, duration_ms=1500)
    return made


def test_known_answers_are_listed_with_how_they_were_answered_and_withdrawn(
    visit: Visit, measured: World, picture_of: Callable[[Page, str], Path]
) -> None:
    page = visit().page
    page.goto(f"/projects/{measured.id}/quality")
    known = page.get_by_role("region", name="Known answers")
    expect(known).to_contain_text("At 30% of all questions, the 10 there are last a person for about 33 questions.")
    expect(known.get_by_role("listitem").first).to_contain_text("2 of 2 answers right")
    expect(known.get_by_role("listitem").nth(1)).to_contain_text("1 of 2 answers right")
    page.wait_for_load_state("networkidle")
    picture_of(page, "quality.png")
    known.scroll_into_view_if_needed()
    picture_of(page, "quality-known.png")
    known.get_by_role("button", name="Withdraw 0.png").press("Enter")
    expect(known.get_by_role("listitem")).to_have_count(9)


@pytest.mark.parametrize("look", [{}, {"color_scheme": "dark", **PHONE}])
def test_everybodys_figures_are_shown_and_can_be_used(visit: Visit, world: World, look: dict[str, Any]) -> None:
    page = visit(**look).page
    page.goto(f"/projects/{world.id}/quality")
    expect(page.get_by_role("heading", level=1)).to_have_text("Quality")
    expect(page.get_by_role("row").filter(has_text="bea").first).to_contain_text("8")
    assert_usable(page)


def test_a_manager_pauses_somebody_and_lets_them_go_on(visit: Visit, world: World) -> None:
    page = visit().page
    page.goto(f"/projects/{world.id}/quality")
    page.get_by_label("Pause cal").click()
    page.get_by_label("Why").last.fill("answers without looking")
    page.get_by_role("button", name="Pause and ask others").last.click()
    expect(page.get_by_text("paused: answers without looking")).to_be_visible()
    page.get_by_role("button", name="Ask cal again").click()
    expect(page.get_by_text("paused:")).to_have_count(0)
