"""The project page beside the four real services: what it shows is what happened."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import WAIT_MS
from tests.e2e.running import PASSWORD, digits_project, oracle, running
from tests.e2e.test_loop import LOOP_S, local_env
from tests.waiting import wait_for

BATCH, ROUNDS, BEGUN = 40, 4, 23


def as_shown(share: float) -> str:
    """Halves go up, as browsers round them, and not to the even digit as Python does: 0.9925 is 99.3%."""
    return f"{(Decimal(str(share)) * 100).quantize(Decimal('0.1'), ROUND_HALF_UP)}%"


def test_the_page_shows_the_curve_that_the_services_made(
    chromium: Browser, migrated_database_url: str, tmp_path: Path, picture_of: Callable[[Page, str], Path]
) -> None:
    with running(migrated_database_url, local_env(tmp_path), tmp_path) as stack:
        project = digits_project(
            stack, pool=1000, holdout=400, initial=BATCH, batch_size=BATCH, shard_size=500, target_accuracy=0.99
        )
        annotator = oracle(stack, project, "ann")
        enough = ROUNDS * BATCH + BEGUN
        annotator.in_thread(lambda: annotator.answered >= enough)

        def labelling_again() -> bool:
            stack.processes.tend()
            return annotator.answered >= enough

        wait_for(labelling_again, "four rounds and the beginning of the fifth", LOOP_S)
        with stack.client() as client:
            curve = client.state(project.id)["curve"]
        assert [point["labels"] for point in curve] == [BATCH * n for n in range(1, ROUNDS + 1)]

        context = chromium.new_context(base_url=stack.ui_url, viewport={"width": 1280, "height": 800}, locale="en-GB")
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto("/sign-in")
        page.get_by_label("User name").fill("ann")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Handwritten digits").first.click()
        expect(page.get_by_role("heading", name="People are labelling")).to_be_visible()
        expect(page.get_by_text(f"{BEGUN} of {BATCH} labels are in")).to_be_visible()
        expect(page.get_by_text(as_shown(curve[-1]["metrics"]["accuracy"])).first).to_be_visible()
        expect(page.locator(".js-plotly-plot")).to_be_visible()
        assert picture_of(page, "project.png").stat().st_size > 50_000
        context.close()
