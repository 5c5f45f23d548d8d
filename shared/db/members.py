"""Who works in a project, and as whom a request is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.access import Principal
from shared.db import users
from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import ImageId, Membership, ProjectId, Role, User, UserId, UserKind
from shared.errors import NotFound

_Q = queries("members")


@dataclass(frozen=True, kw_only=True)
class Member:
    """Somebody of a project, with what they are in it."""

    user: User
    membership: Membership


def _membership(row: Row) -> Membership:
    return Membership(
        project_id=row["project_id"],
        user_id=row["user_id"],
        role=Role(row["role"]),
        created_at=row["created_at"],
        paused_at=row["paused_at"],
        pause_reason=row["pause_reason"],
    )


def of_user(tx: Tx, user_id: UserId) -> dict[ProjectId, Membership]:
    return {row["project_id"]: _membership(row) for row in tx.all(_Q["of_user"], {"user_id": user_id})}


def of_project(tx: Tx, project_id: ProjectId) -> list[Member]:
    """The most powerful first. Admins who have no row of their own in it are left out."""
    return [
        Member(
            user=User(
                id=row["user_id"],
                username=row["username"],
                display_name=row["display_name"],
                disabled=row["disabled"],
                is_admin=row["is_admin"],
                kind=UserKind(row["kind"]),
            ),
            membership=_membership(row),
        )
        for row in tx.all(_Q["of_project"], {"project_id": project_id})
    ]


def put(tx: Tx, project_id: ProjectId, user_id: UserId, role: Role) -> Membership:
    """Let somebody into a project, or change what they are in it. Raises ``Conflict`` if either isn't there."""
    row = tx.one(_Q["put"], {"project_id": project_id, "user_id": user_id, "role": role.value})
    assert row is not None  # INSERT ... RETURNING
    return _membership(row)


def remove(tx: Tx, project_id: ProjectId, user_id: UserId) -> Membership:
    """Raises ``NotFound``. What they hold returns when its lease runs out."""
    return _found(tx.one(_Q["remove"], {"project_id": project_id, "user_id": user_id}), user_id)


def pause(tx: Tx, project_id: ProjectId, user_id: UserId, reason: str) -> Membership:
    """Ask nothing more of somebody. Raises ``NotFound``."""
    return _found(tx.one(_Q["pause"], {"project_id": project_id, "user_id": user_id, "reason": reason}), user_id)


def resume(tx: Tx, project_id: ProjectId, user_id: UserId) -> Membership:
    """Raises ``NotFound``."""
    return _found(tx.one(_Q["resume"], {"project_id": project_id, "user_id": user_id}), user_id)


def _found(row: Row | None, user_id: UserId) -> Membership:
    if row is None:
        raise NotFound(f"user {user_id} is not in this project")
    return _membership(row)


def may_see_image(tx: Tx, project_id: ProjectId, user_id: UserId, image_id: ImageId) -> bool:
    """Whether the image is one that this annotator holds, answered, or is shown as a picked example."""
    row = tx.one(_Q["may_see_image"], {"project_id": project_id, "user_id": user_id, "image_id": image_id})
    return bool(row and row["found"])


def principal_of(tx: Tx, user: User) -> Principal:
    """The user, with what they are in each project. Of an admin that makes no difference."""
    memberships: Mapping[ProjectId, Membership] = {} if user.is_admin else of_user(tx, user.id)
    return Principal(user=user, memberships=memberships)


def principal_of_session(tx: Tx, token_sha256: bytes) -> Principal | None:
    """None if the session ended or the user is disabled."""
    user = users.user_of_session(tx, token_sha256)
    return None if user is None else principal_of(tx, user)


def principal_of_key(tx: Tx, key_sha256: bytes) -> Principal | None:
    """None unless the key is good now, and so is whom it acts as. Its last use is noted."""
    key = users.key_by_digest(tx, key_sha256)
    if key is None or key.user_id is None:
        return None if key is None else Principal(key=key)
    row = tx.one(_Q["owner_of_key"], {"user_id": key.user_id})
    if row is None or row["disabled"]:
        return None
    owner = principal_of(tx, users.from_row(row))
    return Principal(user=owner.user, memberships=owner.memberships, key=key)
