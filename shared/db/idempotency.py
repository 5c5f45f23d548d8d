"""Requests that may be sent twice, by the API key that sends them: under way, or with what was answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import ApiKeyId

_Q = queries("idempotency")
KEPT_HOURS = 24


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An earlier request. ``status`` None: it is under way."""

    request_sha256: bytes
    status: int | None
    headers: Mapping[str, str]
    body: bytes


def begin(tx: Tx, api_key_id: ApiKeyId, key: str, request_sha256: bytes, *, busy_s: float) -> Kept | None:
    """None: this caller may do the request, and says so again within ``busy_s``; else what became of the earlier one.

    What is older than a day is deleted on the way.
    """
    tx.run(_Q["forget_old"], {"hours": KEPT_HOURS})
    params = {"api_key_id": api_key_id, "key": key, "sha256": request_sha256, "busy_s": busy_s}
    if tx.one(_Q["begin"], params) is not None:
        return None
    row = tx.one(_Q["get"], params)
    if row is None:  # it failed, and was forgotten, this very moment: the caller may well try again
        return Kept(request_sha256=request_sha256, status=None, headers={}, body=b"")
    return Kept(
        request_sha256=bytes(row["request_sha256"]),
        status=row["status"],
        headers=row["headers"] or {},
        body=bytes(row["body"] or b""),
    )


def renew(tx: Tx, api_key_id: ApiKeyId, key: str, *, busy_s: float) -> None:
    """It is still under way."""
    tx.run(_Q["renew"], {"api_key_id": api_key_id, "key": key, "busy_s": busy_s})


def finish(tx: Tx, api_key_id: ApiKeyId, key: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Keep what was answered."""
    told = {"status": status, "headers": json.dumps(dict(headers)), "body": body}
    tx.run(_Q["finish"], {"api_key_id": api_key_id, "key": key, **told})


def forget(tx: Tx, api_key_id: ApiKeyId, key: str) -> None:
    """It came to nothing: sent again, it is done again."""
    tx.run(_Q["forget"], {"api_key_id": api_key_id, "key": key})
