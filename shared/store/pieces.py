"""Files that are larger than anybody wants to hold at once, as objects of one size each but for the last.

A file is written while it comes into being, so neither its length nor a disk is needed, and any part of it can be read
without what comes before.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.store.base import Store

PIECE = 16 << 20
"""Bytes of an object, and what writing takes of memory."""
_RANGE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Stored:
    """``sha256`` of the whole file, hexadecimal."""

    bytes: int
    sha256: str


def save(store: Store, prefix: str, body: Iterable[bytes], piece_bytes: int = PIECE) -> Stored:
    """Write what comes under ``prefix``, which must end with a slash and be this writer's own."""
    digest, size = hashlib.sha256(), 0
    piece = io.BytesIO()
    for chunk in body:
        digest.update(chunk)
        size += len(chunk)
        rest = memoryview(chunk)
        while rest:
            fitting = rest[: piece_bytes - piece.tell()]
            piece.write(fitting)
            rest = rest[len(fitting) :]
            if piece.tell() == piece_bytes:
                _put(store, prefix, (size - len(rest)) // piece_bytes - 1, piece)
                piece = io.BytesIO()
    if piece.tell():
        _put(store, prefix, size // piece_bytes, piece)
    return Stored(bytes=size, sha256=digest.hexdigest())


def read(store: Store, prefix: str, piece_bytes: int, start: int, stop: int) -> Iterator[bytes]:
    """The bytes from ``start`` to before ``stop``, a megabyte or so at a time. Raises ``NotFound`` on the way."""
    at = start
    while at < stop:
        number, offset = divmod(at, piece_bytes)
        length = min(piece_bytes - offset, stop - at)
        key = _key(prefix, number)
        if length == piece_bytes:
            with store.open(key) as chunks:
                yield from chunks
        else:
            for begin in range(offset, offset + length, _RANGE):
                yield store.get_range(key, begin, min(_RANGE, offset + length - begin))
        at += length


def _put(store: Store, prefix: str, number: int, piece: io.BytesIO) -> None:
    length = piece.tell()
    piece.seek(0)
    store.put(_key(prefix, number), piece, length)


def _key(prefix: str, number: int) -> str:
    return f"{prefix}{number:06d}"
