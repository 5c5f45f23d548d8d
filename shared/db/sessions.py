"""The sessions of people who are signed in, and failed tries to sign in. Tokens come in as digests only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.access import Principal
from shared.db import members, users
from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import UserId
from shared.errors import NotFound

_Q = queries("sessions")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A session that is good now. ``touch``: note that it was used, which is done once a minute at most."""

    id: int
    principal: Principal
    touch: bool


@dataclass(frozen=True, kw_only=True)
class Session:
    """As its owner sees it. ``current``: the one that asks."""

    id: int
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    address: str | None
    agent: str | None
    current: bool


def find(tx: Tx, token_sha256: bytes, *, idle_minutes: int) -> Found | None:
    """None if the session ended, was not used for ``idle_minutes``, or its user is disabled."""
    row = tx.one(_Q["find"], {"token_sha256": token_sha256, "idle_minutes": idle_minutes})
    if row is None:
        return None
    return Found(id=row["session_id"], principal=members.principal_of(tx, users.from_row(row)), touch=row["touch"])


def touch(tx: Tx, session_id: int) -> None:
    """Note that it was used just now."""
    tx.run(_Q["touch"], {"id": session_id})


def of_user(tx: Tx, user_id: UserId, *, current: bytes, idle_minutes: int) -> list[Session]:
    """Those that are good now, the one used last first."""
    params = {"user_id": user_id, "current": current, "idle_minutes": idle_minutes}
    return [Session(**row) for row in tx.all(_Q["of_user"], params)]


def end(tx: Tx, user_id: UserId, session_id: int) -> None:
    """Raises ``NotFound`` unless it is theirs."""
    if tx.one(_Q["end_one"], {"id": session_id, "user_id": user_id}) is None:
        raise NotFound("there is no such session")


def end_all_of(tx: Tx, user_id: UserId, *, but: bytes | None = None) -> int:
    """Sign somebody out everywhere, ``but`` for one session; how many ended."""
    return len(tx.all(_Q["end_all_of"], {"user_id": user_id, "except": but}))


def failures(tx: Tx, username: str, address: str, *, window_s: float, limit: int) -> list[float]:
    """How many seconds ago each of the last failed tries was, the newest first."""
    params = {"username": username, "address": address, "window_s": window_s, "limit": limit}
    return [row["ago"] for row in tx.all(_Q["failures"], params)]


def failed(tx: Tx, username: str, address: str, *, window_s: float) -> None:
    """Note a failed try. Those that no longer count are removed on the way."""
    tx.run(_Q["forget_old_failures"], {"window_s": window_s})
    tx.run(_Q["failed"], {"username": username, "address": address})


def succeeded(tx: Tx, username: str, address: str) -> None:
    tx.run(_Q["forget_failures"], {"username": username, "address": address})
