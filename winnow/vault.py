"""The objects of all backups in a folder, each once, named by the SHA-256 of what is in it.

A file is written beside the others, and moved to its name when it is whole and on the disk. So what has a name is
whole, and two snapshots in which a key holds different bytes (ids are given anew after a restore) don't collide.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

CHUNK = 1 << 20
_INCOMING = ".incoming"


def sync_folder(folder: Path) -> None:
    """See to it that the names in it survive a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, body: bytes) -> None:
    """All of the file or nothing, on the disk when this returns, readable by its owner alone."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
    sync_folder(path.parent)


class Vault:
    """Thread-safe. ``add`` and ``remove`` are for the one process that has the folder to itself."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def prepare(self) -> None:
        """Make the folders, and remove what a process that died was writing."""
        for number in range(256):
            (self._root / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        incoming = self._root / _INCOMING
        incoming.mkdir(exist_ok=True)
        for left in incoming.iterdir():
            left.unlink()

    def path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """Bytes of the file of that name; None if there is none."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def add(self, chunks: Iterator[bytes], refuse: Callable[[str, int], str | None]) -> tuple[str, int]:
        """Take in what is streamed; returns its SHA-256 and its size.

        ``refuse`` is asked, once all has been read, why it may not be kept (None: it may); then nothing is. Raises
        ``ValueError`` with that reason.
        """
        digest, size = hashlib.sha256(), 0
        descriptor, name = tempfile.mkstemp(dir=self._root / _INCOMING)
        incoming = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
                    size += len(chunk)
                sha256 = digest.hexdigest()
                reason = refuse(sha256, size)
                if reason is not None:
                    raise ValueError(reason)
                if self.size(sha256) == size:
                    return sha256, size
                file.flush()
                os.fsync(file.fileno())
            incoming.replace(self.path(sha256))
        finally:
            with suppress(FileNotFoundError):
                incoming.unlink()
        return sha256, size

    def read(self, sha256: str) -> Iterator[bytes]:
        """Raises ``FileNotFoundError``."""
        with self.path(sha256).open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def damage(self, sha256: str, size: int) -> str | None:
        """What is wrong with a file; None if it is as it should be. Reads all of it."""
        digest, found = hashlib.sha256(), 0
        try:
            for chunk in self.read(sha256):
                digest.update(chunk)
                found += len(chunk)
        except FileNotFoundError:
            return "is missing"
        if found != size:
            return f"has {found} bytes, not {size}"
        return None if digest.hexdigest() == sha256 else "holds other bytes than were written"

    def sync(self) -> None:
        """See to it that every name survives a crash. The bytes do since ``add``."""
        for folder in self._root.iterdir():
            sync_folder(folder)
        sync_folder(self._root)

    def names(self) -> Iterator[str]:
        for folder in sorted(self._root.iterdir()):
            if folder.name != _INCOMING:
                yield from (path.name for path in folder.iterdir())

    def remove(self, sha256: str) -> int:
        """Returns how many bytes went."""
        size = self.path(sha256).stat().st_size
        self.path(sha256).unlink()
        return size
