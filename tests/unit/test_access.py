"""Who may do what, as a table: every permission for every kind of principal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.access import ROLES, SCOPES, Permission, Principal, permits, reach, require
from shared.domain import ApiKey, ApiKeyId, Membership, ProjectId, Role, Scope, User, UserId, UserKind
from shared.errors import Forbidden, NotFound

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HERE, ELSEWHERE = ProjectId(3), ProjectId(4)
ALL = {one.value for one in Permission}
ANNOTATOR = {"see", "label"}
REVIEWER = ANNOTATOR | {"browse", "watch", "review"}
MANAGER = REVIEWER | {"manage", "ingest", "import", "export", "audit", "staff", "batch_manage"}
READ = {"see", "browse", "watch", "export", "audit"}
MANAGE = READ | {"ingest", "import", "review", "manage", "batch_manage", "create", "operate"}
SYSTEM_WIDE = {"create", "operate", "administer"}


def user(role: Role | None = None, *, admin: bool = False, kind: UserKind = UserKind.PERSON) -> Principal:
    one = User(id=UserId(7), username="u", display_name="U", disabled=False, is_admin=admin, kind=kind)
    mine = Membership(project_id=HERE, user_id=UserId(7), role=role, created_at=NOW) if role else None
    return Principal(user=one, memberships={HERE: mine} if mine else {})


def key(*scopes: Scope, limit: ProjectId | None = None, owner: Principal | None = None) -> Principal:
    made = ApiKey(
        id=ApiKeyId(1),
        name="k",
        prefix="wnw_1",
        scopes=frozenset(scopes),
        project_id=limit,
        created_at=NOW,
        expires_at=None,
        revoked_at=None,
        last_used_at=None,
    )
    return replace(owner or Principal(), key=made)


def allowed(principal: Principal, project_id: ProjectId | None) -> set[str]:
    return {one.value for one in Permission if permits(principal, one, project_id)}


ADMIN, VENDOR = user(admin=True), user(kind=UserKind.VENDOR)


@pytest.mark.parametrize(
    ("principal", "here", "elsewhere", "everywhere"),
    [
        pytest.param(Principal(), set(), set(), set(), id="nobody"),
        pytest.param(ADMIN, ALL, ALL, ALL, id="an admin"),
        pytest.param(user(Role.MANAGER), MANAGER, set(), set(), id="a manager"),
        pytest.param(user(Role.REVIEWER), REVIEWER, set(), set(), id="a reviewer"),
        pytest.param(user(Role.ANNOTATOR), ANNOTATOR, set(), set(), id="an annotator"),
        pytest.param(user(), set(), set(), set(), id="a user of no project"),
        pytest.param(VENDOR, {"batch_work"}, {"batch_work"}, {"batch_work"}, id="a vendor"),
        pytest.param(user(kind=UserKind.ANNOTATOR), set(), set(), set(), id="one of a vendor's people"),
        pytest.param(key(Scope.READ), READ, READ, READ, id="a key to read"),
        pytest.param(key(Scope.INGEST), {"see", "ingest"}, {"see", "ingest"}, {"see", "ingest"}, id="a key to upload"),
        pytest.param(key(Scope.LABEL), {"see", "import"}, {"see", "import"}, {"see", "import"}, id="a key to label"),
        pytest.param(key(Scope.MANAGE), MANAGE, MANAGE, MANAGE, id="a key to manage"),
        pytest.param(key(Scope.READ, Scope.INGEST, limit=HERE), READ | {"ingest"}, set(), set(), id="two scopes here"),
        pytest.param(key(Scope.MANAGE, limit=HERE), MANAGE, set(), set(), id="a key to manage one project"),
        pytest.param(key(Scope.MANAGE, owner=ADMIN), MANAGE, MANAGE, MANAGE, id="an admin's key"),
        pytest.param(
            key(Scope.MANAGE, owner=user(Role.MANAGER)), (MANAGE & MANAGER), set(), set(), id="a manager's key"
        ),
        pytest.param(
            key(Scope.MANAGE, owner=user(Role.ANNOTATOR)), {"see"}, set(), set(), id="an annotator's key to manage"
        ),
        pytest.param(
            key(Scope.MANAGE, limit=ELSEWHERE, owner=user(Role.MANAGER)), set(), set(), set(), id="no overlap"
        ),
        pytest.param(
            key(Scope.BATCH, owner=VENDOR), {"batch_work"}, {"batch_work"}, {"batch_work"}, id="a vendor's key"
        ),
        pytest.param(
            key(Scope.BATCH, limit=HERE, owner=VENDOR), {"batch_work"}, set(), set(), id="a vendor's key, one project"
        ),
        pytest.param(
            key(Scope.BATCH, Scope.MANAGE, owner=VENDOR),
            {"batch_work"},
            {"batch_work"},
            {"batch_work"},
            id="a vendor's key that claims to manage",
        ),
        pytest.param(key(Scope.BATCH, owner=user(Role.MANAGER)), set(), set(), set(), id="a manager is no vendor"),
    ],
)
def test_what_each_may_in_its_project_in_another_and_everywhere(
    principal: Principal, here: set[str], elsewhere: set[str], everywhere: set[str]
) -> None:
    assert allowed(principal, HERE) == here
    assert allowed(principal, ELSEWHERE) == elsewhere
    assert allowed(principal, None) == everywhere


def test_no_role_in_a_project_reaches_beyond_it() -> None:
    for role in Role:
        assert not {one.value for one in ROLES[role]} & SYSTEM_WIDE


def test_every_role_and_every_scope_has_its_row() -> None:
    assert set(ROLES) == set(Role) and set(SCOPES) == set(Scope)


def test_a_disabled_user_may_do_nothing_nor_may_their_key() -> None:
    assert ADMIN.user is not None
    gone = Principal(user=replace(ADMIN.user, disabled=True))
    assert allowed(gone, HERE) == set()
    assert allowed(key(Scope.MANAGE, owner=gone), HERE) == set()


def test_what_one_may_not_know_of_is_not_there() -> None:
    with pytest.raises(NotFound):
        require(user(Role.MANAGER), Permission.LABEL, ELSEWHERE)
    with pytest.raises(NotFound):
        require(key(Scope.READ, limit=HERE), Permission.WATCH, ELSEWHERE)


def test_what_one_knows_of_but_may_not_do_is_refused_with_what_it_takes() -> None:
    with pytest.raises(Forbidden, match="a manager of the project"):
        require(user(Role.ANNOTATOR), Permission.MANAGE, HERE)
    with pytest.raises(Forbidden, match="the scope 'read' or 'manage'"):
        require(key(Scope.INGEST), Permission.WATCH, HERE)
    with pytest.raises(Forbidden, match="only an admin may make projects"):
        require(user(Role.MANAGER), Permission.CREATE)
    with pytest.raises(Forbidden, match="limited to one project"):
        require(key(Scope.MANAGE, limit=HERE), Permission.CREATE)


def test_lists_are_limited_to_where_one_may() -> None:
    assert reach(ADMIN, Permission.SEE) is None
    assert reach(user(Role.ANNOTATOR), Permission.SEE) == {HERE}
    assert reach(user(Role.ANNOTATOR), Permission.WATCH) == frozenset()
    assert reach(key(Scope.READ), Permission.SEE) is None
    assert reach(key(Scope.READ, limit=ELSEWHERE), Permission.SEE) == {ELSEWHERE}
    assert reach(key(Scope.READ, limit=ELSEWHERE, owner=user(Role.MANAGER)), Permission.SEE) == frozenset()


def test_a_paused_member_keeps_what_they_may_look_at() -> None:
    paused = user(Role.ANNOTATOR)
    held = replace(paused.memberships[HERE], paused_at=NOW, pause_reason="too fast")
    paused = replace(paused, memberships={HERE: held})
    assert allowed(paused, HERE) == ANNOTATOR and paused.paused(HERE) == "too fast"
    assert user(Role.ANNOTATOR).paused(HERE) is None
