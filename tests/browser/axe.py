"""Looks at a page with axe-core: what would keep somebody from using it, by the rules of WCAG 2.2 A and AA.

>>> assert_usable(page)
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.servers import Unavailable
from tests.servers import axe as axe_core

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
GRAVE = ("serious", "critical")


def assert_usable(page: Page) -> None:
    """No serious or critical finding on the page as it is now.

    Skipped where axe-core can't be had, which is a failure where ``CI=true``. The script is run by the browser's tools
    and not by the page, whose content security policy stays in force.
    """
    found = findings(page)
    grave = [f"{one['impact']}: {one['id']} at {_places(one)}" for one in found if one["impact"] in GRAVE]
    assert not grave, "\n".join(grave)


def findings(page: Page) -> list[dict[str, Any]]:
    """Every violation, as axe-core reports it."""
    try:
        script = axe_core.find()
    except Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))
    page.evaluate(script.read_text())
    report: dict[str, Any] = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", list(TAGS)
    )
    violations: list[dict[str, Any]] = report["violations"]
    return violations


def _places(violation: dict[str, Any]) -> str:
    return "; ".join(f"{node['html'][:160]} ({node['failureSummary'][:200]})" for node in violation["nodes"][:5])
