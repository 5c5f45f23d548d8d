"""Rows of webhooks: endpoints and their secrets, the outbox, and the log of attempts. ``shared.webhooks`` uses them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import ProjectId
from shared.errors import Conflict, NotFound

_Q = queries("webhooks")
_NEWEST = 2**62
Within = Collection[ProjectId] | None
"""Only endpoints of these projects, and none of all projects. None: every one."""
PING = "webhook.ping"
"""The type of a test message, which no endpoint asks for."""


class EventType(StrEnum):
    """What an endpoint can be told of."""

    BATCH_OPENED = "batch.opened"
    BATCH_COMPLETED = "batch.completed"
    BATCH_CANCELLED = "batch.cancelled"
    TASK_LEASE_EXPIRED = "task.lease_expired"
    ANNOTATION_SUBMITTED = "annotation.submitted"
    ANNOTATION_ACCEPTED = "annotation.accepted"
    ANNOTATION_REJECTED = "annotation.rejected"
    ROUND_COMPLETED = "round.completed"
    MODEL_PROMOTED = "model.promoted"
    PROJECT_STOPPED = "project.stopped"
    EXPORT_READY = "export.ready"


class MessageState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up: every attempt failed, or the endpoint was disabled before."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """``project_id`` None: it is told of every project. Its secrets are elsewhere."""

    id: int
    project_id: ProjectId | None
    url: str
    description: str
    types: Sequence[str]
    enabled: bool
    disabled_reason: str | None
    failing_since: datetime | None
    created_by: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A message in hand. ``attempts``: how many were made before."""

    id: int
    endpoint_id: int
    uid: UUID
    type: str
    data: Mapping[str, Any]
    attempts: int
    fence: int
    created_at: datetime
    url: str


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """``status`` None: no answer came; ``error`` says why. ``excerpt`` is the beginning of the answer's body."""

    at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    excerpt: str

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message as the log shows it, with its last attempt. ``next_at``: when it is tried next; None: never."""

    id: int
    uid: UUID
    type: str
    data: Mapping[str, Any]
    state: MessageState
    attempts: int
    next_at: datetime | None
    created_at: datetime
    last: Attempt | None


def _endpoint(row: Row) -> Endpoint:
    return Endpoint(**{name: row[name] for name in Endpoint.__dataclass_fields__})


def _attempt(row: Row) -> Attempt:
    return Attempt(**{name: row[name] for name in Attempt.__dataclass_fields__})


def _message(row: Row) -> Message:
    state = MessageState(row["state"])
    return Message(
        id=row["id"],
        uid=UUID(row["uid"]),
        type=row["type"],
        data=row["data"],
        state=state,
        attempts=row["attempts"],
        next_at=row["next_at"] if state is MessageState.PENDING else None,
        created_at=row["created_at"],
        last=_attempt({**row, "at": row["tried_at"]}) if row["tried_at"] is not None else None,
    )


def add(
    tx: Tx,
    project_id: ProjectId | None,
    *,
    url: str,
    types: Sequence[str],
    description: str,
    secret: str,
    created_by: str,
) -> Endpoint:
    """A new endpoint, enabled, with its first secret. Raises ``Conflict`` for a project that isn't there."""
    row = tx.one(
        _Q["insert_endpoint"],
        {
            "project_id": project_id,
            "url": url,
            "types": list(types),
            "description": description,
            "created_by": created_by,
        },
    )
    assert row is not None  # INSERT ... RETURNING
    tx.run(_Q["insert_secret"], {"endpoint_id": row["id"], "secret": secret})
    return get(tx, row["id"])


def get(tx: Tx, endpoint_id: int, *, within: Within = None, lock: bool = False) -> Endpoint:
    """Raises ``NotFound``."""
    row = tx.one(_Q["lock_endpoint" if lock else "get_endpoint"], {"id": endpoint_id, "within": _listed(within)})
    if row is None:
        raise NotFound(f"there is no webhook {endpoint_id}")
    return _endpoint(row)


def page(tx: Tx, *, after: int, limit: int, within: Within = None) -> list[Endpoint]:
    """In order of id."""
    params = {"after": after, "limit": limit, "within": _listed(within)}
    return [_endpoint(row) for row in tx.all(_Q["list_endpoints"], params)]


def _listed(within: Within) -> list[ProjectId] | None:
    return None if within is None else sorted(within)


def count(tx: Tx) -> int:
    row = tx.one(_Q["count_endpoints"])
    return int(row["endpoints"]) if row else 0


def change(tx: Tx, endpoint_id: int, *, url: str, types: Sequence[str], description: str) -> None:
    params = {"url": url, "types": list(types), "description": description}
    tx.run(_Q["set_endpoint"], {"id": endpoint_id, **params})


def enable(tx: Tx, endpoint_id: int) -> None:
    """Nothing for one that is enabled. How long another failed is forgotten."""
    tx.run(_Q["enable"], {"id": endpoint_id})


def disable(tx: Tx, endpoint_id: int, reason: str) -> None:
    """Nothing more goes to it, what waits included."""
    tx.run(_Q["disable"], {"id": endpoint_id, "reason": reason})
    tx.run(_Q["give_up_messages"], {"endpoint_id": endpoint_id})


