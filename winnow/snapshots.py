"""How a folder of backups is laid out, and its files read and written.

::

    objects/<aa>/<sha256>                what the store held, each content once, for all snapshots
    snapshots/<UTC time>/manifest.json   what is in the snapshot, with a digest of every other file
    snapshots/<UTC time>/tables/<table>.csv.gz
    snapshots/<UTC time>/objects.jsonl.gz   key, size, sha256 and time of each object, in order of key
    snapshots/.partial-<UTC time>/       one being made, or left by a process that died: ``objects.jsonl`` says how far
    lock
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from shared.db.copying import Counter
from shared.errors import Conflict, NotFound, Permanent
from winnow.vault import CHUNK, Vault, sync_folder, write_whole

FORMAT = 1
"""Grows when this version's readers couldn't read what is written."""
INDEX = "objects.jsonl.gz"
JOURNAL = "objects.jsonl"
MANIFEST = "manifest.json"
_PARTIAL, _REMOVED = ".partial-", ".removed-"


@dataclass(frozen=True, kw_only=True)
class TableCopy:
    table: str
    columns: tuple[str, ...]
    rows: int
    sha256: str
    """Of the CSV, not of the compressed file."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An object of a snapshot. ``modified``: by the store's clock, in ISO 8601."""

    key: str
    size: int
    sha256: str
    modified: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    name: str
    taken_at: str
    """When the database was read, in ISO 8601."""
    version: str
    migration: int
    tables: tuple[TableCopy, ...]
    counters: tuple[Counter, ...]
    objects: int
    bytes: int
    index_sha256: str
    problem_count: int
    problems: tuple[str, ...]
    """The first of them."""
    format: int = FORMAT

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def sound(self) -> bool:
        """Whether nothing was damaged or missing when it was made."""
        return self.problem_count == 0

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def from_json(body: str) -> Manifest:
        """Raises ``Permanent`` for what no version wrote, or a later one did."""
        try:
            values = json.loads(body)
            if values["format"] != FORMAT:
                raise Permanent(
                    f"the snapshot is of format {values['format']}, this version reads {FORMAT}: upgrade Winnow"
                )
            values["tables"] = tuple(TableCopy(**{**t, "columns": tuple(t["columns"])}) for t in values["tables"])
            values["counters"] = tuple(Counter(**counter) for counter in values["counters"])
            values["problems"] = tuple(values["problems"])
            return Manifest(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise Permanent(f"a manifest can't be read: {error}") from error


class HashingFile:
    """A gzip file that knows the digest of what was written to it."""

    def __init__(self, path: Path) -> None:
        self._raw = path.open("wb")
        self._file = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=self._raw, mtime=0)
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def close(self) -> str:
        """Returns the digest, in hex. The file is on the disk then."""
        self._file.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._raw.close()
        return self._digest.hexdigest()


