"""The people of a project and of the system, invitations, keys, and one's own account."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.api.app import create_app as create_api
from services.ui.app import create_app
from services.ui.sessions import COOKIE
from shared.credentials import digest, new_token
from shared.db import events, invitations, keys, members, users
from shared.db.events import Wanted
from shared.domain import Role, Scope, User, UserKind
from shared.settings import ApiSettings, UiSettings
from shared.system import System
from tests.browser.gallery import PASSWORD, add_user
from tests.integration.ui_support import text_of
from tests.world import World, build, open_system


class House:
    def __init__(self, system: System) -> None:
        self.system = system
        self.world: World = build(system, pool=2)
        self.app = create_app(system, UiSettings())

    def client(self, user: User) -> TestClient:
        token = new_token()
        with self.system.database.transaction() as tx:
            users.open_session(tx, user.id, digest(token), hours=1)
        return TestClient(self.app, cookies={COOKIE: token}, follow_redirects=False)

    def user(self, name: str, role: Role | None = None, *, admin: bool = False) -> User:
        with self.system.database.transaction() as tx:
            user = users.add(tx, name, name.title(), "-", admin=admin)
            if role is not None:
                members.put(tx, self.world.id, user.id, role)
        return user

    def role_of(self, user: User) -> Role | None:
        with self.system.database.transaction() as tx:
            found = members.of_user(tx, user.id).get(self.world.id)
        return found.role if found else None

    def log(self) -> list[str]:
        with self.system.database.transaction() as tx:
            return [event.kind for event in events.search(tx, Wanted())]


@pytest.fixture
def house(migrated_database_url: str, tmp_path: Path) -> Iterator[House]:
    with open_system(migrated_database_url, tmp_path) as system:
        yield House(system)


@pytest.fixture
def manager(house: House) -> TestClient:
    return house.client(house.user("max", Role.MANAGER))


@pytest.fixture
def admin(house: House) -> TestClient:
    return house.client(house.user("root", admin=True))


def link_on(page: str) -> str:
    found = re.search(r'value="http://testserver(/invitations/[^"]+)"', page)
    assert found, page
    return found[1]


def secret_on(page: str) -> str | None:
    found = re.search(r'value="(wnw_[0-9a-f]{8}_[^"]+)"', page)
    return found[1] if found else None


# The people of a project


def test_a_manager_lets_somebody_in_changes_their_role_and_removes_them(house: House, manager: TestClient) -> None:
    ann, base = house.user("ann"), f"/projects/{house.world.id}/people"
    assert manager.post(base, data={"username": "ANN", "role": "annotator"}).status_code == 303
    assert house.role_of(ann) is Role.ANNOTATOR
    manager.post(f"{base}/{ann.id}/role", data={"role": "reviewer"})
    assert house.role_of(ann) is Role.REVIEWER
    assert "Ann" in text_of(manager.get(base).text)
    manager.post(f"{base}/{ann.id}/remove")
    assert house.role_of(ann) is None
    assert house.log()[:3] == ["member.removed", "member.role_changed", "member.added"]


def test_who_is_not_a_user_is_to_be_invited(house: House, manager: TestClient) -> None:
    page = manager.post(f"/projects/{house.world.id}/people", data={"username": "nobody", "role": "annotator"})
    assert page.status_code == 422 and "invite them" in page.text


def test_who_is_paused_is_shown_with_the_reason_until_they_are_resumed(house: House, manager: TestClient) -> None:
    ann, base = house.user("ann", Role.ANNOTATOR), f"/projects/{house.world.id}/people"
    manager.post(f"{base}/{ann.id}/pause", data={"reason": "clicks without looking"})
    assert "clicks without looking" in manager.get(base).text
    manager.post(f"{base}/{ann.id}/resume")
    assert "clicks without looking" not in manager.get(base).text


# Invitations


def test_an_invitation_makes_a_member_once(house: House, manager: TestClient) -> None:
    base = f"/projects/{house.world.id}/people"
    shown = manager.post(f"{base}/invitations", data={"role": "reviewer", "days": "3", "note": "Ben"})
    link = link_on(shown.text)
    assert link not in manager.get(base).text, "it is shown once"
    guest = TestClient(house.app, follow_redirects=False)
    assert "as reviewer" in text_of(guest.get(link).text)
    form = {"username": "Ben", "display_name": "Ben B.", "password": PASSWORD, "again": PASSWORD}
    joined = guest.post(link, data=form)
    assert (joined.status_code, joined.headers["location"]) == (303, f"/projects/{house.world.id}")
    assert guest.get(f"/projects/{house.world.id}").status_code == 200, "and is signed in"
    with house.system.database.transaction() as tx:
        ben = users.credentials(tx, "ben")
    assert ben is not None and house.role_of(ben.user) is Role.REVIEWER and not ben.user.is_admin
    assert guest.get(link).status_code == guest.post(link, data=form).status_code == 404
    assert "used by Ben B." in text_of(manager.get(base).text)


@pytest.mark.parametrize("end", ["revoked", "expired", "made up"])
def test_an_invitation_that_ended_lets_nobody_in(house: House, manager: TestClient, end: str) -> None:
    base = f"/projects/{house.world.id}/people"
    link = link_on(manager.post(f"{base}/invitations", data={"role": "annotator"}).text)
    with house.system.database.transaction() as tx:
        (made,) = invitations.of_project(tx, house.world.id)
        if end == "expired":
            tx.run("UPDATE invitations SET expires_at = now() - interval '1 s'")
    if end == "revoked":
        manager.post(f"{base}/invitations/{made.id}/revoke")
    if end == "made up":
        link = f"/invitations/{new_token()}"
    guest = TestClient(house.app, follow_redirects=False)
    form = {"username": "eve", "password": PASSWORD, "again": PASSWORD}
    assert guest.get(link).status_code == guest.post(link, data=form).status_code == 404
    with house.system.database.transaction() as tx:
        assert users.credentials(tx, "eve") is None


def test_a_bad_choice_leaves_the_invitation_open(house: House, manager: TestClient) -> None:
    house.user("ann")
    link = link_on(manager.post(f"/projects/{house.world.id}/people/invitations", data={"role": "annotator"}).text)
    guest = TestClient(house.app, follow_redirects=False)
    good = {"username": "eve", "password": PASSWORD, "again": PASSWORD}
    short = {"password": "x", "again": "x"}
    for bad in ({"username": "ann"}, {"again": "other words"}, short, {"username": "no spaces"}):
        assert guest.post(link, data={**good, **bad}).status_code == 422
    assert guest.post(link, data=good).status_code == 303


def test_who_has_an_account_takes_an_invitation_with_it(house: House, manager: TestClient) -> None:
    link = link_on(manager.post(f"/projects/{house.world.id}/people/invitations", data={"role": "annotator"}).text)
    ann = house.user("ann")
    client = house.client(ann)
    assert "Accept as Ann" in client.get(link).text
    assert client.post(f"/account{link}").status_code == 303
    assert house.role_of(ann) is Role.ANNOTATOR


def test_only_an_admin_invites_an_admin(house: House, admin: TestClient, manager: TestClient) -> None:
    assert manager.post("/people/invitations", data={"admin": "1"}).status_code == 403
    link = link_on(admin.post("/people/invitations", data={"admin": "1"}).text)
    form = {"username": "eve", "password": PASSWORD, "again": PASSWORD}
    TestClient(house.app, follow_redirects=False).post(link, data=form)
    with house.system.database.transaction() as tx:
        eve = users.credentials(tx, "eve")
    assert eve is not None and eve.user.is_admin


# Everybody


def test_an_admin_disables_somebody_who_is_out_at_once(house: House, admin: TestClient) -> None:
    ann = house.user("ann", Role.ANNOTATOR)
    client = house.client(ann)
    assert client.get("/").status_code == 200
    admin.post(f"/people/{ann.id}/disabled", data={"disabled": "1"})
    assert client.get("/").status_code == 303
    admin.post(f"/people/{ann.id}/disabled")
    assert client.get("/").status_code == 303, "the old session stays ended"
    assert house.client(ann).get("/").status_code == 200


def test_there_is_always_an_admin(house: House, admin: TestClient) -> None:
    with house.system.database.transaction() as tx:
        root = users.credentials(tx, "root")
    assert root is not None
    refused = admin.post(f"/people/{root.user.id}/admin")
    assert refused.status_code == 422 and "nobody would be an admin" in refused.text
    other = house.user("eve", admin=True)
    assert admin.post(f"/people/{root.user.id}/admin").status_code == 303
    last = house.client(other).post(f"/people/{other.id}/admin")
    assert last.status_code == 422


def test_signing_somebody_out_everywhere_ends_their_sessions(house: House, admin: TestClient) -> None:
    ann = house.user("ann")
    client = house.client(ann)
    admin.post(f"/people/{ann.id}/sign-out")
    assert client.get("/account").status_code == 303


# Keys


def test_a_managers_key_is_shown_once_and_works_in_their_project_alone(house: House, manager: TestClient) -> None:
    other = build(house.system, pool=2, name="other")
    base = f"/projects/{house.world.id}/keys"
    secret = secret_on(manager.post(base, data={"name": "ci", "scopes": ["read"], "days": "30"}).text)
    assert secret is not None and secret_on(manager.get(base).text) is None
    api = TestClient(create_api(house.system, ApiSettings()), headers={"Authorization": f"Bearer {secret}"})
    assert api.get(f"/v1/projects/{house.world.id}/state").status_code == 200
    assert api.get(f"/v1/projects/{other.id}/state").status_code == 404
    assert manager.post(base, data={"name": "v", "scopes": ["batch"]}).status_code == 422
    assert manager.post(base, data={"name": "none"}).status_code == 422


def test_a_key_is_rotated_with_two_live_and_a_third_refused(house: House, manager: TestClient) -> None:
    base = f"/projects/{house.world.id}/keys"
    first = secret_on(manager.post(base, data={"name": "ci", "scopes": ["read", "ingest"]}).text) or ""
    prefix = "_".join(first.split("_")[:2])
    second = secret_on(manager.post(f"{base}/{prefix}/rotate").text)
    assert second is not None and second != first
    with house.system.database.transaction() as tx:
        both = [one.key for one in keys.listed(tx, house.world.id)]
    assert [one.scopes for one in both] == [{Scope.READ, Scope.INGEST}] * 2
    refused = manager.post(f"{base}/{prefix}/rotate")
    assert refused.status_code == 422 and "2 live keys" in refused.text
    api = TestClient(create_api(house.system, ApiSettings()))
    for secret in (first, second):
        assert api.get("/v1/projects", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    manager.post(f"{base}/{prefix}/revoke")
    assert api.get("/v1/projects", headers={"Authorization": f"Bearer {first}"}).status_code == 401
    assert secret_on(manager.post(f"{base}/{'_'.join(second.split('_')[:2])}/rotate").text), "there is room again"


def test_a_manager_touches_no_key_of_another_project(house: House, manager: TestClient) -> None:
    with house.system.database.transaction() as tx:
        new, _ = keys.make(tx, name="all", scopes=[Scope.MANAGE])
    base = f"/projects/{house.world.id}/keys"
    assert manager.post(f"{base}/{new.prefix}/revoke").status_code == 404
    assert secret_on(manager.post(f"{base}/{new.prefix}/rotate").text) is None
    assert new.prefix not in manager.get(base).text


def test_an_admin_makes_a_vendor_and_its_key_of_scope_batch(house: House, admin: TestClient) -> None:
    admin.post("/people/vendors", data={"username": "acme", "display_name": "Acme"})
    with house.system.database.transaction() as tx:
        (vendor,) = users.everybody(tx, kind=UserKind.VENDOR)
    made = admin.post("/keys", data={"name": "acme", "scopes": ["manage"], "vendor": str(vendor.id)})
    assert secret_on(made.text)
    with house.system.database.transaction() as tx:
        (listed,) = keys.listed(tx)
    assert listed.key.scopes == {Scope.BATCH} and listed.key.user_id == vendor.id
    guess = TestClient(house.app, follow_redirects=False).post("/sign-in", data={"username": "acme", "password": "-"})
    assert guess.status_code == 401, "a vendor never signs in"


# My account


def test_another_password_ends_every_other_session(house: House) -> None:
    ann = add_user(house.system, "ann")
    here, there = house.client(ann), house.client(ann)
    form = {"current": PASSWORD, "password": "a better one", "again": "a better one"}
    assert here.post("/account/password", data={**form, "current": "wrong guess"}).status_code == 422
    assert here.post("/account/password", data={**form, "again": "something else"}).status_code == 422
    assert there.get("/account").status_code == 200
    assert here.post("/account/password", data=form).status_code == 303
    assert here.get("/account").status_code == 200 and there.get("/account").status_code == 303
    stranger = TestClient(house.app, follow_redirects=False)
    assert stranger.post("/sign-in", data={"username": "ann", "password": "a better one"}).status_code == 303


def test_one_sees_and_ends_ones_sessions_and_nobody_elses(house: House) -> None:
    ann, eve = house.user("ann"), house.user("eve")
    here, there, hers = house.client(ann), house.client(ann), house.client(eve)
    ends = re.findall(r'/account/sessions/(\d+)/end"', here.get("/account").text)
    assert len(ends) == 1, "the one that asks is ended by signing out"
    assert hers.post(f"/account/sessions/{ends[0]}/end").status_code == 404
    assert here.post(f"/account/sessions/{ends[0]}/end").status_code == 303
    assert there.get("/account").status_code == 303 and here.get("/account").status_code == 200
