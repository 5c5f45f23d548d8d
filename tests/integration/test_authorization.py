"""Every route of both services, asked with every kind of credential: each answer is what ``shared.access`` says.

A route that declares no permission fails here; so does one that changes something for who may only look.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute, Mount

from services.api import auth
from services.api.app import create_app as create_api
from services.ui import permits as ui_permits
from services.ui.app import create_app as create_ui
from services.ui.assets import PLOTLY_PATH
from services.ui.sessions import COOKIE, signed_in_as
from shared.access import Permission, Principal, in_scopes, permits, reach
from shared.credentials import digest, new_api_key, new_token
from shared.db import members, users
from shared.domain import ProjectId, Role, Scope, User
from shared.settings import ApiSettings, UiSettings
from shared.system import System
from tests.world import World, build, open_system

# What needs no credential: how one gets one, and what the machines that run the services ask.
PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("POST", "/sign-out"),
    ("GET", "/welcome"),
    ("POST", "/welcome"),
    ("GET", "/invitations/{token}"),
    ("GET", "/oidc/start"),
    ("GET", "/oidc/callback"),
    ("POST", "/invitations/{token}"),
    ("GET", PLOTLY_PATH),
    ("GET", "/worker.js"),
}
# What everybody may who is signed in: it shows or changes only what is their own.
OF_EVERYBODY = {
    ("GET", "/"),
    ("GET", "/form-token"),
    ("GET", "/account"),
    ("POST", "/account/password"),
    ("POST", "/account/link"),
    ("POST", "/account/unlink"),
    ("POST", "/account/sessions/{session_id}/end"),
    ("POST", "/account/sessions/end-others"),
    ("POST", "/account/invitations/{token}"),
}
LOOKING = {Permission.SEE, Permission.BROWSE, Permission.WATCH, Permission.AUDIT, Permission.EXPORT}
# Asked with POST because a question doesn't fit an address, or makes a copy to take along; nothing else is changed.
ASKED_WITH_POST = {
    "/v1/projects/{project_id}/predict",
    "/v1/projects/{project_id}/exports",
    "/projects/{project_id}/data/exports",
    "/projects/{project_id}/quick/export.{form}",
}
InProject = auth.InProject | ui_permits.InProject
Needs = InProject | auth.Anywhere | auth.Somewhere | ui_permits.Anywhere | ui_permits.Somewhere


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    needs: tuple[Needs, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def url(self, project: ProjectId, other: int) -> str:
        # Nobody's: what one may do to somebody, or to a session, must not end what this test goes on with.
        named = (
            self.path.replace("{user_id}", "999999")
            .replace("{session_id}", "999999")
            .replace("{project_id}", str(project))
        )
        named = named.replace("{form}", "csv").replace("{name}", "model.json")
        return re.sub(r"\{[^}]+\}", str(other), named)

    def allows(self, who: Principal, project: ProjectId) -> bool:
        return all(_allows(one, who, project) for one in self.needs)


def _allows(needs: Needs, who: Principal, project: ProjectId) -> bool:
    if isinstance(needs, InProject):
        return permits(who, needs.permission, project)
    if isinstance(needs, auth.Somewhere):
        return who.key is not None and in_scopes(who.key, needs.permission)
    if isinstance(needs, ui_permits.Somewhere):
        return reach(who, needs.permission) != frozenset()
    return permits(who, needs.permission)


def _dependencies(dependant: Dependant) -> Iterator[Callable[..., Any] | None]:
    yield dependant.call
    for one in dependant.dependencies:
        yield from _dependencies(one)


def api_routes(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    """All of them, those of included routers, too; anything of a kind that this test can't judge fails it."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):  # how newer versions of FastAPI keep a router that was included
            yield from api_routes(route.original_router.routes)
        else:
            assert isinstance(route, Mount) or getattr(route, "path", "") == "/openapi.json", route


def routes_of(app: FastAPI) -> list[Route]:
    return [
        Route(method, route.path, tuple(one for one in _dependencies(route.dependant) if isinstance(one, Needs)))
        for route in api_routes(app.routes)
        for method in sorted(route.methods or ())
    ]


def guarded(app: FastAPI) -> list[Route]:
    return [one for one in routes_of(app) if (one.method, one.path) not in PUBLIC]


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(system: System) -> World:
    return build(system, pool=4)


@pytest.fixture
def elsewhere(system: System) -> World:
    return build(system, pool=4, name="elsewhere")


@pytest.fixture
def ui(system: System) -> FastAPI:
    return create_ui(system, UiSettings())


@pytest.fixture
def api(system: System) -> FastAPI:
    return create_api(system, ApiSettings())


def test_every_route_declares_what_it_needs(ui: FastAPI, api: FastAPI) -> None:
    undeclared = [str(one) for one in guarded(api) if not one.needs]
    undeclared += [str(one) for one in guarded(ui) if not one.needs and (one.method, one.path) not in OF_EVERYBODY]
    assert undeclared == []