def delete(tx: Tx, endpoint_id: int) -> None:
    tx.run(_Q["delete_endpoint"], {"id": endpoint_id})


def rotate(tx: Tx, endpoint_id: int, secret: str, *, keep_s: float) -> None:
    """Sign with ``secret`` from now on, and for ``keep_s`` seconds with what was the secret before as well."""
    tx.run(_Q["expire_secrets"], {"endpoint_id": endpoint_id, "keep_s": keep_s})
    tx.run(_Q["insert_secret"], {"endpoint_id": endpoint_id, "secret": secret})


def secrets(tx: Tx, endpoint_id: int, *, most: int) -> list[str]:
    """Those that are good now, the newest first."""
    return [row["secret"] for row in tx.all(_Q["secrets"], {"endpoint_id": endpoint_id, "most": most})]


def emit(tx: Tx, project_id: ProjectId, type_: EventType, data: Sequence[Mapping[str, Any]]) -> int:
    """Write a message for each endpoint that wants this, of each of ``data``; returns how many."""
    params = {"project_id": project_id, "type": type_.value, "data": [json.dumps(dict(one)) for one in data]}
    return tx.run(_Q["emit"], params)


def add_message(tx: Tx, endpoint_id: int, type_: str, data: Mapping[str, Any]) -> Message:
    """To this endpoint, whatever it wants to be told of."""
    params = {"endpoint_id": endpoint_id, "type": type_, "data": json.dumps(dict(data))}
    row = tx.one(_Q["insert_message"], params)
    assert row is not None  # INSERT ... RETURNING
    return message(tx, endpoint_id, row["id"])


def claim(tx: Tx, *, count: int, per_endpoint: int, busy: Sequence[int], lease_s: float) -> list[Claimed]:
    """Up to ``count`` due messages. ``busy``: the endpoints of those that are in hand already, one entry each."""
    params = {"count": count, "per_endpoint": per_endpoint, "busy": list(busy), "lease_s": lease_s}
    rows = tx.all(_Q["claim"], params)
    return [Claimed(**{**{k: row[k] for k in Claimed.__dataclass_fields__}, "uid": UUID(row["uid"])}) for row in rows]


def settle(tx: Tx, claimed: Claimed, attempt: Attempt, *, wait_s: float | None) -> None:
    """Log an attempt. Its message is delivered, or else tried again in ``wait_s`` seconds, or given up (None).

    Nothing comes of it for a message that is no longer this claim's; the attempt is logged all the same.
    """
    params = {"id": claimed.id, "fence": claimed.fence, "delivered": attempt.delivered, "wait_s": wait_s}
    tx.run(_Q["settle"], params)
    tx.run(_Q["insert_attempt"], {"message_id": claimed.id, **vars(attempt)})


def mark_working(tx: Tx, endpoint_id: int) -> None:
    tx.run(_Q["mark_working"], {"id": endpoint_id})


def mark_failing(tx: Tx, endpoint_id: int, *, forget_s: float) -> tuple[Endpoint, float] | None:
    """Note a failure; returns the endpoint and for how many seconds there were nothing but failures.

    Where nothing was tried for ``forget_s``, that begins anew. None if the endpoint is gone.
    """
    row = tx.one(_Q["mark_failing"], {"id": endpoint_id, "forget_s": forget_s})
    return None if row is None else (_endpoint(row), float(row["failing_s"]))


def messages(
    tx: Tx, endpoint_id: int, *, state: MessageState | None = None, before: int = _NEWEST, limit: int = 50
) -> list[Message]:
    """Those with an id below ``before``, the newest first."""
    params = {"endpoint_id": endpoint_id, "state": state and state.value, "before": before, "limit": limit}
    return [_message(row) for row in tx.all(_Q["list_messages"], params)]


def message(tx: Tx, endpoint_id: int, message_id: int) -> Message:
    """Raises ``NotFound``."""
    row = tx.one(_Q["get_message"], {"endpoint_id": endpoint_id, "id": message_id})
    if row is None:
        raise NotFound(f"webhook {endpoint_id} has no delivery {message_id}, or has it no more")
    return _message(row)


def attempts(tx: Tx, message_id: int) -> list[Attempt]:
    """In order of time."""
    return [_attempt(row) for row in tx.all(_Q["list_attempts"], {"message_id": message_id})]


def redeliver(tx: Tx, endpoint_id: int, message_id: int) -> None:
    """Try it again from the beginning. Raises ``Conflict`` while it waits for its next attempt anyway."""
    if tx.one(_Q["redeliver"], {"id": message_id, "endpoint_id": endpoint_id}) is None:
        raise Conflict(f"delivery {message_id} is under way already")


def delete_old(tx: Tx, *, keep_s: float, most: int) -> int:
    """Delete what was delivered or given up more than ``keep_s`` seconds ago; returns how many, at ``most``."""
    return tx.run(_Q["delete_old_messages"], {"keep_s": keep_s, "most": most})
