"""A lead has an export prepared, goes on, and takes it along: by mouse, by keys, on a phone, in the dark."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from services.api.making import ExportHandler
from shared.db.exports import ExportForm
from shared.domain import Job
from shared.settings import WorkerSettings
from shared.system import System
from shared.worker import JobContext, Publish, Worker
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE, Visitor
from tests.browser.gallery import digits, hang, open_for_labelling
from tests.exporting import WEEK_S, ask, look, made
from tests.world import World

Visit = Callable[..., Visitor]
LOOKS = [{"color_scheme": "light"}, {"color_scheme": "dark", **PHONE}]


class Patient(ExportHandler):
    """Makes exports as an api does, each when it is told to."""

    go_on = threading.Event()

    def run(self, job: Job, context: JobContext) -> Publish:
        context.report(0.42, images=12)
        while not self.go_on.wait(0.05):
            context.check()
        return super().run(job, context)


@contextmanager
def an_api(system: System) -> Iterator[threading.Event]:
    """An api's worker; what is returned lets it finish what it has in hand."""
    handler = Patient(system.database, system.store, keep_s=WEEK_S)
    handler.go_on = threading.Event()
    worker = Worker(system.ledger, system.bus, [handler], WorkerSettings(lease_s=1))
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    yield handler.go_on
    worker.stop()
    thread.join(30)


@pytest.fixture
def world(system: System) -> World:
    opened = open_for_labelling(hang(system, digits(12), ["zero", "other"], initial=4))
    opened.answer(3, opened.user("bea"))
    return opened


def exports_of(page: Page) -> Any:
    return page.locator("#exports-list").get_by_role("listitem")


def test_an_export_is_prepared_while_the_page_shows_how_far_it_is(visit: Visit, world: World, tmp_path: Path) -> None:
    with an_api(world.system) as go_on:
        page = visit().page
        page.goto(f"/projects/{world.id}/data")
        expect(page.get_by_text("An export is a frozen version")).to_be_visible()
        page.get_by_role("button", name="Prepare images by class (ZIP)").click()
        row = exports_of(page).first
        expect(row.get_by_text("42%")).to_be_visible()
        expect(row.get_by_role("progressbar")).to_have_js_property("value", 0.42)
        go_on.set()
        expect(page.locator("#exports-said")).to_have_text("Export 1 is ready.")
    expect(row).to_contain_text("12 images, 3 of them labelled")
    expect(row).not_to_contain_text("UTC")
    with page.expect_download() as download:
        row.get_by_role("link", name="Download export 1").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name.startswith(f"project-{world.id}-") and file.suffix == ".zip"
    assert len([name for name in zipfile.ZipFile(file).namelist() if name.startswith("zero/")]) == 3


def test_it_is_all_done_by_keys_and_the_focus_is_not_lost(visit: Visit, world: World) -> None:
    with an_api(world.system) as go_on:
        page = visit().page
        page.goto(f"/projects/{world.id}/data")
        page.get_by_role("button", name="Prepare labels (CSV)").press("Enter")
        page.get_by_role("button", name="Cancel export 1").focus()
        go_on.set()
        expect(page.get_by_role("link", name="Download export 1")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("An export is a frozen version")).to_be_visible()


def test_one_that_is_under_way_is_given_up(visit: Visit, world: World) -> None:
    with an_api(world.system):
        page = visit().page
        page.goto(f"/projects/{world.id}/data")
        page.get_by_role("button", name="Prepare labels (CSV)").click()
        page.get_by_role("button", name="Cancel export 1").click()
        expect(page.get_by_text("An export is a frozen version")).to_be_visible()


def test_what_is_open_stays_open_while_another_is_made(visit: Visit, world: World) -> None:
    made(world)
    waiting = ask(world, ExportForm.CSV)
    page = visit().page
    page.goto(f"/projects/{world.id}/data")
    first = page.locator("#export-1")
    first.get_by_text("Delete", exact=True).click()
    first.get_by_role("checkbox").check()
    with an_api(world.system) as go_on:
        go_on.set()
        expect(page.locator(f"#export-{waiting.id}").get_by_role("link", name="Download")).to_be_visible()
    expect(first.get_by_role("checkbox")).to_be_checked()


def test_without_scripts_the_page_tells_when_it_is_loaded(visit: Visit, world: World) -> None:
    one = made(world)
    page = visit(java_script_enabled=False).page
    page.goto(f"/projects/{world.id}/data")
    page.get_by_role("button", name="Prepare labels (CSV)").click()
    expect(page.get_by_text("waits for its turn")).to_be_visible()
    assert look(world, one).contents is not None
    expect(page.get_by_role("link", name="Download export 1")).to_be_visible()


@pytest.mark.parametrize("look_", LOOKS, ids=["desktop-light", "phone-dark"])
def test_the_list_can_be_used_by_everybody(
    visit: Visit, world: World, look_: dict[str, object], picture_of: Callable[[Page, str], Path]
) -> None:
    page = visit(**look_).page
    page.goto(f"/projects/{world.id}/data")
    assert_usable(page)
    made(world)
    made(world, ExportForm.CSV)
    ask(world)
    page.reload()
    page.locator("#export-1").get_by_text("Delete", exact=True).click()
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"it is {wider} pixels wider than the screen"
    assert_usable(page)
    if look_ == LOOKS[0]:
        page.locator("#exports-part").screenshot(path=picture_of(page, "exports.png"))
