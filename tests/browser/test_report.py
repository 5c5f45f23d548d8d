"""The report of a comparison in a real browser: it loads nothing, complains of nothing, and fits narrow screens."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.unit.test_report import summary
from winnow.report import write_report


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_report_stands_alone(chromium: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    write_report(tmp_path / "report.html", summary(imbalance=20.0))
    context = chromium.new_context(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 900}
    )
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "report.html").as_uri())
    drawn = page.evaluate("[...document.images].map(one => [one.naturalWidth, one.currentSrc === one.src])")
    assert len(drawn) == 4 and all(wide > 0 for wide, _ in drawn)
    assert {is_light for _, is_light in drawn} == {scheme == "light"}
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert complaints == []
    context.close()
