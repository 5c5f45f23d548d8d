"""Sending the file of an export, whole or from where a download broke off (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from fastapi import Request
from fastapi.responses import StreamingResponse

from shared.db.exports import Contents, Export, ExportForm
from shared.store.base import Store
from shared.store.pieces import read
from shared.web import Problem

MEDIA_TYPES = {ExportForm.CSV: "text/csv; charset=utf-8", ExportForm.ZIP: "application/zip"}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def filename(one: Export) -> str:
    """Says of what project and moment it is."""
    return f"project-{one.project_id}-{_held(one).moment:%Y%m%dT%H%M%SZ}.{one.form.value}"


def begins(request: Request) -> bool:
    """Whether this asks for a file from its beginning, and not for the rest of it."""
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    return found is None or found[1] == "0"


def sent(request: Request, store: Store, one: Export) -> StreamingResponse:
    """The answer with the file, or the one range of it that the request asks for.

    Raises ``NotFound`` if the store doesn't have it, ``Problem`` (416) for a range that lies beyond its end.
    """
    held = _held(one)
    etag = f'"{held.sha256}"'
    asked = request.headers.get("range", "") if request.headers.get("if-range", etag) == etag else ""
    start, stop = _asked(asked, held.bytes)
    headers = {
        "Content-Disposition": f'attachment; filename="{filename(one)}"',
        "Content-Length": str(stop - start),
        "Accept-Ranges": "bytes",
        "ETag": etag,
    }
    if (start, stop) != (0, held.bytes):
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{held.bytes}"
    body = _begun(read(store, held.key, held.piece_bytes, start, stop))
    status = 206 if "Content-Range" in headers else 200
    return StreamingResponse(body, status, headers, MEDIA_TYPES[one.form])


def _held(one: Export) -> Contents:
    assert one.contents is not None  # only what is finished is downloaded
    return one.contents


def _asked(value: str, size: int) -> tuple[int, int]:
    """From where to where. All of it for several ranges and for what is no range, which a server may ignore."""
    found = _RANGE.fullmatch(value)
    if found is None or found[1] == found[2] == "":
        return 0, size
    first, last = found.groups()
    if first == "":
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return 0, size
    if start >= size or start == stop:
        raise Problem(
            status=416,
            kind="range-not-satisfiable",
            title="The range is beyond the file's end",
            detail=f"the file has {size} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, stop


def _begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same; what is wrong with its beginning is raised now, before an answer has begun."""
    return chain((next(chunks, b""),), chunks)
