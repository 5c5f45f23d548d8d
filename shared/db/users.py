"""People who sign in, their sessions, and API keys. Secrets come in as digests only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import ApiKey, ProjectId, Scope, User, UserId, UserKind
from shared.errors import Conflict, Invalid, NotFound

_Q = queries("users")


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A user with what a password is checked against."""

    user: User
    password_hash: str
    subject: str | None = None
    """What the identity provider calls them, if they are linked to it."""

    @property
    def has_password(self) -> bool:
        """Not those who were let in by the identity provider, nor vendors."""
        return self.password_hash.startswith("$")


def from_row(row: Row) -> User:
    """A user of the columns of ``users`` that the services may read."""
    return User(
        id=row["id"],
        username=row["username"],
        display_name=row["display_name"],
        disabled=row["disabled"],
        is_admin=row["is_admin"],
        kind=UserKind(row["kind"]),
        vendor_id=row["vendor_id"],
        external_id=row["external_id"],
    )


def key_from_row(row: Row) -> ApiKey:
    """A key of a row of ``api_keys``."""
    return ApiKey(
        id=row["id"],
        name=row["name"],
        prefix=row["prefix"],
        scopes=frozenset(Scope(s) for s in row["scopes"]),
        project_id=row["project_id"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        user_id=row["user_id"],
        created_by=row["created_by"],
    )


def any_exists(tx: Tx) -> bool:
    row = tx.one(_Q["any_user"])
    return bool(row and row["found"])


def add(tx: Tx, username: str, display_name: str, password_hash: str, *, admin: bool = False) -> User:
    """Raises ``Conflict`` if the name is taken, ``Invalid`` if it isn't made of a-z, 0-9 and . _ @ + -."""
    row = tx.one(
        _Q["insert_user"],
        {"username": username, "display_name": display_name, "password_hash": password_hash, "admin": admin},
    )
    assert row is not None  # INSERT ... RETURNING
    return from_row(row)


def vendor_name(name: str) -> str:
    """The user name under which a vendor of that name is known: its letters and digits, lower case."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]
    if not plain:
        raise Invalid(f"a vendor's name has letters or digits from a to z and 0 to 9, not {name!r}")
    return f"vendor.{plain}"


def vendor_named(tx: Tx, name: str) -> UserId:
    """The vendor of that name, made if there is none. Raises ``Invalid`` for a name that can't be one."""
    username = vendor_name(name)
    row = tx.one(_Q["by_username"], {"username": username})
    if row is None:
        return add_vendor(tx, username, name).id
    if row["kind"] != UserKind.VENDOR.value:
        raise Conflict(f"{username} is somebody who signs in, and no vendor")
    return UserId(row["id"])


def vendors(tx: Tx) -> dict[UserId, str]:
    """Display names by id."""
    return {UserId(row["id"]): row["display_name"] for row in tx.all(_Q["vendors"])}


def add_first(tx: Tx, username: str, display_name: str, password_hash: str) -> UserId | None:
    """None if there are users already. Raises ``Invalid`` for a name that ``add`` would not take."""
    params = {"username": username, "display_name": display_name, "password_hash": password_hash}
    row = tx.one(_Q["add_first"], params)
    return None if row is None else row["id"]


def names(tx: Tx, ids: Iterable[int]) -> dict[int, str]:
    """Display names by id, of those that there are."""
    return {row["id"]: row["display_name"] for row in tx.all(_Q["names"], {"ids": list(ids)})}


def credentials(tx: Tx, username: str) -> Credentials | None:
    row = tx.one(_Q["by_username"], {"username": username})
    return (
        None
        if row is None
        else Credentials(user=from_row(row), password_hash=row["password_hash"], subject=row["oidc_subject"])
    )


def set_password(tx: Tx, username: str, password_hash: str) -> None:
    """Raises ``NotFound``."""
    if tx.one(_Q["set_password"], {"username": username, "password_hash": password_hash}) is None:
        raise NotFound(f"there is no user {username}")


def get(tx: Tx, user_id: UserId) -> User:
    """Raises ``NotFound``."""
    row = tx.one(_Q["get"], {"id": user_id})
    if row is None:
        raise NotFound(f"there is no user {user_id}")
    return from_row(row)


def everybody(tx: Tx, *, kind: UserKind | None = None) -> list[User]:
    """Those who sign in, then vendors, each in order of their names; a vendor's people are left out."""
    return [from_row(row) for row in tx.all(_Q["everybody"], {"kind": None if kind is None else kind.value})]


def add_vendor(tx: Tx, username: str, display_name: str) -> User:
    """A firm, which can't sign in and works through keys. Raises as ``add``."""
    row = tx.one(_Q["insert_vendor"], {"username": username, "display_name": display_name})
    assert row is not None  # INSERT ... RETURNING
    return from_row(row)


def set_admin(tx: Tx, user_id: UserId, admin: bool) -> None:
    """Raises ``Conflict`` if nobody would be an admin any more."""
    tx.one(_Q["lock_admins"])
    tx.run(_Q["set_admin"], {"id": user_id, "admin": admin})
    _require_an_admin(tx)


def set_disabled(tx: Tx, user_id: UserId, disabled: bool) -> None:
    """A disabled user is signed out, and keys that act as them are refused. Raises ``Conflict`` as ``set_admin``."""
    tx.one(_Q["lock_admins"])
    tx.run(_Q["set_disabled"], {"id": user_id, "disabled": disabled})
    _require_an_admin(tx)


def _require_an_admin(tx: Tx) -> None:
    row = tx.one(_Q["any_admin"])
    if not (row and row["found"]):
        raise Conflict("nobody would be an admin any more: make somebody else one first")


def by_subject(tx: Tx, subject: str) -> User | None:
    """Who the identity provider calls ``subject``."""
    row = tx.one(_Q["by_subject"], {"subject": subject})
    return None if row is None else from_row(row)


def set_subject(tx: Tx, user_id: UserId, subject: str | None) -> None:
    """From now on the identity provider's ``subject`` signs in as this user; None: nobody of theirs does.

    Raises ``Conflict`` if it signs in as somebody else.
    """
    tx.run(_Q["set_subject"], {"id": user_id, "subject": subject})


def open_session(
    tx: Tx, user_id: UserId, token_sha256: bytes, *, hours: int, address: str | None = None, agent: str | None = None
) -> None:
    """Sessions that ran out are removed on the way. ``address`` and ``agent`` tell its owner which it is."""
    tx.run(_Q["delete_expired_sessions"])
    params = {"token_sha256": token_sha256, "user_id": user_id, "hours": hours, "address": address}
    tx.run(_Q["insert_session"], {**params, "agent": agent and agent[:300]})


def user_of_session(tx: Tx, token_sha256: bytes) -> User | None:
    """None if the session ended or the user is disabled."""
    row = tx.one(_Q["user_of_session"], {"token_sha256": token_sha256})
    return None if row is None else from_row(row)


def close_session(tx: Tx, token_sha256: bytes) -> None:
    tx.run(_Q["delete_session"], {"token_sha256": token_sha256})


def close_sessions_of(tx: Tx, username: str) -> None:
    """Sign somebody out everywhere."""
    tx.run(_Q["delete_sessions_of"], {"username": username})


def add_key(
    tx: Tx,
    *,
    name: str,
    prefix: str,
    key_sha256: bytes,
    scopes: Iterable[Scope],
    project_id: ProjectId | None = None,
    expires_at: datetime | None = None,
    user_id: UserId | None = None,
    created_by: UserId | None = None,
) -> ApiKey:
    """``user_id``: whom it acts as, a vendor for the scope ``batch``."""
    row = tx.one(
        _Q["insert_key"],
        {
            "name": name,
            "prefix": prefix,
            "key_sha256": key_sha256,
            "scopes": [s.value for s in scopes],
            "project_id": project_id,
            "expires_at": expires_at,
            "user_id": user_id,
            "created_by": created_by,
        },
    )
    assert row is not None  # INSERT ... RETURNING
    return key_from_row(row)


def key_by_digest(tx: Tx, key_sha256: bytes) -> ApiKey | None:
    """The key if it is good now; its last use is noted."""
    row = tx.one(_Q["key_by_digest"], {"key_sha256": key_sha256})
    if row is None:
        return None
    tx.run(_Q["touch_key"], {"id": row["id"]})
    return key_from_row(row)


def revoke_key(tx: Tx, prefix: str) -> ApiKey:
    """Raises ``NotFound`` if no such key is live."""
    row = tx.one(_Q["revoke_key"], {"prefix": prefix})
    if row is None:
        raise NotFound(f"there is no live key with the prefix {prefix}")
    return key_from_row(row)


def keys(tx: Tx) -> list[ApiKey]:
    return [key_from_row(row) for row in tx.all(_Q["list_keys"])]