class Folder:
    """A folder of backups."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._snapshots = root / "snapshots"
        self.vault = Vault(root / "objects")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The folder is made if it isn't there, and is this process's own while the block runs. Raises ``Conflict``."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._snapshots.mkdir(exist_ok=True, mode=0o700)
        with self._locked(fcntl.LOCK_EX, "another command is at work in it"):
            self.vault.prepare()
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Nothing in the folder changes while the block runs. Raises ``NotFound`` for what is no folder of backups."""
        if not self._snapshots.is_dir():
            raise NotFound(f"there are no backups in {self._root}")
        with self._locked(fcntl.LOCK_SH, "a backup is being made in it"):
            yield

    def names(self) -> list[str]:
        """Of the snapshots, the oldest first."""
        if not self._snapshots.is_dir():
            raise NotFound(f"there are no backups in {self._root}")
        return sorted(path.name for path in self._snapshots.iterdir() if not path.name.startswith("."))

    def manifest(self, name: str | None = None) -> Manifest:
        """Of that snapshot, or of the newest. Raises ``NotFound``, ``Permanent`` if it can't be read."""
        names = self.names()
        if not names or (name is not None and name not in names):
            raise NotFound(f"there is no snapshot {name or ''} in {self._root}; `winnow backups` lists them")
        try:
            return Manifest.from_json((self._snapshots / (name or names[-1]) / MANIFEST).read_text())
        except FileNotFoundError:
            raise Permanent(f"the snapshot {name or names[-1]} has no manifest: it is damaged") from None

    def manifests(self) -> list[Manifest]:
        return [self.manifest(name) for name in self.names()]

    def index(self, manifest: Manifest) -> Iterator[Kept]:
        """The objects of a snapshot in order of key. Raises ``Permanent`` at the end if the file is damaged."""
        yield from _parsed(_checked_lines(self._snapshots / manifest.name / INDEX, manifest.index_sha256))

    def read_table(self, manifest: Manifest, table: TableCopy) -> BinaryIO:
        """The table as CSV. Check it before: see ``check_table``."""
        return cast(BinaryIO, gzip.open(self._table(manifest, table)))

    def check_table(self, manifest: Manifest, table: TableCopy) -> None:
        """Raise ``Permanent`` unless the table is as it was written."""
        for _ in _checked_chunks(self._table(manifest, table), table.sha256):
            pass

    def begin(self, name: str) -> Path:
        """The folder of a snapshot to be made. Of those that processes left that died, only the journal is kept."""
        for left in self._snapshots.glob(f"{_PARTIAL}*"):
            shutil.rmtree(left / "tables", ignore_errors=True)
            for path in left.iterdir():
                if path.name != JOURNAL:
                    path.unlink()
        partial = self._snapshots / f"{_PARTIAL}{name}"
        (partial / "tables").mkdir(parents=True)
        return partial

    def journals(self) -> list[Iterator[Kept]]:
        """What processes that died had copied already, in order of key each."""
        return [_journal(path) for path in sorted(self._snapshots.glob(f"{_PARTIAL}*/{JOURNAL}"))]

    def finish(self, partial: Path, manifest: Manifest) -> None:
        """From now on it is a snapshot. Partial ones of processes that died are removed."""
        (partial / JOURNAL).unlink()
        write_whole(partial / MANIFEST, manifest.to_json().encode())
        sync_folder(partial / "tables")
        sync_folder(partial)
        self.vault.sync()
        partial.rename(self._snapshots / manifest.name)
        sync_folder(self._snapshots)
        for left in [*self._snapshots.glob(f"{_PARTIAL}*"), *self._snapshots.glob(f"{_REMOVED}*")]:
            shutil.rmtree(left)

    def keep_newest(self, count: int) -> tuple[list[str], int]:
        """Remove the snapshots before the ``count`` newest sound ones, and objects that none refers to any more.

        Returns the names of those removed, and how many bytes of objects went. Takes about 100 bytes of memory for
        each object that is kept.
        """
        manifests = self.manifests()
        sound = [manifest.name for manifest in manifests if manifest.sound]
        old = [m.name for m in manifests if len(sound) >= count and m.name < sound[-count]]
        if not old:
            return [], 0
        used = {bytes.fromhex(kept.sha256) for m in manifests if m.name not in old for kept in self.index(m)}
        for name in old:
            gone = self._snapshots / f"{_REMOVED}{name}"
            (self._snapshots / name).rename(gone)
            shutil.rmtree(gone)
        unused = [name for name in self.vault.names() if bytes.fromhex(name) not in used]
        return old, sum(self.vault.remove(name) for name in unused)

    def _table(self, manifest: Manifest, table: TableCopy) -> Path:
        return self._snapshots / manifest.name / "tables" / f"{table.table}.csv.gz"

    @contextmanager
    def _locked(self, how: int, why: str) -> Iterator[None]:
        path = self._root / "lock"
        with path.open("a" if how == fcntl.LOCK_EX or not path.exists() else "r") as lock:
            try:
                fcntl.flock(lock, how | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"{self._root} can't be used now: {why}") from None
            yield


def new_name(now: datetime) -> str:
    """Names of snapshots sort by time."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z"


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """What the disk of the backups can't do, such as being full, in our words."""
    try:
        yield
    except OSError as error:
        raise Permanent(f"the folder of backups {root} failed: {error}") from error


def to_line(kept: Kept) -> bytes:
    return (json.dumps(asdict(kept), separators=(",", ":")) + "\n").encode()


def _journal(path: Path) -> Iterator[Kept]:
    """A process that died may have left half a line at the end."""
    with path.open("rb") as lines:
        yield from _parsed(line for line in lines if line.endswith(b"\n"))


def _parsed(lines: Iterator[bytes]) -> Iterator[Kept]:
    for line in lines:
        try:
            values: dict[str, Any] = json.loads(line)
            yield Kept(**values)
        except (ValueError, TypeError) as error:
            raise Permanent(f"the list of a snapshot's objects is damaged: {error}") from error


def _checked_chunks(path: Path, sha256: str) -> Iterator[bytes]:
    digest = hashlib.sha256()
    try:
        with gzip.open(path) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                yield chunk
    except (OSError, EOFError, zlib.error) as error:  # a gzip that is cut off, or none
        raise Permanent(f"{path} is damaged: {error}") from error
    if digest.hexdigest() != sha256:
        raise Permanent(f"{path} is damaged: it holds other bytes than were written")


def _checked_lines(path: Path, sha256: str) -> Iterator[bytes]:
    rest = b""
    for chunk in _checked_chunks(path, sha256):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
