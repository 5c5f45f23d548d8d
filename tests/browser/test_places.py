"""Every page that isn't for labelling, as people meet it: on a desktop and a phone, by day and by night, with the
keyboard alone, and by the rules of WCAG."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Page, expect

from shared.credentials import digest
from shared.db import events, guidelines, imports, invitations, keys, members, users
from shared.domain import JobKind, Role, Scope, Split
from shared.errors import Permanent
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE, Visitor
from tests.browser.gallery import digits, hang, open_for_labelling, photos
from tests.world import World

Visit = Callable[..., Visitor]
Picture = Callable[[Page, str], Path]
CLASSES = ["pagoda", "dahlia", "neither"]
PAGES = {
    "projects": "/",
    "new-project": "/projects/new",
    "images": "/projects/1/images",
    "image": "/projects/1/images/1/details",
    "data": "/projects/1/data",
    "import": "/projects/1/data/imports/1",
    "settings": "/projects/1/settings",
    "activity": "/projects/1/activity",
    "all-activity": "/activity",
    "system": "/system",
    "people": "/projects/1/people",
    "keys": "/projects/1/keys",
    "everybody": "/people",
    "all-keys": "/keys",
    "account": "/account",
    "begin": "/projects/2/begin",
    "flags": "/projects/1/flags",
}
LOOKS: dict[str, dict[str, Any]] = {
    "desktop-light": {"color_scheme": "light"},
    "desktop-dark": {"color_scheme": "dark"},
    "phone-light": {"color_scheme": "light", **PHONE},
    "phone-dark": {"color_scheme": "dark", **PHONE},
}


A_FILE: FilePayload = {"name": "a.png", "mimeType": "image/png", "buffer": digits(11)[10]}


@pytest.fixture
def world(system: System) -> World:
    """A project with something of everything, and another in draft."""
    files = photos(8) + digits(20)
    world = open_for_labelling(hang(system, files, CLASSES, name="Garden", initial=12, holdout=3))
    ben = world.user("ben")
    hired = [(ben, Role.MANAGER), (world.user("cleo"), Role.REVIEWER), (world.user("dora"), Role.ANNOTATOR)]
    world.answer(15, ben)
    world.system.rounds.nudge(world.id)
    system.ledger.fail(world.next_job(JobKind.TRAIN), Permanent("the disk /data is full"))
    with system.ledger.transaction() as tx:
        imports.add(
            tx,
            world.id,
            f"user:{ben.id}",
            Split.POOL,
            part_of=None,
            stored=26,
            duplicates=1,
            rejects=[("notes.txt", "the file is not an image, or not one of JPEG, PNG, WEBP, GIF, BMP, TIFF")],
        )
        told = {"split": "pool", "stored": 28, "duplicate": 1, "rejected": 1}
        events.record(tx, world.id, f"user:{ben.id}", "images.uploaded", told)
        events.record(tx, world.id, f"user:{ben.id}", "project.settings_changed", {"batch_size": 25})
        for somebody, role in hired:
            members.put(tx, world.id, somebody.id, role)
        members.pause(tx, world.id, hired[-1][0].id, "answers faster than one can look")
        ends = datetime.now(UTC) + timedelta(days=7)
        invitations.add(
            tx,
            token_sha256=digest("of an invitation"),
            expires_at=ends,
            created_by=ben.id,
            note="Emil",
            project_id=world.id,
            role=Role.ANNOTATOR,
        )
        keys.make(tx, name="nightly export", scopes=[Scope.READ], project_id=world.id, created_by=ben.id)
        users.add_vendor(tx, "acme", "Acme Labelling")
        guidelines.set_text(tx, world.id, "A pagoda has a roof. In doubt: neither.")
    system.curation.relabel(world.id, ben.id, [world.images[1].id], world.classes[1].id)
    draft = hang(system, digits(9), ["even", "odd"], name="Numbers")
    with system.ledger.transaction() as tx:
        system.rounds.pause(tx, world.id, "system")
        system.rounds.start(tx, world.id, f"user:{ben.id}")
    assert (world.id, draft.id) == (1, 2)
    return world


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_can_be_used_by_everybody(visit: Visit, world: World, look: str) -> None:
    page = visit(**LOOKS[look]).page
    for name, path in PAGES.items():
        page.goto(path)
        page.wait_for_load_state("networkidle")
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{name} is {wider} pixels wider than the screen"
        assert_usable(page)


def test_pages_are_read_at_twice_their_size(visit: Visit, world: World) -> None:
    page = visit(viewport={"width": 640, "height": 400}).page
    for name, path in PAGES.items():
        page.goto(path)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{name} is {wider} pixels wider than the screen at 200%"


def test_the_navigation_leads_everywhere_and_says_where_one_is(visit: Visit, world: World) -> None:
    page = visit().page
    page.goto(f"/projects/{world.id}")
    places = page.get_by_role("navigation", name="Project", exact=True)
    for name in ("Images", "Data", "Settings", "Activity"):
        places.get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        expect(places.locator("[aria-current=page]")).to_have_text(name)
    page.get_by_role("link", name="System").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("System")


def test_pictures_of_all_pages(visit: Visit, world: World, picture_of: Picture) -> None:
    page = visit().page
    for name in ("data", "settings", "activity", "people", "keys", "account", "system", "new-project", "begin"):
        page.goto(PAGES[name])
        page.wait_for_load_state("networkidle")
        assert picture_of(page, f"{name}.png").stat().st_size > 20_000


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    """Let files fall onto the page, as a person does with the mouse."""
    given = [{"name": name, "bytes": list(data)} for name, data in files]
    transfer = page.evaluate_handle(
        """given => {
            const transfer = new DataTransfer();
            for (const one of given) transfer.items.add(new File([new Uint8Array(one.bytes)], one.name));
            return transfer;
        }""",
        given,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def test_images_are_dropped_and_what_is_refused_says_why(visit: Visit, world: World) -> None:
    page = visit().page
    page.goto("/projects/2/data")
    new = digits(14)[9:]
    drop(page, *((f"new{at}.png", data) for at, data in enumerate(new)), ("notes.png", b"words"), (".DS_Store", b"x"))
    state = page.locator("#upload-state")
    expect(state).to_have_text("All 6 files are through: 5 new, 0 there already, 1 refused.")
    expect(page.locator("#refused")).to_contain_text("notes.png")
    expect(page.locator("#refused")).to_contain_text("not an image")
    page.get_by_role("link", name="Look at the images").click()
    expect(page.locator("#matching")).to_have_text("14 images")


def test_what_can_t_be_sent_now_is_sent_when_the_service_is_back(visit: Visit, world: World) -> None:
    visitor = visit()
    page = visitor.page
    page.goto("/projects/2/data")
    failures = iter([503, 503])

    def falter(route: Any) -> None:
        status = next(failures, None)
        route.fulfill(status=status, body="{}") if status else route.continue_()

    page.route("**/data/upload**", falter)
    page.locator("#files").set_input_files(A_FILE)
    expect(page.locator("#upload-state")).to_have_text("All 1 files are through: 1 new, 0 there already, 0 refused.")
    assert all("503" in text for text in visitor.complaints)
    visitor.complaints.clear()


def test_images_go_to_the_class_of_their_folder(visit: Visit, world: World, tmp_path: Path) -> None:
    for at, name in enumerate(("even", "odd", "elsewhere")):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / f"{name}.png").write_bytes(digits(20)[12 + at])
    page = visit().page
    page.goto("/projects/2/data")
    page.get_by_label("They show").select_option(label="what their folder is named after")
    page.locator("#folder").set_input_files(tmp_path / "all")
    expect(page.locator("#upload-state")).to_contain_text("3 new")
    page.goto("/projects/2/images?source=import")
    expect(page.locator(".shot")).to_have_count(2)


def test_a_failed_job_is_tried_again(visit: Visit, world: World) -> None:
    page = visit().page
    page.goto("/system")
    expect(page.get_by_text("the disk /data is full")).to_be_visible()
    page.get_by_role("button", name="Try again: job").click()
    expect(page.get_by_role("status")).to_have_text("1 job is tried again.")
    expect(page.get_by_text("None. A job that fails is tried five times")).to_be_visible()


def test_only_the_chosen_strategy_shows_its_options(visit: Visit, world: World) -> None:
    page = visit().page
    page.goto(f"/projects/{world.id}/settings")
    alpha = page.locator("[name='option.hybrid.alpha']")
    page.get_by_role("radio", name="hybrid uncertainty and representation").check()
    expect(alpha).to_be_visible()
    entropy = page.get_by_role("radio", name="entropy uncertainty", exact=True)
    entropy.check()
    expect(alpha).to_be_hidden()
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_role("status")).to_contain_text("The settings are saved")
    expect(entropy).to_be_checked()


def test_a_setting_that_can_t_be_is_marked_where_it_is(visit: Visit, world: World) -> None:
    visitor = visit()
    page = visitor.page
    page.goto(f"/projects/{world.id}/settings")
    page.get_by_label("Labels per round").fill("0")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").first).to_contain_text("Nothing was saved")
    field = page.get_by_label("Labels per round")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_value("0")
    assert all("422" in text for text in visitor.complaints)
    visitor.complaints.clear()


def test_a_class_is_renamed_and_another_added(visit: Visit, world: World) -> None:
    page = visit().page
    page.goto(f"/projects/{world.id}/settings")
    page.get_by_label("Name of pagoda").fill("temple")
    page.get_by_role("button", name="Save classes").click()
    expect(page.get_by_role("status")).to_have_text("The classes are saved.")
    page.get_by_label("A further class").fill("pond")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_label("Name of pond")).to_have_value("pond")


def test_the_log_is_filtered_and_taken_along(visit: Visit, world: World) -> None:
    page = visit().page
    page.goto(f"/projects/{world.id}/activity")
    page.get_by_label("What").select_option("images.uploaded")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".events li")).to_have_count(1)
    expect(page.locator(".events")).to_contain_text("ben uploaded 28 images to the pool; 1 were there already")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert "uploaded 28 images" in Path(download.value.path()).read_text()


def test_a_project_is_made_with_the_keyboard_alone(visit: Visit, system: System, picture_of: Picture) -> None:
    page = visit().page
    expect(page.get_by_role("heading", name="How Winnow works")).to_be_visible()
    assert_usable(page)
    picture_of(page, "first-run.png")
    page.get_by_role("link", name="New project").press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("Birds")
    page.keyboard.press("Tab")
    page.keyboard.type("heron\nswan")
    page.get_by_role("button", name="Next: the images").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Data")
    drop(page, *((f"{at}.png", data) for at, data in enumerate(digits(8))))
    expect(page.locator("#upload-state")).to_contain_text("8 new")
    page.get_by_role("link", name="Next: start the project").press("Enter")
    page.get_by_role("button", name="Start", exact=True).press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Birds")
    expect(page.locator("#state-pill")).to_have_text("running")


def test_the_sample_is_one_click_away(visit: Visit, system: System) -> None:
    page = visit().page
    page.get_by_role("button", name="Make the sample project").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Handwritten digits")
    expect(page.locator("#state-pill")).to_have_text("running")


@pytest.mark.parametrize("look", LOOKS)
def test_the_first_user_is_made_by_the_first_visitor(
    chromium: Any, address: str, look: str, picture_of: Picture
) -> None:
    context = chromium.new_context(base_url=address, locale="en-GB", **LOOKS[look])
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome to Winnow")
    assert_usable(page)
    if look == "desktop-light":
        picture_of(page, "welcome.png")
    page.get_by_label("User name").fill("lead")
    page.get_by_label("Password").fill("long enough")
    page.get_by_label("The same again").fill("long enough")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="How Winnow works")).to_be_visible()
    context.close()


def test_pages_work_without_scripts(chromium: Any, visit: Visit, world: World, address: str) -> None:
    cookies = visit().context.cookies()
    context = chromium.new_context(base_url=address, java_script_enabled=False)
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(f"/projects/{world.id}/images")
    page.locator("#found input").nth(5).check()
    page.get_by_label("Class to give").select_option(label="neither")
    page.get_by_role("button", name="Relabel").click()
    expect(page.get_by_role("status").first).to_have_text("1 image was relabelled.")
    page.goto("/projects/2/data")
    page.locator("#files").set_input_files(A_FILE)
    page.get_by_role("button", name="Upload to the pool").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("An import")
    page.goto(f"/projects/{world.id}/settings")
    page.get_by_label("Labels per round").fill("33")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_label("Labels per round")).to_have_value("33")
    context.close()
