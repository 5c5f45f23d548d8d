"""Signing in: who gets in, who doesn't, and what a session's cookie is worth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from services.ui.app import create_app
from services.ui.passwords import is_outdated
from services.ui.throttle import FAILURES
from shared.db import users
from shared.settings import UiSettings
from shared.system import System
from tests.browser.gallery import PASSWORD, add_user
from tests.world import open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        add_user(opened, "ann", "Ann Lee")
        yield opened


@pytest.fixture
def client(system: System) -> TestClient:
    return TestClient(create_app(system, UiSettings()), follow_redirects=False)


def sign_in(client: TestClient, username: str = "ann", password: str = PASSWORD, **more: str) -> int:
    form = {"username": username, "password": password, **more}
    return int(client.post("/sign-in", data=form).status_code)


def test_the_right_password_opens_a_session(client: TestClient) -> None:
    response = client.post("/sign-in", data={"username": " Ann ", "password": PASSWORD, "next": "/projects/7/label"})
    assert (response.status_code, response.headers["location"]) == (303, "/projects/7/label")
    assert client.get("/").status_code == 200
    assert "Ann Lee" in client.get("/").text


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(client: TestClient) -> None:
    cookie = client.post("/sign-in", data={"username": "ann", "password": PASSWORD}).headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "path=/" in cookie and "max-age=43200" in cookie
    assert "secure" not in cookie


def test_behind_tls_the_cookie_is_never_sent_without_it(system: System) -> None:
    client = TestClient(create_app(system, UiSettings(secure_cookies=True)), follow_redirects=False)
    response = client.post("/sign-in", data={"username": "ann", "password": PASSWORD})
    assert "secure" in response.headers["set-cookie"].lower()


def test_the_database_holds_only_the_digest_of_a_session(system: System, client: TestClient) -> None:
    sign_in(client)
    with system.ledger.transaction() as tx:
        row = tx.one("SELECT token_sha256 FROM sessions")
    assert row is not None and client.cookies["winnow_session"].encode() not in bytes(row["token_sha256"])


@pytest.mark.parametrize(
    ("username", "password"), [("ann", "wrong password"), ("nobody", PASSWORD), ("ann", ""), ("", "")]
)
def test_what_is_wrong_opens_nothing_and_does_not_say_what_was_wrong(
    client: TestClient, username: str, password: str
) -> None:
    response = client.post("/sign-in", data={"username": username, "password": password})
    assert response.status_code == 401
    assert "belong together" in response.text and "set-cookie" not in response.headers


def test_guessing_is_slowed_down_for_that_name_only(system: System, client: TestClient) -> None:
    add_user(system, "bob")
    for _ in range(FAILURES):
        assert sign_in(client, password="guess guess") == 401
    refused = client.post("/sign-in", data={"username": "ann", "password": PASSWORD})
    assert refused.status_code == 429 and 0 < int(refused.headers["retry-after"]) <= 300
    assert sign_in(client, "bob") == 303


@pytest.mark.parametrize("elsewhere", ["https://evil.test/", "//evil.test/", "/\\evil.test/"])
def test_a_sign_in_does_not_lead_to_another_site(client: TestClient, elsewhere: str) -> None:
    page = client.get("/sign-in", params={"next": elsewhere})
    assert "evil.test" not in page.text
    response = client.post("/sign-in", data={"username": "ann", "password": PASSWORD, "next": elsewhere})
    assert response.headers["location"] == "/"
    assert client.get("/sign-in", params={"next": elsewhere}).headers["location"] == "/"


def test_pages_lead_to_the_sign_in_and_calls_are_refused(client: TestClient) -> None:
    page = client.get("/projects/3/label?x=1")
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in?next=%2Fprojects%2F3%2Flabel%3Fx%3D1")
    call = client.get("/v1/projects/3/state")
    assert call.status_code == 401
    assert call.headers["content-type"] == "application/problem+json" and call.json()["request_id"]


def test_a_password_hashed_with_weaker_parameters_is_hashed_anew(system: System, client: TestClient) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8 * 1024).hash(PASSWORD)
    with system.ledger.transaction() as tx:
        users.set_password(tx, "ann", weak)
    assert sign_in(client) == 303
    with system.ledger.transaction() as tx:
        stored = users.credentials(tx, "ann")
    assert stored is not None and not is_outdated(stored.password_hash)
    assert sign_in(client) == 303


def test_signing_out_ends_the_session_everywhere(client: TestClient) -> None:
    sign_in(client)
    token = client.cookies["winnow_session"]
    assert client.post("/sign-out").headers["location"] == "/sign-in"
    client.cookies.set("winnow_session", token)
    assert client.get("/").status_code == 303


def test_a_made_up_cookie_is_nobody(client: TestClient) -> None:
    client.cookies.set("winnow_session", "made-up")
    assert client.get("/").status_code == 303


def test_a_disabled_user_is_out_at_once(system: System, client: TestClient) -> None:
    sign_in(client)
    with system.ledger.transaction() as tx:
        tx.run("UPDATE users SET disabled = true WHERE username = 'ann'")
    assert client.get("/v1/projects/1/state").status_code == 401
    assert sign_in(client) == 401


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}])
def test_what_another_site_makes_a_browser_post_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    sign_in(client)
    refused = client.post("/v1/projects/1/start", headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:winnow:problem:forbidden")
    assert client.post("/sign-out", headers=headers).status_code == 403
    assert client.get("/").status_code == 200, "and the session goes on"


def test_this_services_own_pages_may_post(client: TestClient) -> None:
    headers = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/sign-in", data={"username": "ann", "password": PASSWORD}, headers=headers).status_code == 303


def test_every_answer_tells_the_browser_to_trust_this_service_only(client: TestClient) -> None:
    for path in ("/sign-in", "/", "/v1/projects/1/state", "/nowhere"):
        headers = client.get(path).headers
        assert "script-src 'self';" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["x-request-id"]


def test_health_is_told_without_signing_in(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert "winnow_http_seconds" in client.get("/metrics").text


def test_a_person_who_follows_a_dead_link_gets_a_page(client: TestClient) -> None:
    sign_in(client)
    for path in ("/projects/999", "/projects/abc", "/nowhere"):
        page = client.get(path, headers={"accept": "text/html"})
        assert page.status_code in (404, 422) and "All projects" in page.text
    assert client.get("/v1/projects/999/state", headers={"accept": "text/html"}).json()["status"] == 404


def test_plotly_comes_from_here_and_may_be_kept(client: TestClient) -> None:
    from services.ui.assets import PLOTLY_PATH

    small = client.get(PLOTLY_PATH)
    assert small.status_code == 200 and b"plotly.js v" in small.content[:200]
    assert small.headers["content-encoding"] == "gzip" and "immutable" in small.headers["cache-control"]
    whole = client.get(PLOTLY_PATH, headers={"accept-encoding": "identity"})
    assert whole.content == small.content and "content-encoding" not in whole.headers
    assert int(small.headers["content-length"]) < int(whole.headers["content-length"]) / 3
