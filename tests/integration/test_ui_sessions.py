"""What a session is worth, how long, and what a page of another session or site can do with it: nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.ui.app import create_app
from services.ui.assets import TEMPLATES
from services.ui.form_tokens import HEADER, token_of
from services.ui.sessions import COOKIE
from services.ui.throttle import FAILURES, WINDOW_S, Throttle
from shared.credentials import digest
from shared.db import sessions
from shared.settings import UiSettings
from shared.system import System
from tests.browser.gallery import PASSWORD, add_user
from tests.world import open_system

FROM_HERE = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        add_user(opened, "ann", "Ann Lee")
        yield opened


def signed_in(system: System, **settings: object) -> TestClient:
    client = TestClient(create_app(system, UiSettings(**settings)), follow_redirects=False)  # type: ignore[arg-type]
    assert client.post("/sign-in", data={"username": "ann", "password": PASSWORD}).status_code == 303
    return client


# Sessions


def test_a_sign_in_never_goes_on_under_a_token_that_was_there_before(system: System) -> None:
    planted = "somebody-else-put-this-here"
    client = TestClient(create_app(system, UiSettings()), follow_redirects=False, cookies={COOKIE: planted})
    answer = client.post("/sign-in", data={"username": "ann", "password": PASSWORD})
    given = re.search(rf"{COOKIE}=([^;]+)", answer.headers["set-cookie"])
    assert given and given[1] != planted
    thief = TestClient(client.app, follow_redirects=False, cookies={COOKIE: planted})
    assert thief.get("/").status_code == 303


def test_signing_in_again_ends_the_session_before_it(system: System) -> None:
    client = signed_in(system)
    old = client.cookies[COOKIE]
    client.post("/sign-in", data={"username": "ann", "password": PASSWORD})
    assert client.cookies[COOKIE] != old
    with system.database.transaction() as tx:
        assert sessions.find(tx, digest(old), idle_minutes=60) is None


def test_a_session_ends_when_it_is_not_used_and_goes_on_while_it_is(system: System) -> None:
    client = signed_in(system, idle_minutes=30)

    def passes(minutes: int) -> None:
        with system.database.transaction() as tx:
            tx.run("UPDATE sessions SET last_seen_at = last_seen_at - make_interval(mins => %(m)s)", {"m": minutes})

    passes(20)
    assert client.get("/").status_code == 200
    passes(20)
    assert client.get("/").status_code == 200, "it was used meanwhile"
    passes(31)
    assert client.get("/").status_code == 303


def test_a_session_ends_however_much_it_is_used(system: System) -> None:
    client = signed_in(system)
    with system.database.transaction() as tx:
        tx.run("UPDATE sessions SET expires_at = now() - interval '1 s'")
    assert client.get("/").status_code == 303


def test_over_tls_the_cookie_is_this_hosts_alone(system: System) -> None:
    client = TestClient(
        create_app(system, UiSettings(secure_cookies=True)), follow_redirects=False, base_url="https://testserver"
    )
    answer = client.post("/sign-in", data={"username": "ann", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert (
        cookie.startswith(f"__Host-{COOKIE}=") and "Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie
    )
    assert client.get("/").status_code == 200
    client.post("/sign-out")
    assert client.get("/").status_code == 303


# Form tokens


def test_a_browsers_post_needs_the_token_of_its_session(system: System) -> None:
    client, url = signed_in(system), "/account/sessions/end-others"
    token = token_of(client.cookies[COOKIE])
    assert client.post(url, headers=FROM_HERE).status_code == 403
    assert client.post(url, headers=FROM_HERE, data={"csrf": token_of("another session")}).status_code == 403
    assert client.post(url, headers=FROM_HERE, data={"csrf": token}).status_code == 303
    assert client.post(url, headers={**FROM_HERE, HEADER: token}).status_code == 303
    assert client.post(f"{url}?csrf={token}", headers=FROM_HERE).status_code == 303
    assert client.post(url, headers={"Origin": "https://evil.test"}, data={"csrf": token}).status_code == 403


def test_the_refusal_is_one_that_a_page_can_mend(system: System) -> None:
    client = signed_in(system)
    refused = client.post("/v1/projects/1/leases", headers=FROM_HERE, json={"count": 1})
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:winnow:problem:form-token")
    fresh = client.get("/form-token").json()["token"]
    mended = client.post("/v1/projects/1/leases", headers={**FROM_HERE, HEADER: fresh}, json={"count": 1})
    assert mended.status_code == 404, "there is no project, and that is what is said now"


def test_the_form_that_was_read_for_its_token_arrives_whole(system: System) -> None:
    client = signed_in(system)
    page = client.get("/projects/new").text
    token = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert token
    form = {"csrf": token[1], "name": "birds", "classes": "heron\nswan", "kind": "photos"}
    made = client.post("/projects/new", headers=FROM_HERE, data=form)
    assert (made.status_code, made.headers["location"]) == (303, "/projects/1/data")


def test_every_form_that_posts_carries_the_token(system: System) -> None:
    client = signed_in(system)
    for path in ("/", "/projects/new", "/account", "/people", "/keys", "/system"):
        page = client.get(path).text
        posts = re.findall(r'<form\b[^>]*method="post"[^>]*>(.{0,40})', page, re.DOTALL)
        assert posts and all('name="csrf"' in after for after in posts), path


def test_no_template_writes_its_posts_so_that_the_field_would_be_missed() -> None:
    for template in Path(TEMPLATES).rglob("*.html"):
        for tag in re.findall(r"<form\b[^>]*>", template.read_text()):
            assert not re.search(r"method=(?!\"(post|get|dialog)\")", tag), f"{template.name}: {tag}"


# Throttling


def test_after_too_many_failures_a_name_must_wait_at_that_address_also_after_a_restart(system: System) -> None:
    throttle = Throttle(system.database)
    for _ in range(FAILURES):
        assert throttle.wait_s("ann", "10.0.0.1") == 0
        throttle.failed("ann", "10.0.0.1")
    again = Throttle(system.database)
    assert WINDOW_S - 30 < again.wait_s("ann", "10.0.0.1") <= WINDOW_S
    assert again.wait_s("ann", "10.0.0.2") == 0, "nobody is locked out from elsewhere"
    assert again.wait_s("bob", "10.0.0.1") == 0
    with system.database.transaction() as tx:
        tx.run("UPDATE sign_in_failures SET at = at - make_interval(secs => %(s)s)", {"s": WINDOW_S})
    assert again.wait_s("ann", "10.0.0.1") == 0


def test_a_success_forgets_the_failures(system: System) -> None:
    throttle = Throttle(system.database)
    for _ in range(FAILURES):
        throttle.failed("ann", "10.0.0.1")
    throttle.succeeded("ann", "10.0.0.1")
    assert throttle.wait_s("ann", "10.0.0.1") == 0


def test_failures_that_no_longer_count_are_not_kept(system: System) -> None:
    throttle = Throttle(system.database)
    throttle.failed("x" * 500, "10.0.0.1")
    with system.database.transaction() as tx:
        tx.run("UPDATE sign_in_failures SET at = at - interval '1 hour'")
    throttle.failed("ann", "10.0.0.1")
    with system.database.transaction() as tx:
        assert [row["username"] for row in tx.all("SELECT username FROM sign_in_failures")] == ["ann"]
