"""The models of a project: listed, compared, put to use after a question, taken along."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from shared.db import rounds
from shared.domain import CheckpointId
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.gallery import digits, hang
from tests.browser.test_dashboard import Shoot, Visit, world
from tests.world import World

__all__ = ["world"]
LOOKS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light"},
}


def newest_two(world: World) -> list[CheckpointId]:
    with world.system.database.transaction() as tx:
        return [point.checkpoint_id for point in rounds.curve(tx, world.id)][-2:]


def test_models_are_listed_and_two_of_them_compared(visit: Visit, world: World, picture_of: Shoot) -> None:
    page = visit().page
    page.goto(f"/projects/{world.id}")
    page.get_by_role("link", name="Models").click()
    rows = page.locator("table.models tbody tr")
    expect(rows).to_have_count(5)
    expect(rows.first).to_contain_text("94.0%")
    expect(rows.first).to_contain_text("in use")
    picture_of(page, "models.png")
    page.get_by_label("Round 3 on the left").check()
    page.get_by_role("button", name="Compare the two chosen").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Round 3 beside Round 5")
    expect(page.get_by_role("region", name="No difference beyond chance.")).to_contain_text("100 images of the holdout")
    expect(page.get_by_role("row", name="Accuracy 0.890 0.940 +0.050")).to_be_visible()
    picture_of(page, "compare-models.png")


def test_a_model_is_put_to_use_after_a_question_and_taken_out_of_it(visit: Visit, world: World) -> None:
    before, _ = newest_two(world)
    page = visit().page
    page.goto(f"/projects/{world.id}/models/{before}")
    page.get_by_role("button", name="Put to use").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Put the model of round 4 to use?")
    expect(page.get_by_text("Until now the model of round 5 does that.")).to_be_visible()
    page.get_by_role("link", name="No", exact=True).click()
    with world.system.database.transaction() as tx:
        assert rounds.promoted(tx, world.id) is None
    page.get_by_role("button", name="Put to use").click()
    page.get_by_role("button", name="Yes, put it to use").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Model of round 4 in use")
    with world.system.database.transaction() as tx:
        used = rounds.promoted(tx, world.id)
        assert used is not None and used.id == before
    page.get_by_role("button", name="Take out of use").click()
    page.get_by_role("button", name="Yes, take it out of use").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Model of round 4")


def test_a_model_is_downloaded_and_who_took_it_is_on_record(visit: Visit, world: World) -> None:
    newest = newest_two(world)[-1]
    with world.system.database.transaction() as tx:
        key = rounds.checkpoint(tx, rounds.curve(tx, world.id)[-1].checkpoint_id).key
    world.system.store.put_bytes(key + "model.safetensors", b"weights")
    page = visit().page
    page.goto(f"/projects/{world.id}/models")
    with page.expect_download() as loaded:
        page.get_by_role("link", name="Download the model of round 5").click()
    assert loaded.value.path().read_bytes() == b"weights"
    assert loaded.value.suggested_filename == f"project-{world.id}-{newest}-model.safetensors"
    page.goto(f"/projects/{world.id}/activity")
    expect(page.get_by_text(f"downloaded model {newest}")).to_be_visible()


def test_a_project_without_models_says_how_it_comes_by_them(visit: Visit, system: System) -> None:
    empty = hang(system, digits(4), ["odd", "even"], name="Draft")
    page = visit().page
    page.goto(f"/projects/{empty.id}/models")
    expect(page.get_by_role("heading", name="No model yet")).to_be_visible()
    assert_usable(page)


@pytest.mark.parametrize("look", list(LOOKS))
def test_the_pages_of_models_are_usable_on_every_screen(visit: Visit, world: World, look: str) -> None:
    page = visit(**LOOKS[look]).page
    before, newest = newest_two(world)
    for path in ("models", f"models/compare?a={before}&b={newest}", f"models/{newest}"):
        page.goto(f"/projects/{world.id}/{path}")
        assert_usable(page)
        width = page.evaluate("document.documentElement.clientWidth")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
