"""API keys as people make, rotate and list them. How a key is looked up for a request is in ``shared.db.users``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.credentials import NewKey, new_api_key
from shared.db import users
from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import ApiKey, ProjectId, Scope, UserId
from shared.errors import Conflict, Invalid, NotFound

_Q = queries("keys")
MOST_LIVE = 2
"""Of one name: the old and the new one, while whoever uses it changes over."""


@dataclass(frozen=True, kw_only=True)
class ListedKey:
    """A key with the names that a list shows."""

    key: ApiKey
    acts_as: str | None
    project_name: str | None
    made_by: str | None

    def state(self, now: datetime) -> str:
        """``live``, ``revoked`` or ``expired``."""
        if self.key.revoked_at is not None:
            return "revoked"
        return "expired" if self.key.expires_at is not None and self.key.expires_at <= now else "live"


def make(
    tx: Tx,
    *,
    name: str,
    scopes: Iterable[Scope],
    project_id: ProjectId | None = None,
    expires_at: datetime | None = None,
    user_id: UserId | None = None,
    created_by: UserId | None = None,
) -> tuple[NewKey, ApiKey]:
    """A new key; its secret is in the first and nowhere else.

    Raises ``Conflict`` if two of that name (with the same project and owner) are live, ``Invalid`` without a scope or a
    name, or for ``batch`` without a vendor.
    """
    wanted = frozenset(scopes)
    if not wanted:
        raise Invalid("a key needs at least one scope")
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise Invalid("a key needs a name of 1 to 200 characters that can be shown")
    if Scope.BATCH in wanted and user_id is None:
        raise Invalid("a key with the scope 'batch' acts as a vendor: say which")
    tx.one(_Q["lock_names"], {"name": name})
    row = tx.one(_Q["live_of_name"], {"name": name, "project_id": project_id, "user_id": user_id})
    if row is not None and row["live"] >= MOST_LIVE:
        raise Conflict(f"there are {MOST_LIVE} live keys named '{name}' already: revoke the old one first")
    new = new_api_key()
    key = users.add_key(
        tx,
        name=name,
        prefix=new.prefix,
        key_sha256=new.sha256,
        scopes=sorted(wanted),
        project_id=project_id,
        expires_at=expires_at,
        user_id=user_id,
        created_by=created_by,
    )
    return new, key


def rotate(
    tx: Tx, prefix: str, *, project_id: ProjectId | None = None, created_by: UserId | None = None
) -> tuple[NewKey, ApiKey]:
    """A second key like the live one of ``prefix``, to change over to; the first goes on until it is revoked.

    One that expires is followed by one that lives as long as it was to live. Raises ``NotFound``, and as ``make``.
    """
    old = live(tx, prefix, project_id=project_id)
    now = datetime.now(UTC)
    expires_at = None if old.expires_at is None else now + (old.expires_at - old.created_at)
    return make(
        tx,
        name=old.name,
        scopes=old.scopes,
        project_id=old.project_id,
        expires_at=expires_at,
        user_id=old.user_id,
        created_by=created_by,
    )


def live(tx: Tx, prefix: str, *, project_id: ProjectId | None = None) -> ApiKey:
    """Raises ``NotFound`` unless there is such a live key, of that project if one is named."""
    row = tx.one(_Q["live"], {"prefix": prefix, "project_id": project_id})
    if row is None:
        raise NotFound(f"there is no live key with the prefix {prefix}")
    return users.key_from_row(row)


def listed(tx: Tx, project_id: ProjectId | None = None) -> list[ListedKey]:
    """Of a project, or all: live ones first."""
    return [
        ListedKey(
            key=users.key_from_row(row),
            acts_as=row["acts_as"],
            project_name=row["project_name"],
            made_by=row["made_by"],
        )
        for row in tx.all(_Q["listed"], {"project_id": project_id})
    ]