def test_what_everybody_may_needs_a_session_all_the_same(ui: FastAPI) -> None:
    for route in api_routes(ui.routes):
        if any((method, route.path) in OF_EVERYBODY for method in route.methods or ()):
            assert signed_in_as in _dependencies(route.dependant), route.path


def test_who_may_only_look_changes_nothing(ui: FastAPI, api: FastAPI) -> None:
    loose = [
        str(one)
        for one in (*guarded(ui), *guarded(api))
        if one.method != "GET"
        and one.path not in ASKED_WITH_POST
        and (one.method, one.path) not in OF_EVERYBODY
        and all(need.permission in LOOKING for need in one.needs)
    ]
    assert loose == []


def test_a_path_without_a_project_is_never_decided_by_a_project(ui: FastAPI, api: FastAPI) -> None:
    for one in (*guarded(ui), *guarded(api)):
        if "{project_id}" in one.path:
            assert any(isinstance(need, InProject) for need in one.needs), str(one)


# People, through the ui


@dataclass
class Person:
    principal: Principal
    client: TestClient

    @property
    def id(self) -> int:
        assert self.principal.user is not None
        return self.principal.user.id


class Door:
    """Lets people in as who they are."""

    def __init__(self, system: System, app: FastAPI) -> None:
        self._system, self._app = system, app

    def person(self, name: str, *, admin: bool = False, role: Role | None = None, at: World | None = None) -> Person:
        with self._system.database.transaction() as tx:
            user = users.add(tx, name, name.title(), "not a hash", admin=admin)
            if role is not None and at is not None:
                members.put(tx, at.id, user.id, role)
            principal = members.principal_of(tx, user)
        return Person(principal, self.with_session(user))

    def with_session(self, user: User, *, hours: int = 1) -> TestClient:
        token = new_token()
        with self._system.database.transaction() as tx:
            users.open_session(tx, user.id, digest(token), hours=hours)
        return self.with_cookie(token)

    def with_cookie(self, token: str | None) -> TestClient:
        return TestClient(
            self._app,
            cookies={} if token is None else {COOKIE: token},
            follow_redirects=False,
            raise_server_exceptions=False,
        )


def sessions_of_nobody(system: System, door: Door) -> dict[str, TestClient]:
    """Credentials that were good once, or never."""
    signed_out, disabled, expired = (door.person(name, admin=True) for name in ("out", "off", "late"))
    assert signed_out.client.post("/sign-out").status_code == 303
    with system.database.transaction() as tx:
        tx.run("UPDATE users SET disabled = true WHERE username = 'off'")
        tx.run("UPDATE sessions SET expires_at = now() - interval '1 s' WHERE user_id = %(id)s", {"id": expired.id})
    signed_out.client.cookies.set(COOKIE, "gone")
    return {
        "no cookie": door.with_cookie(None),
        "a made-up cookie": door.with_cookie("made-up"),
        "a session that was signed out": signed_out.client,
        "a disabled user": disabled.client,
        "a session that ran out": expired.client,
    }


