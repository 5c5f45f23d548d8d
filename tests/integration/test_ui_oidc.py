"""Signing in through an identity provider: a real one, over HTTP, with signed tokens."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from services.ui.app import create_app
from services.ui.passwords import hash_password
from services.ui.sessions import COOKIE
from shared.credentials import digest, new_token
from shared.db import events, invitations, members, users
from shared.db.events import Wanted
from shared.domain import Role, User
from shared.settings import OidcSettings, UiSettings
from shared.system import System
from tests.integration import identity_provider
from tests.integration.identity_provider import CLIENT_ID, CLIENT_SECRET, Identity, IdentityProvider
from tests.world import build, open_system


@dataclass
class Setting:
    system: System
    provider: IdentityProvider

    def browser(self, *, sign_up: bool = False) -> TestClient:
        oidc = OidcSettings(
            issuer=self.provider.issuer, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), sign_up=sign_up
        )
        return TestClient(create_app(self.system, UiSettings(), oidc), follow_redirects=False)

    def known(self, name: str, subject: str = "s-1", **more: Any) -> User:
        with self.system.database.transaction() as tx:
            user = users.add(tx, name, name, "-", **more)
            users.set_subject(tx, user.id, f"{self.provider.issuer} {subject}")
        return user

    def people(self) -> list[str]:
        with self.system.database.transaction() as tx:
            return [one.username for one in users.everybody(tx)]


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with identity_provider.running() as running:
        yield running


@pytest.fixture
def setting(migrated_database_url: str, tmp_path: Path, provider: IdentityProvider) -> Iterator[Setting]:
    provider.who = Identity(claims={"preferred_username": "ann", "name": "Ann Lee"})
    with open_system(migrated_database_url, tmp_path) as system:
        yield Setting(system, provider)


def at_the_provider(browser: TestClient, start: str = "/oidc/start") -> str:
    """The address that the provider leads back to."""
    answer = browser.get(start)
    assert answer.status_code == 303
    return str(httpx.get(answer.headers["location"]).headers["location"]).replace("http://testserver", "")


def test_who_the_provider_vouches_for_is_signed_in_and_led_on(setting: Setting) -> None:
    setting.known("ann")
    browser = setting.browser()
    assert "single sign-on" in browser.get("/sign-in").text
    back = browser.get(at_the_provider(browser, "/oidc/start?next=/account"))
    assert (back.status_code, back.headers["location"]) == (303, "/account")
    assert "ann" in browser.get("/account").text


def test_what_is_sent_to_the_provider_has_a_challenge_and_no_secret(setting: Setting) -> None:
    browser = setting.browser()
    location = browser.get("/oidc/start").headers["location"]
    asked = parse_qs(urlsplit(location).query)
    assert asked["code_challenge_method"] == ["S256"] and len(asked["code_challenge"][0]) == 43
    assert asked["state"][0] and asked["nonce"][0] and CLIENT_SECRET not in location


def test_somebody_new_needs_an_invitation(setting: Setting) -> None:
    browser = setting.browser()
    refused = browser.get(at_the_provider(browser))
    assert refused.status_code == 403 and "ask for an invitation" in refused.text
    assert setting.people() == [] and COOKIE not in browser.cookies


def test_with_an_invitation_they_become_a_member(setting: Setting) -> None:
    world, token = build(setting.system, pool=2), new_token()
    with setting.system.database.transaction() as tx:
        from datetime import UTC, datetime, timedelta

        ends = datetime.now(UTC) + timedelta(days=1)
        invitations.add(
            tx, token_sha256=digest(token), expires_at=ends, created_by=None, project_id=world.id, role=Role.REVIEWER
        )
    browser = setting.browser()
    back = browser.get(at_the_provider(browser, f"/oidc/start?invitation={token}"))
    assert (back.status_code, back.headers["location"]) == (303, f"/projects/{world.id}")
    with setting.system.database.transaction() as tx:
        ann = users.credentials(tx, "ann")
        assert ann is not None and ann.user.display_name == "Ann Lee"
        assert members.of_user(tx, ann.user.id)[world.id].role is Role.REVIEWER
    other = setting.browser()
    setting.provider.who = Identity(subject="s-2")
    assert other.get(at_the_provider(other, f"/oidc/start?invitation={token}")).status_code == 403, "it works once"


def test_where_everybody_may_sign_up_they_come_into_no_project(setting: Setting) -> None:
    browser = setting.browser(sign_up=True)
    assert browser.get(at_the_provider(browser)).status_code == 303
    assert "No project yet" in browser.get("/").text


def test_a_name_that_is_taken_does_not_take_over_its_account(setting: Setting) -> None:
    with setting.system.database.transaction() as tx:
        users.add(tx, "ann", "The other Ann", "-", admin=True)
    browser = setting.browser(sign_up=True)
    browser.get(at_the_provider(browser))
    assert "The other Ann" not in browser.get("/account").text
    assert len(setting.people()) == 2 and browser.get("/people").status_code == 403


def test_a_disabled_user_stays_out(setting: Setting) -> None:
    setting.known("root", subject="s-9", admin=True)
    ann = setting.known("ann")
    with setting.system.database.transaction() as tx:
        users.set_disabled(tx, ann.id, True)
    browser = setting.browser(sign_up=True)
    assert browser.get(at_the_provider(browser)).status_code == 403


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param({"iss": "https://evil.test"}, id="another issuer"),
        pytest.param({"aud": "another client"}, id="meant for somebody else"),
        pytest.param({"nonce": "of another sign-in"}, id="replayed"),
        pytest.param({"exp": int(time.time()) - 3600}, id="run out"),
    ],
)
def test_a_token_that_was_not_made_for_this_sign_in_is_not_believed(setting: Setting, lie: dict[str, Any]) -> None:
    setting.known("ann")
    setting.provider.who.lies = lie
    browser = setting.browser()
    refused = browser.get(at_the_provider(browser))
    assert refused.status_code == 403 and COOKIE not in browser.cookies


def test_a_forged_signature_is_not_believed(setting: Setting) -> None:
    setting.known("ann")
    setting.provider.who.forged = True
    browser = setting.browser()
    assert browser.get(at_the_provider(browser)).status_code == 403


def test_the_provider_may_change_its_keys(setting: Setting) -> None:
    setting.known("ann")
    browser = setting.browser()
    assert browser.get(at_the_provider(browser)).status_code == 303
    setting.provider.change_key()
    assert browser.get(at_the_provider(browser)).status_code == 303


def test_a_sign_in_ends_in_the_browser_that_began_it_and_once(setting: Setting) -> None:
    setting.known("ann")
    browser, victim = setting.browser(), setting.browser()
    back = at_the_provider(browser)
    assert victim.get(back).status_code == 403 and COOKIE not in victim.cookies
    victim.get("/oidc/start")
    assert victim.get(back).status_code == 403, "not with the state of another flow either"
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 403


PASSWORD = "a password of one's own"


def signed_in_by_password(setting: Setting, name: str = "bob") -> TestClient:
    """Who has a password and is signed in with it."""
    with setting.system.database.transaction() as tx:
        users.add(tx, name, name.title(), hash_password(PASSWORD), admin=True)
    browser = setting.browser()
    assert browser.post("/sign-in", data={"username": name, "password": PASSWORD}).status_code == 303
    return browser


def begun(browser: TestClient, password: str = PASSWORD) -> str:
    """The address that the provider leads back to once a link was begun."""
    answer = browser.post("/account/link", data={"current": password})
    assert answer.status_code == 200, answer.text
    (url,) = re.findall(r'href="(http://127[^"]+)"', answer.text)
    return str(httpx.get(unescape(url)).headers["location"]).replace("http://testserver", "")


def subject_of(setting: Setting, name: str) -> str | None:
    with setting.system.database.transaction() as tx:
        known = users.credentials(tx, name)
    assert known is not None
    return known.subject


def test_an_account_is_linked_and_signs_in_either_way(setting: Setting) -> None:
    browser = signed_in_by_password(setting)
    back = browser.get(begun(browser))
    assert (back.status_code, back.headers["location"]) == (303, "/account?done=linked")
    assert "Unlink" in browser.get("/account").text
    other = setting.browser()
    assert other.get(at_the_provider(other, "/oidc/start?next=/account")).status_code == 303
    assert "Bob" in other.get("/account").text
    with setting.system.database.transaction() as tx:
        event = next(one for one in events.search(tx, Wanted(), limit=20) if one.kind == "user.linked")
    assert event.data == {"username": "bob", "as": "ann"}


def test_a_link_takes_the_present_password(setting: Setting) -> None:
    browser = signed_in_by_password(setting)
    refused = browser.post("/account/link", data={"current": "a guess"})
    assert refused.status_code == 422 and "not your present password" in refused.text


def test_what_is_linked_to_another_account_is_not_taken_from_it(setting: Setting) -> None:
    setting.known("ann")
    browser = signed_in_by_password(setting)
    refused = browser.get(begun(browser))
    assert refused.status_code == 422 and "linked to another account" in refused.text
    assert subject_of(setting, "bob") is None and subject_of(setting, "ann") is not None


def test_a_link_ends_in_the_session_that_began_it(setting: Setting) -> None:
    """Neither somebody who signed in meanwhile in the same browser, nor nobody, nor a flow that was made up."""
    browser = signed_in_by_password(setting)
    back = begun(browser)
    browser.cookies.delete(COOKIE)
    gone = browser.get(back)
    assert gone.status_code == 403 and "session has ended" in gone.text
    browser.post("/sign-in", data={"username": "bob", "password": PASSWORD})
    back = begun(browser)
    with setting.system.database.transaction() as tx:
        users.add(tx, "eve", "Eve", hash_password(PASSWORD), admin=True)
    browser.cookies.delete(COOKIE)
    assert browser.post("/sign-in", data={"username": "eve", "password": PASSWORD}).status_code == 303
    refused = browser.get(back)
    assert refused.status_code == 422 and "not begun in this session" in refused.text
    assert (subject_of(setting, "bob"), subject_of(setting, "eve")) == (None, None)


def test_a_flow_that_somebody_made_up_links_nothing(setting: Setting) -> None:
    browser = signed_in_by_password(setting)
    back = at_the_provider(browser)
    (name,) = [one for one in browser.cookies if "oidc" in one]
    flow = json.loads(base64.urlsafe_b64decode(browser.cookies[name].strip('"')))
    value = base64.urlsafe_b64encode(json.dumps({**flow, "link": "0" * 64}).encode()).decode()
    browser.cookies.delete(name)
    browser.cookies.set(name, value, domain="testserver.local", path="/")
    refused = browser.get(back)
    assert refused.status_code == 422 and "not begun in this session" in refused.text
    assert subject_of(setting, "bob") is None


def test_a_token_that_is_not_believed_links_nothing(setting: Setting) -> None:
    browser = signed_in_by_password(setting)
    setting.provider.who.lies = {"nonce": "of another sign-in"}
    assert browser.get(begun(browser)).status_code == 403
    assert subject_of(setting, "bob") is None


def test_unlinking_takes_the_password_and_ends_every_other_session(setting: Setting) -> None:
    browser = signed_in_by_password(setting)
    browser.get(begun(browser))
    other = setting.browser()
    other.get(at_the_provider(other))
    assert browser.post("/account/unlink", data={"current": "a guess"}).status_code == 422
    done = browser.post("/account/unlink", data={"current": PASSWORD})
    assert (done.status_code, done.headers["location"]) == (303, "/account?done=unlinked")
    assert subject_of(setting, "bob") is None and browser.get("/account").status_code == 200
    assert other.get("/account").status_code == 303, "signed out"
    assert other.get(at_the_provider(other)).status_code == 403, "nobody here knows them"


def test_the_last_way_to_sign_in_is_never_unlinked(setting: Setting) -> None:
    setting.known("ann")
    browser = setting.browser()
    browser.get(at_the_provider(browser))
    assert "You have no password here" in browser.get("/account").text
    refused = browser.post("/account/unlink", data={"current": "-"})
    assert refused.status_code == 422 and "An admin can give you one" in refused.text
    assert subject_of(setting, "ann") is not None


def test_without_a_provider_there_is_nothing_to_begin(setting: Setting) -> None:
    browser = TestClient(create_app(setting.system, UiSettings()), follow_redirects=False)
    assert browser.get("/oidc/start").status_code == 404
    assert "Sign in with" not in browser.get("/sign-in").text
