"""What endpoints are handed: the parts of the process, and parameters that many of them share."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator, BeforeValidator

from shared.errors import Invalid
from shared.intake.receiving import Receiver
from shared.store.base import Store
from shared.system import System

BIGGEST_ID = 2**63 - 1
_CURSOR = "after:"
_NUMBER = re.compile(r"[+-]?[\d._]+(e[+-]?\d+)?", re.IGNORECASE)


def _system(request: Request) -> System:
    system: System = request.app.state.system
    return system


def _receiver(request: Request) -> Receiver:
    receiver: Receiver = request.app.state.receiver
    return receiver


SystemPart = Annotated[System, Depends(_system)]
ReceiverPart = Annotated[Receiver, Depends(_receiver)]

ProjectPath = Annotated[int, Path(ge=1, le=BIGGEST_ID, description="The project's id.", examples=[1])]
JobPath = Annotated[int, Path(ge=1, le=BIGGEST_ID, description="The job's id.", examples=[5])]
ImagePath = Annotated[int, Path(ge=1, le=BIGGEST_ID, description="The image's id.", examples=[17])]
LimitQuery = Annotated[int, Query(ge=1, le=500, description="At most this many items.")]
CursorQuery = Annotated[
    str | None, Query(max_length=64, description="`next_cursor` of the page before; leave out for the first page.")
]


def _no_number(value: object) -> object:
    """Seconds since 1970 would be taken as well, which the document doesn't say."""
    if isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
        raise ValueError("write it like 2026-03-31T12:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    """Without a zone it is of UTC. Postgres knows fewer zones than there can be."""
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("it is out of range") from None


Moment = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(_in_utc)]


def encode_cursor(last_id: int) -> str:
    """The place after an item. Opaque to callers, so that it may change."""
    return base64.urlsafe_b64encode(f"{_CURSOR}{last_id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> int | None:
    """The id to go on from; None without a cursor. Raises ``Invalid`` for what ``encode_cursor`` did not make."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    number = text.removeprefix(_CURSOR)
    if not text.startswith(_CURSOR) or not number.isdecimal() or int(number) > BIGGEST_ID:
        raise Invalid("cursor is not one that this API gave; leave it out to start at the first page")
    return int(number)


def streamed(store: Store, key: str) -> tuple[bytes, Iterator[bytes]]:
    """An object's first chunk, and all of it as a stream. Raises ``NotFound`` now, before an answer has begun."""

    def chunks() -> Iterator[bytes]:
        with store.open(key) as opened:
            yield from opened

    rest = chunks()
    first = next(rest, b"")
    return first, chain((first,), rest)
