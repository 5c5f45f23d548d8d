"""What nobody may lose: answers given while the service is down, and images that two people could be asked about."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect

from services.ui.app import create_app
from shared.settings import UiSettings
from shared.sweeper import Sweeper
from shared.system import System
from tests.browser.conftest import ARGUMENTS
from tests.browser.gallery import PASSWORD, add_user, digits, hang, open_for_labelling, serve
from tests.browser.labelling_support import TAKEN, Visit, all_saved, by_class, counts, open_page, press, rows, shown
from tests.waiting import wait_for
from tests.world import World

OFFLINE_LABELS = 50


class Service:
    """The ui on one port, which can go down and come back."""

    def __init__(self, system: System) -> None:
        self._app = create_app(system, UiSettings())
        self._running = ExitStack()
        self.base = self._running.enter_context(serve(self._app))

    def down(self) -> None:
        self._running.close()

    def up(self) -> None:
        self._running.enter_context(serve(self._app, int(self.base.rsplit(":", 1)[1])))


@pytest.fixture
def service(system: System) -> Iterator[Service]:
    running = Service(system)
    yield running
    running.down()


@pytest.fixture
def open_browser(chromium: Browser, tmp_path: Path) -> Callable[[str], BrowserContext]:
    """A browser with a profile on disk, as a person has one: opened again it remembers."""

    def launch(base: str) -> BrowserContext:
        context = chromium.browser_type.launch_persistent_context(
            tmp_path / "profile",
            executable_path=chromium.browser_type.executable_path
            if Path(chromium.browser_type.executable_path).exists()
            else os.environ.get("WINNOW_TEST_CHROMIUM") or "/usr/bin/chromium",
            args=ARGUMENTS,
            base_url=base,
            viewport={"width": 1280, "height": 800},
        )
        context.set_default_timeout(30_000)
        return context

    return launch


def sign_in(page: Page) -> None:
    page.goto("/sign-in")
    _say_who(page)
    page.wait_for_url("**/")


def _say_who(page: Page) -> None:
    page.get_by_label("User name").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def label_fifty_offline(page: Page, world: World, service: Service) -> list[str]:
    """Take images along, then the service goes down, and fifty answers are given. Returns their images."""
    page.goto(f"/projects/{world.id}/label")
    expect(page.get_by_alt_text(TAKEN)).to_be_visible()
    page.keyboard.press("o")
    expect(page.locator("#along-text")).to_have_text("61 images here")
    service.down()
    seen = [press(page, str(number % 10)) for number in range(OFFLINE_LABELS)]
    expect(page.locator("#sent")).to_have_text(f"{OFFLINE_LABELS} answers waiting to be sent")
    assert counts(world).human == 0
    return seen


def assert_all_arrived_once(world: World, seen: list[str]) -> None:
    wait_for(lambda: counts(world).human == len(seen), "all answers to arrive")
    found = rows(world, "SELECT image_id, class_id, idempotency_key FROM annotations ORDER BY id")
    assert [f"/projects/{world.id}/images/{row['image_id']}" for row in found] == seen, "each once, in order"
    assert len({row["idempotency_key"] for row in found}) == len(seen)
    assert by_class(world) == [len(seen) // 10] * 10


@pytest.fixture
def world(system: System) -> World:
    return open_for_labelling(hang(system, digits(150), [f"digit {n}" for n in range(10)], name="Train", initial=120))


def test_fifty_answers_given_while_the_service_is_down_survive_the_browser_and_arrive_once(
    system: System, world: World, service: Service, open_browser: Callable[[str], BrowserContext]
) -> None:
    add_user(system, "ann", "Ann")
    browser = open_browser(service.base)
    sign_in(browser.pages[0])
    seen = label_fifty_offline(browser.pages[0], world, service)
    browser.close()

    again = open_browser(service.base)
    page = again.pages[0]
    page.goto(f"/projects/{world.id}/label")  # as it was kept: the service is still down
    expect(page.locator("#sent")).to_have_text(f"{OFFLINE_LABELS} answers waiting to be sent")
    more = [press(page, str(number % 10)) for number in range(10)]
    assert len({*seen, *more}) == 60, "what was taken along goes on where it was left"
    assert counts(world).human == 0
    service.up()
    expect(page.locator("#sent")).to_have_text("Every answer is saved", timeout=30_000)  # it tries every ten seconds
    assert_all_arrived_once(world, [*seen, *more])
    again.close()


def test_a_browser_that_was_signed_out_keeps_nothing_to_open(
    system: System, world: World, service: Service, open_browser: Callable[[str], BrowserContext]
) -> None:
    add_user(system, "ann", "Ann")
    browser = open_browser(service.base)
    page = browser.pages[0]
    sign_in(page)
    page.goto(f"/projects/{world.id}/label")
    expect(page.get_by_alt_text(TAKEN)).to_be_visible()
    page.wait_for_function("async () => (await caches.match(location.pathname)) !== undefined")
    page.goto("/")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    assert page.evaluate("caches.keys()") == []
    service.down()
    with pytest.raises(Error, match="ERR_FAILED"):
        page.goto(f"/projects/{world.id}/label")
    browser.close()


def test_they_survive_a_browser_that_is_killed(
    system: System, world: World, service: Service, open_browser: Callable[[str], BrowserContext], tmp_path: Path
) -> None:
    add_user(system, "ann", "Ann")
    browser = open_browser(service.base)
    sign_in(browser.pages[0])
    seen = label_fifty_offline(browser.pages[0], world, service)
    browser.pages[0].wait_for_timeout(500)
    os.kill(_browser_pid(tmp_path / "profile"), signal.SIGKILL)
    wait_for(lambda: not _is_running(tmp_path / "profile"), "the browser to be gone")

    service.up()
    again = open_browser(service.base)
    page = again.pages[0]
    page.goto(f"/projects/{world.id}/label")
    if "/sign-in" in page.url:  # Chromium writes cookies every 30 seconds: killed before, it has forgotten the session
        _say_who(page)
        page.wait_for_url("**/label")
    all_saved(page)
    assert_all_arrived_once(world, seen)
    again.close()


def _browser_pid(profile: Path) -> int:
    """Of the browser's main process: Chromium notes it in its profile's lock."""
    return int(str((profile / "SingletonLock").readlink()).rsplit("-", 1)[1])


def _is_running(profile: Path) -> bool:
    try:
        os.kill(_browser_pid(profile), 0)
    except (ProcessLookupError, FileNotFoundError):
        return False
    return "Z" not in Path(f"/proc/{_browser_pid(profile)}/stat").read_text().rsplit(")", 1)[1][:3]


def test_two_browsers_on_one_queue_never_see_the_same_image_and_one_that_dies_gives_its_own_back(
    visit: Visit, system: System
) -> None:
    world = open_for_labelling(hang(system, digits(40), ["odd", "even"], name="Queue", initial=30, lease_seconds=4))
    ann, bob = visit("ann"), visit("bob")
    pages = [open_page(ann, world), open_page(bob, world)]
    seen = [press(page, "1") for _ in range(5) for page in pages]
    assert len(set(seen)) == 10
    wait_for(lambda: counts(world).human == 10, "their answers")
    held = {
        row["image_id"]
        for row in rows(
            world,
            "SELECT t.image_id FROM tasks t JOIN users u ON u.id = t.holder "
            "WHERE u.username = 'bob' AND t.state = 'leased'",
        )
    }
    assert len(held) >= 4, "the next few are held ahead"

    bob.context.set_offline(True)  # no word reaches the service any more
    bob.context.close()
    seen += [press(pages[0], "2") for _ in range(3)]
    assert not {int(image.rsplit("/", 1)[1]) for image in seen[10:]} & held, "they are bob's until the lease is over"

    def returned() -> bool:
        pages[0].keyboard.press("Shift")  # ann is there
        Sweeper(system.ledger, system.rounds, every_s=60).sweep()
        mine = rows(
            world,
            "SELECT count(*) AS held FROM tasks t JOIN users u ON u.id = t.holder "
            "WHERE u.username = 'bob' AND t.state = 'leased'",
        )
        pages[0].wait_for_timeout(200)
        return mine[0]["held"] == 0

    wait_for(returned, "bob's images to return", 30)
    while counts(world).human < 30:
        seen.append(shown(pages[0]))
        pages[0].keyboard.press("1")
        pages[0].wait_for_timeout(300)
    all_saved(pages[0])
    answered = rows(world, "SELECT image_id FROM annotations WHERE undone_at IS NULL")
    assert len({row["image_id"] for row in answered}) == 30
    assert held <= {row["image_id"] for row in answered}, "the images that bob held were answered by ann"
    ann.complaints.clear()