def test_every_route_of_the_ui_for_every_kind_of_person(
    system: System, world: World, elsewhere: World, ui: FastAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    door, cases = Door(system, ui), 0
    people = {
        "an admin": door.person("root", admin=True),
        "a manager": door.person("max", role=Role.MANAGER, at=world),
        "a reviewer": door.person("rea", role=Role.REVIEWER, at=world),
        "an annotator": door.person("ann", role=Role.ANNOTATOR, at=world),
        "a manager of another project": door.person("eve", role=Role.MANAGER, at=elsewhere),
        "a user of no project": door.person("new"),
    }
    nobodies = sessions_of_nobody(system, door)
    for route in guarded(ui):
        url = route.url(world.id, world.images[0].id)
        for name, client in nobodies.items():
            answer, cases = client.request(route.method, url), cases + 1
            refused = answer.status_code == 401 or answer.headers.get("location", "").startswith("/sign-in")
            assert refused, f"{name}: {route} -> {answer.status_code}"
        for name, person in people.items():
            answer, cases = person.client.request(route.method, url), cases + 1
            check(route, person.principal, world.id, answer, name)
    with capsys.disabled():
        print(f" [ui: {cases} cases]", end="")
    assert cases > 11 * 50


def test_ids_of_another_project_lead_nowhere(
    system: System, world: World, elsewhere: World, ui: FastAPI, api: FastAPI
) -> None:
    """A manager here, or a key for here, that names something from elsewhere under this project's path."""
    door = Door(system, ui)
    manager = door.person("max", role=Role.MANAGER, at=world)
    key = Keys(system, api).limited_to(world.id, Scope.MANAGE)
    for app, client in ((ui, manager.client), (api, key.client)):
        for route in guarded(app):
            if route.path.count("{") > 1 and "{project_id}" in route.path and "{form}" not in route.path:
                answer = client.request(route.method, route.url(world.id, elsewhere.images[0].id))
                assert answer.status_code in (404, 409, 422), f"{route} -> {answer.status_code}"


def check(route: Route, who: Principal, project: ProjectId, answer: Any, name: str) -> None:
    """404 for what one may not know of, 403 for what one may not do, neither for what one may."""
    said = f"{name}: {route} -> {answer.status_code} {answer.text[:120]}"
    if route.allows(who, project):
        assert answer.status_code not in (401, 403), said
        assert "there is no project" not in answer.text, said
        assert answer.status_code < 500, said
    elif "{project_id}" in route.path and not permits(who, Permission.SEE, project):
        assert answer.status_code == 404, said
    else:
        assert answer.status_code == 403, said


# Keys, through the api


class Keys:
    def __init__(self, system: System, app: FastAPI) -> None:
        self._system, self._app = system, app

    def limited_to(self, project: ProjectId | None, *scopes: Scope, user: User | None = None, **more: Any) -> Person:
        new = new_api_key()
        with self._system.database.transaction() as tx:
            users.add_key(
                tx,
                name="test",
                prefix=new.prefix,
                key_sha256=new.sha256,
                scopes=scopes,
                project_id=project,
                user_id=None if user is None else user.id,
                **more,
            )
            principal = members.principal_of_key(tx, new.sha256) or Principal()
        return Person(principal, self.sending(new.secret))

    def sending(self, secret: str | None) -> TestClient:
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        return TestClient(self._app, headers=headers, raise_server_exceptions=False)

    def owner(self, name: str, *, admin: bool = False, role: Role | None = None, at: ProjectId | None = None) -> User:
        with self._system.database.transaction() as tx:
            user = users.add(tx, name, name, "not a hash", admin=admin)
            if role is not None and at is not None:
                members.put(tx, at, user.id, role)
        return user

    def vendor(self) -> User:
        with self._system.database.transaction() as tx:
            made = users.add(tx, "vendor", "Vendor", "!")
            tx.run("UPDATE users SET kind = 'vendor' WHERE id = %(id)s", {"id": made.id})
        return made


def keys_of_nobody(system: System, keys: Keys) -> dict[str, TestClient]:
    revoked = keys.limited_to(None, Scope.MANAGE)
    disabled = keys.owner("gone", admin=True)
    of_disabled = keys.limited_to(None, Scope.MANAGE, user=disabled)
    past = datetime.now(UTC) - timedelta(seconds=1)
    expired = keys.limited_to(None, Scope.MANAGE, expires_at=past)
    with system.database.transaction() as tx:
        assert revoked.principal.key is not None
        users.revoke_key(tx, revoked.principal.key.prefix)
        tx.run("UPDATE users SET disabled = true WHERE id = %(id)s", {"id": disabled.id})
    return {
        "no key": keys.sending(None),
        "a made-up key": keys.sending("wnw_00000000_made-up"),
        "a revoked key": revoked.client,
        "a key that ran out": expired.client,
        "the key of a disabled user": of_disabled.client,
    }


def test_every_route_of_the_api_for_every_kind_of_key(
    system: System, world: World, elsewhere: World, api: FastAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, cases = Keys(system, api), 0
    nobodies = keys_of_nobody(system, keys)
    scopes = [scope for scope in Scope if scope is not Scope.BATCH]
    holders = {f"a key to {scope}": keys.limited_to(None, scope) for scope in scopes}
    holders |= {f"a key to {scope} elsewhere": keys.limited_to(elsewhere.id, scope) for scope in scopes}
    holders["a key to manage this project"] = keys.limited_to(world.id, Scope.MANAGE)
    holders["a vendor's key"] = keys.limited_to(None, Scope.BATCH, user=keys.vendor())
    for role in Role:
        owner = keys.owner(role.value, role=role, at=world.id)
        holders[f"the key of a {role}"] = keys.limited_to(None, Scope.MANAGE, user=owner)
    stranger = keys.owner("stranger", role=Role.MANAGER, at=elsewhere.id)
    holders["the key of a stranger"] = keys.limited_to(None, Scope.MANAGE, user=stranger)
    for route in guarded(api):
        url = route.url(world.id, world.images[0].id)
        for name, client in nobodies.items():
            answer, cases = client.request(route.method, url), cases + 1
            assert answer.status_code == 401, f"{name}: {route} -> {answer.status_code}"
        for name, holder in holders.items():
            answer, cases = holder.client.request(route.method, url), cases + 1
            check(route, holder.principal, world.id, answer, name)
    with capsys.disabled():
        print(f" [api: {cases} cases]", end="")
    assert cases > 19 * 30
