"""Taking uploaded files in: checked, stored, and only then written down.

A file's object is stored before its row is inserted, so a row never points at nothing. If the process dies between the
two, the object stays unused and the next upload of the same file writes the same bytes under the same key again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from shared.db import images, labels, projects
from shared.domain import ClassId, Image, ImageId, NewImage, ProjectId, Split
from shared.errors import Invalid, NotFound, Retryable, WinnowError
from shared.imaging import ImageInfo, decode, decode_cost, inspect, render_for_browser
from shared.intake.budget import MemoryBudget
from shared.intake.multipart import Part
from shared.metrics import IMAGES_INGESTED
from shared.store.base import image_key, view_key
from shared.system import System

CONTENT_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}


class FileStatus(StrEnum):
    """``duplicate``: the project has these very bytes already."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """What became of one file. ``reason`` is there for every rejected file."""

    filename: str
    status: FileStatus
    image_id: ImageId | None = None
    sha256: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where the files of a request go. ``class_id``: the label that they come with."""

    project_id: ProjectId
    split: Split
    class_id: ClassId | None = None


@dataclass
class Intake:
    """What became of the files of one request, in their order."""

    results: list[FileResult] = field(default_factory=list)

    def count(self, status: FileStatus) -> int:
        return sum(result.status is status for result in self.results)


@dataclass(frozen=True)
class _File:
    """A part, hashed if there is data in it. ``refused``: why it can't be taken."""

    part: Part
    sha256: str | None
    refused: str | None = None


class Ingest:
    """Takes files in. Thread-safe; ``decode_memory_bytes`` bounds what all threads decode at the same time."""

    def __init__(self, system: System, *, max_pixels: int, decode_memory_bytes: int) -> None:
        self._system = system
        self._max_pixels = max_pixels
        self._budget = MemoryBudget(decode_memory_bytes)

    def take(self, to: Destination, parts: Sequence[Part], intake: Intake) -> None:
        """Take a group of files in and add a result for each to ``intake``.

        Raises ``Retryable`` when the store or the database can't be reached, ``Permanent`` when the store refuses
        us. ``intake`` then has the results of the files that are safe; of the others no row was written.
        """
        files = [_File(part, _digest(part.data), part.problem) for part in parts]
        known = self._known(to, [file.sha256 for file in files if file.sha256])
        new: dict[str, NewImage] = {}
        checked: list[_File] = []
        failure: WinnowError | None = None
        for file in files:
            try:
                checked.append(self._check_and_store(to, file, known, new))
            except WinnowError as error:  # the store, not the file: what was stored before it is still written down
                failure = error
                break
        intake.results += self._write_down(to, checked, known, new)
        if failure is not None:
            raise failure

    def _known(self, to: Destination, digests: Sequence[str]) -> Mapping[str, Image]:
        with self._system.database.transaction() as tx:
            return images.by_sha256(tx, to.project_id, digests)

    def _check_and_store(
        self, to: Destination, file: _File, known: Mapping[str, Image], new: dict[str, NewImage]
    ) -> _File:
        """Store the file unless the project has it or it is refused; what was stored is added to ``new``."""
        data, sha256 = file.part.data, file.sha256
        if data is None or sha256 is None or sha256 in known or sha256 in new:
            return file
        try:
            info, view = self._examine(data)
        except Invalid as error:
            return _File(file.part, sha256, str(error))
        if view is not None:
            self._put(view_key(to.project_id, sha256), *view)
        self._put(image_key(to.project_id, sha256), data, CONTENT_TYPES[info.format])
        new[sha256] = NewImage(
            sha256=sha256,
            filename=file.part.filename,
            width=info.width,
            height=info.height,
            bytes=len(data),
            format=info.format,
            browser_safe=info.browser_safe,
            split=to.split,
        )
        return file

    def _examine(self, data: bytes) -> tuple[ImageInfo, tuple[bytes, str] | None]:
        """Decode the whole image, so that damage is found now; with a rendition if browsers need one.

        Raises ``Invalid``.
        """
        info = inspect(data, max_pixels=self._max_pixels)
        with self._budget.hold(decode_cost(info)):
            if not info.browser_safe:
                return info, render_for_browser(data, max_pixels=self._max_pixels)
            decode(data, max_pixels=self._max_pixels)
        return info, None

    def _put(self, key: str, body: bytes, content_type: str) -> None:
        """Whatever the store has against a write is its trouble and not the file's: never a reason to reject that."""
        try:
            self._system.store.put_bytes(key, body, content_type)
        except (Invalid, NotFound) as error:
            raise Retryable(f"the store can't take {key}: {error}") from error

    def _write_down(
        self, to: Destination, files: Sequence[_File], known: Mapping[str, Image], new: Mapping[str, NewImage]
    ) -> list[FileResult]:
        """Insert the rows of a group, all or none, and say what became of each file."""
        present = dict(known)
        fresh: set[str] = set()
        if new or (to.class_id is not None and known):
            with self._system.database.transaction() as tx:
                # One upload of a project at a time, so that two that bring the same files never wait for each other.
                projects.lock(tx, to.project_id)
                added = images.add(tx, to.project_id, list(new.values()))
                fresh = {image.sha256 for image in added}
                present |= {image.sha256: image for image in added}
                # Somebody else may have uploaded the same file since we looked.
                present |= images.by_sha256(tx, to.project_id, list(new.keys() - fresh))
                if to.class_id is not None:
                    labels.import_known(tx, to.project_id, dict.fromkeys(present, to.class_id))
                if added:
                    self._system.rounds.ingested(tx, to.project_id)
        results = [_result(file, present, fresh, to.split) for file in files]
        for result in results:
            IMAGES_INGESTED.labels(result.status.value).inc()
        return results


def _digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def _result(file: _File, present: Mapping[str, Image], fresh: set[str], split: Split) -> FileResult:
    """``fresh`` holds the digests whose rows were just inserted; the first file of each takes it out."""
    name, sha256 = file.part.filename, file.sha256
    if file.refused is not None or sha256 is None:
        return FileResult(filename=name, status=FileStatus.REJECTED, sha256=sha256, reason=file.refused)
    image = present[sha256]
    status = FileStatus.STORED if sha256 in fresh else FileStatus.DUPLICATE
    fresh.discard(sha256)
    elsewhere = f"it is already there, in the {image.split.value} split" if image.split is not split else None
    return FileResult(filename=name, status=status, image_id=image.id, sha256=sha256, reason=elsewhere)
