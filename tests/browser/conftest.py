"""A real browser against the real service, on a real socket."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Playwright, sync_playwright

from services.ui.app import create_app
from shared.settings import UiSettings
from shared.system import System
from tests.browser.gallery import PASSWORD, add_user, serve
from tests.world import open_system

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 30_000
DESKTOP = {"width": 1280, "height": 800}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}


def _launch(playwright: Playwright) -> Browser:
    """Chromium: the one that ``WINNOW_TEST_CHROMIUM`` names, else Playwright's own, else one on the PATH."""
    named = os.environ.get("WINNOW_TEST_CHROMIUM")
    if named:
        return playwright.chromium.launch(executable_path=named, args=ARGUMENTS)
    if Path(playwright.chromium.executable_path).exists():
        return playwright.chromium.launch(args=ARGUMENTS)
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise Error(f"there is no Chromium: set WINNOW_TEST_CHROMIUM, or install one of {', '.join(NAMES)}")
    return playwright.chromium.launch(executable_path=found, args=ARGUMENTS)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for this folder only: while it lives, Playwright keeps an event loop running in the main thread."""
    with sync_playwright() as playwright:
        try:
            browser = _launch(playwright)
        except Error as reason:
            if os.environ.get("CI") == "true":
                pytest.fail(str(reason), pytrace=False)
            pytest.skip(str(reason))
        yield browser
        browser.close()


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def address(system: System) -> Iterator[str]:
    with serve(create_app(system, UiSettings())) as base:
        yield base


def _is_complaint(message: ConsoleMessage) -> bool:
    """Not what a browser without a graphics card says of drawing by the processor."""
    return message.type in ("error", "warning") and "GL Driver Message (OpenGL, Performance" not in message.text


@dataclass
class Visitor:
    """Somebody who is signed in, in a browser of their own, and what that browser complained about."""

    page: Page
    context: BrowserContext
    complaints: list[str]


@pytest.fixture
def visit(chromium: Browser, system: System, address: str) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors. At the end of the test none of their pages may have complained."""
    visitors: list[Visitor] = []

    def make(username: str = "ann", **options: Any) -> Visitor:
        """``options`` go to the browser: a viewport, a colour scheme, a finger in place of a mouse."""
        add_user(system, username, username.title())
        context = chromium.new_context(
            **{"base_url": address, "viewport": DESKTOP, "locale": "en-GB", "timezone_id": "UTC", **options}
        )
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        visitor = Visitor(page=page, context=context, complaints=[])
        page.on("console", lambda m: visitor.complaints.append(m.text) if _is_complaint(m) else None)
        page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        visitors.append(visitor)
        page.goto("/sign-in")
        page.get_by_label("User name").fill(username)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(address + "/")
        return visitor

    yield make
    for visitor in visitors:
        visitor.context.close()
    assert [text for visitor in visitors for text in visitor.complaints] == []


@pytest.fixture
def picture_of(tmp_path: Path) -> Callable[[Page, str], Path]:
    """Takes a screenshot: for the documentation when ``WINNOW_WRITE_SCREENSHOTS=1``, else for this run only."""
    docs = Path(__file__).parents[2] / "docs" / "img"
    folder = docs if os.environ.get("WINNOW_WRITE_SCREENSHOTS") == "1" else tmp_path

    def take(page: Page, name: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / name, animations="disabled")
        return folder / name

    return take
