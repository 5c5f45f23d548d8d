"""Reading multipart bodies as they arrive: how many at the same time, and for how long.

Endpoints that do are asynchronous; what they do with a file runs in threads of the gate's own.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator
from typing import Any

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from shared.errors import Invalid, Retryable
from shared.intake.multipart import boundary_of
from shared.web import Problem

SILENCE_S = 60.0
"""A client that sends nothing for so long is taken to have gone."""
PATIENCE_S = 30.0
CLOSING_S = 3.0
"""How long requests may go on once the service was told to end."""
TICK_S = 0.5
FILES_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            }
        },
    }
}
"""What OpenAPI says of a body of files."""


class Gate:
    """How many requests bring files at the same time in this process.

    Parameters
    ----------
    receiving : requests that are read at the same time, each holding one file; others wait.
    threads : requests whose files are worked on at the same time. Apart from other endpoints' threads, which so stay
        free however much is sent.
    """

    def __init__(self, *, receiving: int, threads: int) -> None:
        self.threads = anyio.CapacityLimiter(threads)
        self.open_until = math.inf
        self._receiving = anyio.Semaphore(receiving)

    def close(self) -> None:
        """Break requests off soon. Their clients are told what became of them; may be called in a signal handler."""
        self.open_until = time.monotonic() + CLOSING_S

    @property
    def closed(self) -> bool:
        return time.monotonic() > self.open_until

    async def enter(self) -> None:
        """Raises ``Retryable`` if no request ends for a long time."""
        with anyio.move_on_after(PATIENCE_S):
            await self._receiving.acquire()
            return
        raise Retryable("too many uploads at the same time")

    def leave(self) -> None:
        self._receiving.release()


def boundary(request: Request) -> bytes:
    """The boundary between the files of a request. Raises ``Problem`` (415) unless it is multipart/form-data."""
    try:
        return boundary_of(request.headers.get("content-type", ""))
    except Invalid as error:
        raise Problem(
            status=415, kind="unsupported-media-type", title="Unsupported media type", detail=str(error)
        ) from None


async def pieces(request: Request, gate: Gate) -> AsyncGenerator[bytes, None]:
    """The body as it arrives.

    Raises ``ClientDisconnect``, ``Problem`` (408) when the client falls silent, ``Retryable`` when the service is
    about to end.
    """
    heard = time.monotonic()
    while True:
        message: Message | None = None
        with anyio.move_on_after(TICK_S):
            message = await request.receive()
        now = time.monotonic()
        if gate.closed:
            raise Retryable("the service is shutting down")
        if message is None:
            if now - heard > SILENCE_S:
                raise _silent()
            continue
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        heard = now
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _silent() -> Problem:
    detail = f"nothing came for {SILENCE_S:.0f} seconds"
    return Problem(status=408, kind="request-timeout", title="Request timeout", detail=detail)
