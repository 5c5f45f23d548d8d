"""The page that shows how good people are, as a manager and as a reviewer meet it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

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
