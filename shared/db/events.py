"""The audit log: who did what, when. It only grows."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import ProjectId

_Q = queries("events")
_NEWEST = 2**62
ADDRESS: ContextVar[str | None] = ContextVar("address", default=None)
"""Where the request comes from that is being served: ``shared.web`` says so, once for each. None: not a request."""


@dataclass(frozen=True, kw_only=True)
class Event:
    id: int
    at: datetime
    project_id: ProjectId | None
    actor: str
    kind: str
    data: Mapping[str, Any]
    address: str | None = None
    """Where who did it was; None: not known."""


def record(tx: Tx, project_id: ProjectId | None, actor: str, kind: str, data: Mapping[str, Any] | None = None) -> None:
    """Note that ``actor`` (``user:3``, ``key:wnw_ab12``, ``system``) did ``kind`` (``project.started``).

    Where from is known by itself: see ``ADDRESS``.
    """
    params = {"project_id": project_id, "actor": actor, "kind": kind, "address": ADDRESS.get()}
    tx.run(_Q["insert_event"], {**params, "data": json.dumps(dict(data or {}))})


def newest(tx: Tx, project_id: ProjectId, *, before: int = _NEWEST, limit: int = 50) -> list[Event]:
    """Events with an id below ``before``, the newest first."""
    return [Event(**r) for r in tx.all(_Q["list_events"], {"project_id": project_id, "before": before, "limit": limit})]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which events; None: any. ``since`` is included, ``until`` is not. ``only``: of these projects."""

    project_id: ProjectId | None = None
    only: Collection[ProjectId] | None = None
    actor: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def search(tx: Tx, wanted: Wanted, *, before: int = _NEWEST, limit: int = 50) -> list[Event]:
    """Events with an id below ``before``, the newest first."""
    only = None if wanted.only is None else list(wanted.only)
    params = {**vars(wanted), "only": only, "before": before, "limit": limit}
    return [Event(**row) for row in tx.all(_Q["search"], params)]


def actors(tx: Tx, *, limit: int = 200) -> list[str]:
    """Who has done anything, in any project."""
    return [row["actor"] for row in tx.all(_Q["actors"], {"limit": limit})]
