"""An upload over HTTP: its body is read as it arrives, whichever service it was sent to, and noted however it ends."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

import anyio
from anyio import to_thread
from starlette.requests import Request

from shared.db import events, imports, projects
from shared.db.imports import ImportId
from shared.domain import ClassId, ProjectId, Split
from shared.errors import Conflict, Invalid, Retryable, WinnowError
from shared.intake.gate import Gate, boundary, pieces
from shared.intake.ingest import Destination, FileStatus, Ingest, Intake
from shared.intake.multipart import read_parts
from shared.system import System
from shared.telemetry import logger
from shared.web import streams_body

log = logger(__name__)
MAX_FILES = 10_000
"""Of one request: their results are held until its end."""
THREADS = 8
"""Requests whose files are checked and stored at the same time. Apart from other endpoints' threads, which so stay
free however much is uploaded."""
RECEIVING = 16
"""Requests that are read at the same time, each holding one file; others wait."""


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who sends the files, as the audit log names them, and the import that they are part of, if it was announced."""

    actor: str
    part_of: ImportId | None = None


class Receiver:
    """Takes uploads in for one process."""

    def __init__(self, system: System, *, max_file_bytes: int, max_pixels: int, decode_memory_bytes: int) -> None:
        self.gate = Gate(receiving=RECEIVING, threads=THREADS)
        self._system = system
        self._max_file_bytes = max_file_bytes
        self.ingest = Ingest(system, max_pixels=max_pixels, decode_memory_bytes=decode_memory_bytes)

    async def receive(self, request: Request, to: Destination, sender: Sender, intake: Intake) -> None:
        """Take in the files of a request as they arrive; ``intake`` has a result for each that is safe or refused.

        Raises ``Problem`` (415) for a body that isn't multipart/form-data and (408) when the client falls silent,
        ``Invalid`` for a malformed body or one without files, ``Retryable``. What is in ``intake`` then is stored.
        """
        streams_body(request)
        between = boundary(request)
        await self.gate.enter()
        try:
            await self._read(request, between, to, intake)
        finally:
            self.gate.leave()
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(_conclude, self._system, to, sender, intake)

    async def _read(self, request: Request, between: bytes, to: Destination, intake: Intake) -> None:
        async with aclosing(pieces(request, self.gate)) as body:
            async for parts in read_parts(body, between, max_file_bytes=self._max_file_bytes):
                if len(intake.results) + len(parts) > MAX_FILES:
                    raise Invalid(f"a request may bring {MAX_FILES:,} files at most; those after these were not read")
                await to_thread.run_sync(self.ingest.take, to, parts, intake, limiter=self.gate.threads)
        if not intake.results:
            raise Invalid("there is no file in this request")


def destination(system: System, project_id: ProjectId, split: Split, class_name: str | None) -> Destination:
    """Raises ``NotFound``, ``Invalid`` for a class that isn't the project's."""
    with system.database.transaction() as tx:
        project = projects.get(tx, project_id)
        classes = {c.name: c.id for c in projects.classes(tx, project.id)}
    if class_name is not None and class_name not in classes:
        raise Invalid(f"the project has no class '{class_name}'")
    class_id: ClassId | None = None if class_name is None else classes[class_name]
    return Destination(project_id=project_id, split=split, class_id=class_id)


def nudge(system: System, project_id: ProjectId) -> None:
    """Let the round move on if new labels made it due. They are committed: if this fails, the sweeper does it."""
    try:
        system.rounds.nudge(project_id)
    except (Retryable, Conflict) as error:
        log.warning("round.nudge_failed", project_id=project_id, error=str(error))


def _conclude(system: System, to: Destination, sender: Sender, intake: Intake) -> None:
    """Note who brought what, however the request ended. An import that was announced has its event already."""
    if not intake.results:
        return
    counts = {status.value: intake.count(status) for status in FileStatus}
    labelled = to.class_id is not None and len(intake.results) > counts[FileStatus.REJECTED]
    data = {"split": to.split.value, **counts} | ({"class_id": to.class_id} if labelled else {})
    rejects = [(r.filename, r.reason or "") for r in intake.results if r.status is FileStatus.REJECTED]
    try:
        with system.database.transaction() as tx:
            imports.add(
                tx,
                to.project_id,
                sender.actor,
                to.split,
                part_of=sender.part_of,
                stored=counts[FileStatus.STORED],
                duplicates=counts[FileStatus.DUPLICATE],
                rejects=rejects,
            )
            if sender.part_of is None and (counts[FileStatus.STORED] or labelled):
                events.record(tx, to.project_id, sender.actor, "images.uploaded", data)
    except WinnowError as error:  # the images are there, and the sender must hear of them
        log.error("upload.unaudited", project_id=to.project_id, error=str(error), **data)
    if labelled:
        nudge(system, to.project_id)
