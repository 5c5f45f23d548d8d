"""Links that make whoever follows them a user, once. Tokens come in as digests only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.db import members
from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import ProjectId, Role, User, UserId
from shared.errors import NotFound

_Q = queries("invitations")


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """``role`` in ``project_id``, or in none; ``is_admin``: whoever takes it becomes an admin."""

    id: int
    note: str
    project_id: ProjectId | None
    role: Role | None
    is_admin: bool
    created_by: UserId | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    used_by: UserId | None
    revoked_at: datetime | None
    project_name: str | None = None
    used_by_name: str | None = None
    created_by_name: str | None = None


def _invitation(row: Row) -> Invitation:
    known = {key: value for key, value in row.items() if key != "token_sha256"}
    return Invitation(**{**known, "role": Role(row["role"]) if row["role"] else None})


def add(
    tx: Tx,
    *,
    token_sha256: bytes,
    expires_at: datetime,
    created_by: UserId | None,
    note: str = "",
    project_id: ProjectId | None = None,
    role: Role | None = None,
    is_admin: bool = False,
) -> Invitation:
    """``project_id`` and ``role`` go together (``Invalid``)."""
    row = tx.one(
        _Q["insert"],
        {
            "token_sha256": token_sha256,
            "note": note,
            "project_id": project_id,
            "role": None if role is None else role.value,
            "is_admin": is_admin,
            "created_by": created_by,
            "expires_at": expires_at,
        },
    )
    assert row is not None  # INSERT ... RETURNING
    return _invitation(row)


def live(tx: Tx, token_sha256: bytes) -> Invitation:
    """The invitation, held until the transaction ends. ``NotFound``: used, revoked, run out, or never made."""
    row = tx.one(_Q["live"], {"token_sha256": token_sha256})
    if row is None:
        raise NotFound("this invitation is not good any more: ask for another one")
    return _invitation(row)


def use(tx: Tx, invitation: Invitation, user: User) -> None:
    """``user``, who may be new, takes what the invitation gives. The caller holds it by ``live``."""
    tx.run(_Q["use"], {"id": invitation.id, "user_id": user.id})
    if invitation.project_id is not None and invitation.role is not None:
        members.put(tx, invitation.project_id, user.id, invitation.role)


def revoke(tx: Tx, project_id: ProjectId | None, invitation_id: int) -> Invitation:
    """Raises ``NotFound`` unless it is open and of that project (None: of none)."""
    row = tx.one(_Q["revoke"], {"id": invitation_id, "project_id": project_id})
    if row is None:
        raise NotFound("there is no such open invitation")
    return _invitation(row)


def of_project(tx: Tx, project_id: ProjectId | None) -> list[Invitation]:
    """Those into a project, or with None into none; the newest first, 100 at most."""
    return [_invitation(row) for row in tx.all(_Q["of_project"], {"project_id": project_id})]
