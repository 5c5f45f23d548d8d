"""Somebody with a password links their account to an identity provider, in a browser that keeps to its own rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pydantic import SecretStr

from services.ui.app import create_app
from shared.settings import OidcSettings, UiSettings
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE
from tests.browser.gallery import PASSWORD, add_user, serve
from tests.integration import identity_provider
from tests.integration.identity_provider import CLIENT_ID, CLIENT_SECRET, Identity


@pytest.fixture
def address(system: System) -> Iterator[str]:
    """Of a ui whose users may come through an identity provider."""
    with identity_provider.running() as provider:
        provider.who = Identity(claims={"preferred_username": "ann.lee", "name": "Ann Lee"})
        settings = OidcSettings(
            issuer=provider.issuer, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), name="Acme Login"
        )
        with serve(create_app(system, UiSettings(), settings)) as served:
            yield served


def sign_in(page: Page) -> None:
    page.goto("/sign-in")
    page.get_by_label("User name").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")


@pytest.mark.parametrize("look", [{}, {"color_scheme": "dark", **PHONE}], ids=["desktop", "phone-dark"])
def test_an_account_is_linked_used_and_unlinked(
    chromium: Browser, system: System, address: str, look: dict[str, Any]
) -> None:
    add_user(system, "ann", "Ann")
    with chromium.new_context(base_url=address, **look) as context:
        page = context.new_page()
        sign_in(page)
        page.goto("/account")
        part = page.get_by_role("region", name="Acme Login")
        assert_usable(page)
        part.get_by_label("Present password").fill(PASSWORD)
        part.get_by_role("button", name="Link to Acme Login").click()
        expect(page.get_by_role("status")).to_contain_text("Your account is linked")
        context.clear_cookies()
        page.goto("/sign-in")
        page.get_by_role("link", name="Sign in with Acme Login").click()
        page.wait_for_url(f"{address}/")
        page.goto("/account")
        assert_usable(page)
        part.get_by_label("Present password").fill(PASSWORD)
        part.get_by_role("button", name="Unlink").click()
        expect(page.get_by_role("status")).to_contain_text("The link is gone")
