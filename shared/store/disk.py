"""The store in a folder, for local mode: the key is the path.

An object is written to a file of its own beside the others and moved to its place when it is whole and on the disk, so
a reader sees all of it or nothing, also after a crash.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from shared.errors import Invalid, NotFound, Permanent, Retryable
from shared.store.base import Entry
from shared.store.checks import ExactBody, check_key, check_prefix, check_range

CHUNK = 1 << 20
INCOMING = ".incoming"
ABANDONED_S = 24 * 3600.0
"""A file that has been incoming for this long was left by a process that died."""


@contextmanager
def _os_errors(key: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"there is no object {key}") from error
    except NotADirectoryError as error:
        raise NotFound(f"there is no object {key}: something above it is one") from error
    except PermissionError as error:
        raise Permanent(f"the store's folder does not let this user at {key}: {error}") from error
    except OSError as error:
        raise Retryable(f"the disk failed at {key}: {error}") from error


class DiskStore:
    """See ``shared.store.base.Store``. Makes ``root`` if it isn't there. Content types are not kept.

    A key can't also be the beginning of another's path (``a`` and ``a/b``): ``put`` raises ``Invalid`` for that.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._incoming = self._root / INCOMING
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Permanent(f"the store's folder {root} can't be made: {error}") from error
        self._remove_abandoned(time.time() - ABANDONED_S)

    def put(self, key: str, body: BinaryIO, length: int, content_type: str = "application/octet-stream") -> None:
        path = self._path(key)
        exact = ExactBody(body, length)
        with _os_errors(key):
            descriptor, incoming = tempfile.mkstemp(dir=self._incoming)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    while chunk := exact.read(CHUNK):
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                self._move(Path(incoming), path, key)
            except BaseException:
                Path(incoming).unlink(missing_ok=True)
                raise

    def put_bytes(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        self.put(key, io.BytesIO(body), len(body), content_type)

    def get(self, key: str) -> bytes:
        with _os_errors(key):
            return self._path(key).read_bytes()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        check_range(start, length)
        with _os_errors(key), self._path(key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        with _os_errors(key):
            file = self._path(key).open("rb")
        with file:
            yield self._chunks(file, key)

    def exists(self, key: str) -> bool:
        with _os_errors(key):
            return self._path(key).is_file()

    def delete(self, key: str) -> None:
        with suppress(NotFound), _os_errors(key):
            self._path(key).unlink()

    def list(self, prefix: str) -> Iterator[str]:
        check_prefix(prefix)
        folder, _, start = prefix.rpartition("/")
        return self._walk(f"{folder}/" if folder else "", start)

    def size(self, key: str) -> int | None:
        """Bytes of an object; None if it isn't there."""
        path = self._path(key)
        return path.stat().st_size if path.is_file() else None

    def entries(self, prefix: str) -> Iterator[Entry]:
        return self._entries(self.list(prefix))

    def presigned_get(self, key: str, expires_s: int) -> str | None:
        check_key(key)
        return None

    def check(self) -> None:
        key, body = f"checks/{uuid.uuid4().hex}", b"winnow"
        try:
            self.put_bytes(key, body)
            if self.get(key) != body:
                raise Retryable(f"what was written to {self._root} came back different")
            self.delete(key)
        except (NotFound, Permanent) as error:
            raise Retryable(str(error)) from error

    def _path(self, key: str) -> Path:
        check_key(key)
        return self._root / key

    def _move(self, incoming: Path, path: Path, key: str) -> None:
        """Move the file to its place, and see to it that its name, too, survives a crash."""
        try:
            made = _make_folders(path.parent)
            incoming.replace(path)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise Invalid(f"{key} can't be stored: another key is a part of its path, or it of another's") from error
        for folder in (path.parent, *(folder.parent for folder in made)):
            _sync_folder(folder)

    def _walk(self, folder: str, start: str) -> Iterator[str]:
        """Keys below ``folder`` whose next segment begins with ``start``, in the order of their bytes.

        A folder sorts as its name with a slash: that is how its keys compare with the files beside it.
        """
        for name in self._names(folder, start):
            if name.endswith("/"):
                yield from self._walk(folder + name, "")
            else:
                yield folder + name

    def _entries(self, keys: Iterator[str]) -> Iterator[Entry]:
        for key in keys:
            with suppress(NotFound):
                with _os_errors(key):
                    found = self._path(key).stat()
                yield Entry(key=key, size=found.st_size, modified=datetime.fromtimestamp(found.st_mtime, UTC))

    def _names(self, folder: str, start: str) -> Sequence[str]:
        with suppress(NotFound), _os_errors(folder), os.scandir(self._root / folder) as found:
            return sorted(
                f"{entry.name}/" if entry.is_dir() else entry.name
                for entry in found
                if entry.name.startswith(start) and not entry.name.startswith(".")
            )
        return ()

    @staticmethod
    def _chunks(file: BinaryIO, key: str) -> Iterator[bytes]:
        with _os_errors(key):
            while chunk := file.read(CHUNK):
                yield chunk

    def _remove_abandoned(self, before: float) -> None:
        for path in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()


def _make_folders(folder: Path) -> list[Path]:
    """Make the folder and those above it; returns the ones that weren't there."""
    made = []
    for above in (folder, *folder.parents):
        if above.is_dir():
            break
        made.append(above)
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
