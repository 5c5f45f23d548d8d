"""The browser that a benchmark drives: the one ``WINNOW_TEST_CHROMIUM`` names, Playwright's own, or the system's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import NotFound

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Raises ``NotFound`` where there is no Playwright, or no Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise NotFound("this benchmark drives a browser: pip install playwright, and have Chromium") from None
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        found = os.environ.get("WINNOW_TEST_CHROMIUM") or (str(own) if own.exists() else None)
        found = found or next((path for name in NAMES if (path := shutil.which(name))), None)
        if found is None:
            raise NotFound(f"there is no Chromium: set WINNOW_TEST_CHROMIUM, or install one of {', '.join(NAMES)}")
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()
