"""What is told of a project to those who watch it: server-sent events (WHATWG HTML, 9.2).

A browser that keeps a stream open holds no thread: the stream wakes once a second, has the project's standing looked up
in the thread pool (one look serves all who watch), and sends it if it differs from what this browser has seen. A stream
ends by itself after ``LASTS_S``, and the browser opens another: so somebody who was signed out meanwhile sees no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from services.ui.standing import Standing, Standings
from services.ui.state import project_state
from shared.domain import ProjectId
from shared.errors import Retryable

LASTS_S = 60.0
_EVERY_S, _AGAIN_MS, _SILENT_S = 1.0, 2_000, 15.0


@dataclass(frozen=True)
class _Told:
    standing: Standing
    text: str


class Telling:
    """The newest word on each project, as it is sent. Thread-safe."""

    def __init__(self, standings: Standings) -> None:
        self._standings = standings
        self._told: dict[ProjectId, _Told] = {}
        self._interruptions = 0

    def word(self, project_id: ProjectId) -> str:
        """The state as JSON, written once for all who watch. Raises ``NotFound``."""
        standing = self._standings.get(project_id)
        told = self._told.get(project_id)
        if told is None or told.standing is not standing:
            told = _Told(standing, project_state(standing).model_dump_json())
            self._told[project_id] = told
        return told.text

    def interrupt(self) -> None:
        """End all streams within a second, as the service is about to end. Their browsers ask again."""
        self._interruptions += 1

    async def stream(self, project_id: ProjectId) -> AsyncIterator[str]:
        """Events for one browser: the state, each time that it differs from the last."""
        yield f"retry: {_AGAIN_MS}\n\n"
        began = spoke = time.monotonic()
        seen, interruptions = "", self._interruptions
        while time.monotonic() - began < LASTS_S and self._interruptions == interruptions:
            try:
                word = await run_in_threadpool(self.word, project_id)
            except Retryable:
                return  # the database is away: the browser shows that nobody tells it anything, and asks again
            if word != seen:
                seen, spoke = word, time.monotonic()
                yield f"event: state\ndata: {word}\n\n"
            elif time.monotonic() - spoke > _SILENT_S:
                spoke = time.monotonic()
                yield ": nothing new\n\n"  # a proxy sees that the stream lives, and we that the browser has left
            await asyncio.sleep(_EVERY_S)
