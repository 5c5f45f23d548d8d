"""Flags: what annotators want a lead to see about an image."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import FlagId, ImageId, ProjectId, UserId
from shared.errors import NotFound

_Q = queries("flags")
_NEWEST = 2**62


@dataclass(frozen=True, kw_only=True)
class Flag:
    """``label`` is the name of the image's present class; ``resolved_at`` is None while the flag is open."""

    id: FlagId
    image_id: ImageId
    filename: str
    note: str
    by_name: str
    created_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    label: str | None


def add(
    tx: Tx, project_id: ProjectId, image_id: ImageId, user_id: UserId, note: str, *, key: str
) -> tuple[FlagId, bool]:
    """Raise a flag; the same ``key`` again changes nothing. Returns its id and whether it is new.

    Raises ``NotFound`` for an image of another project.
    """
    params = {"project_id": project_id, "image_id": image_id, "user_id": user_id, "note": note, "key": key}
    row = tx.one(_Q["insert_flag"], params)
    if row is not None:
        return FlagId(row["id"]), True
    before = tx.one(_Q["flag_by_key"], params)
    if before is None:
        raise NotFound(f"there is no image {image_id} in this project")
    return FlagId(before["id"]), False


def page(
    tx: Tx, project_id: ProjectId, *, before: int = _NEWEST, limit: int = 50, only_open: bool = True
) -> list[Flag]:
    """Flags with an id below ``before``, the newest first."""
    params = {"project_id": project_id, "before": before, "limit": limit, "only_open": only_open}
    return [Flag(**row) for row in tx.all(_Q["list_flags"], params)]


def count_open(tx: Tx, project_id: ProjectId) -> int:
    row = tx.one(_Q["count_open"], {"project_id": project_id})
    return int(row["flags"]) if row else 0


def resolve(tx: Tx, project_id: ProjectId, flag_id: FlagId, actor: str) -> bool:
    """It has been seen to. False if it had been before. Raises ``NotFound``, also for a flag of another project."""
    params = {"project_id": project_id, "id": flag_id, "actor": actor}
    if tx.one(_Q["resolve"], params) is not None:
        return True
    if tx.one(_Q["get_flag"], params) is None:
        raise NotFound(f"there is no flag {flag_id} in this project")
    return False
