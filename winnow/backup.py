"""``winnow backup`` and ``winnow restore``: the database at one moment, and every object that it may refer to.

An object is written whole before the row that refers to it is committed, and never changed. So a backup takes its
snapshot of the database first and copies objects after that: whatever the snapshot needs is there. An object that an
earlier backup brought is not fetched again.

Layout::

    <folder>/objects/<key>                             shared by all snapshots
    <folder>/snapshots/<time>/manifest.json            written last: what has none is no snapshot
    <folder>/snapshots/<time>/tables/<table>.csv.gz
    <folder>/snapshots/<time>/objects.csv.gz           key, bytes, SHA-256; in order of key
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from shared.db import copying
from shared.errors import Conflict, Invalid, NotFound, Permanent, WinnowError
from shared.store.base import Store
from shared.store.disk import DiskStore

FORMAT = 1
Item = TypeVar("Item")
THREADS = 8
"""Objects on their way at once; each is held in memory."""
_AT_ONCE = 256
_IMAGE = re.compile(r"projects/\d+/images/([0-9a-f]{64})")
_NOT_KEPT = ("checks/",)  # what services write to see whether they can


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An object in a backup. ``sha256`` is hexadecimal."""

    key: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a snapshot holds. ``columns``, ``rows`` and ``sha256`` (of the CSV, uncompressed) are by table."""

    format: int
    name: str
    winnow: str
    migration: int
    columns: Mapping[str, Sequence[str]]
    rows: Mapping[str, int]
    sha256: Mapping[str, str]
    objects: int
    objects_bytes: int
    objects_sha256: str
    fetched: int
    """Objects that this backup had to fetch; the others came with earlier ones."""


class Backups:
    """The snapshots in a folder. One process at a time may write to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._snapshots = folder / "snapshots"

    def all(self) -> list[Manifest]:
        """Whole snapshots, the newest first."""
        names = sorted((p.parent.name for p in self._snapshots.glob("*/manifest.json")), reverse=True)
        return [self._manifest(name) for name in names if not name.startswith(".")]

    def get(self, name: str | None = None) -> Manifest:
        """By name, or the newest. Raises ``NotFound``."""
        found = [m for m in self.all() if name in (None, m.name)]
        if not found:
            wanted = f"snapshot {name}" if name else "snapshot"
            raise NotFound(f"there is no {wanted} in {self._folder}")
        return found[0]

    def create(self, database_url: str, store: Store) -> Manifest:
        """Back up. Raises ``Permanent``, with everything else kept, if an object is damaged where it comes from."""
        name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
        unfinished = self._snapshots / f".{name}"
        (unfinished / "tables").mkdir(parents=True)
        known = {}
        if earlier := self.all():
            known = {stored.key: stored for stored in self.objects(earlier[0])}
        with copying.snapshot(database_url) as database:
            dumps = {table: _dump(database, table, _table(unfinished, table)) for table in copying.TABLES}
            columns = {table: database.columns(table) for table in copying.TABLES}
            database.release()
            objects = _Copied(self._objects(), known, unfinished / "objects.csv.gz")
            objects.take(store)
        if objects.damaged:
            shutil.rmtree(unfinished)
            raise Permanent(
                "the object store holds damaged images, so nothing was backed up under a new name: "
                + ", ".join(objects.damaged[:20])
            )
        manifest = Manifest(
            format=FORMAT,
            name=name,
            winnow=version("winnow"),
            migration=database.migration,
            columns=columns,
            rows={table: rows for table, (rows, _) in dumps.items()},
            sha256={table: digest for table, (_, digest) in dumps.items()},
            objects=objects.count,
            objects_bytes=objects.bytes,
            objects_sha256=_digest(unfinished / "objects.csv.gz"),
            fetched=objects.fetched,
        )
        (unfinished / "manifest.json").write_text(json.dumps(asdict(manifest), indent=1))
        _flush(unfinished)
        unfinished.rename(self._snapshots / name)
        _flush_folder(self._snapshots)
        return manifest

    def objects(self, manifest: Manifest) -> Iterator[Stored]:
        """Every object of a snapshot, in order of key."""
        with gzip.open(self._snapshots / manifest.name / "objects.csv.gz", "rt", newline="") as lines:
            for key, size, sha256 in csv.reader(lines):
                yield Stored(key=key, bytes=int(size), sha256=sha256)

    def damage(self, manifest: Manifest) -> Iterator[str]:
        """Read all of a snapshot; say what isn't as it was written, a sentence each."""
        folder = self._snapshots / manifest.name
        for table in copying.TABLES:
            try:
                with gzip.open(_table(folder, table)) as body:
                    whole = _hexdigest(body) == manifest.sha256[table]
            except (OSError, EOFError):
                whole = False
            if not whole:
                yield f"the table {table} is damaged or missing"
        if _digest(folder / "objects.csv.gz") != manifest.objects_sha256:
            yield "the list of objects is damaged"
            return
        kept = self._objects()
        with ThreadPoolExecutor(THREADS) as pool:
            for part in _parts(self.objects(manifest)):
                yield from filter(None, pool.map(lambda stored: _damage_of(kept, stored), part))

    def restore(self, manifest: Manifest, database_url: str, store: Store) -> None:
        """Fill an empty database and the store. Objects that are there already are left as they are.

        Raises ``Invalid`` if the snapshot is damaged, before anything is written to the database; ``Conflict`` if the
        database isn't empty or the snapshot was made by a newer version.
        """
        from shared.db.migrate import migrate

        if damage := list(islice(self.damage(manifest), 20)):
            raise Invalid(f"the snapshot {manifest.name} can't be restored: {'; '.join(damage)}")
        kept = self._objects()
        migrate(database_url, upto=manifest.migration)
        copying.require_empty(database_url)
        with ThreadPoolExecutor(THREADS) as pool:
            for part in _parts(self.objects(manifest)):
                for _ in pool.map(lambda stored: _put_back(kept, store, stored), part):
                    pass  # raises what went wrong
        copying.load(database_url, _Dump(self._snapshots / manifest.name, manifest))
        migrate(database_url)

    def keep(self, newest: int) -> tuple[int, int]:
        """Remove all but the newest snapshots, and the objects of none; returns how many of both."""
        kept, gone = self.all()[:newest], self.all()[newest:]
        for manifest in gone:
            shutil.rmtree(self._snapshots / manifest.name)
        for unfinished in self._snapshots.glob(".*"):
            shutil.rmtree(unfinished)
        wanted = {stored.key for manifest in kept for stored in self.objects(manifest)}
        objects = self._objects()
        removed = [key for key in objects.list("") if key not in wanted]
        for key in removed:
            objects.delete(key)
        return len(gone), len(removed)

    def _objects(self) -> DiskStore:
        return DiskStore(self._folder / "objects")

    def _manifest(self, name: str) -> Manifest:
        try:
            values = json.loads((self._snapshots / name / "manifest.json").read_text())
            if values["format"] != FORMAT:
                raise Conflict(f"the snapshot {name} has the format {values['format']}: use the Winnow that made it")
            return Manifest(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise Invalid(f"the manifest of the snapshot {name} can't be read: {error}") from error


class _Copied:
    """The objects of the store, brought to the backup's folder as far as they aren't there, and listed in a file."""

    def __init__(self, kept: DiskStore, known: Mapping[str, Stored], listing: Path) -> None:
        self.count = self.bytes = self.fetched = 0
        self.damaged: list[str] = []
        self._kept = kept
        self._known = known
        self._listing = listing

    def take(self, store: Store) -> None:
        keys = (key for key in store.list("") if not key.startswith(_NOT_KEPT))
        with (
            gzip.open(self._listing, "wt", newline="") as lines,
            ThreadPoolExecutor(THREADS) as pool,
        ):
            out = csv.writer(lines)
            for part in _parts(keys):
                for stored, fetched in filter(None, pool.map(lambda key: self._one(store, key), part)):
                    out.writerow([stored.key, stored.bytes, stored.sha256])
                    self.count += 1
                    self.bytes += stored.bytes
                    self.fetched += fetched
                    image = _IMAGE.fullmatch(stored.key)
                    if image and image[1] != stored.sha256:
                        self.damaged.append(stored.key)
                        self._kept.delete(stored.key)  # so that the next backup looks again

    def _one(self, store: Store, key: str) -> tuple[Stored, bool] | None:
        """None for an object that was removed since the listing."""
        known = self._known.get(key)
        if known is not None and self._kept.size(key) == known.bytes:
            return known, False
        try:
            body, fetched = self._kept.get(key), False  # left by a backup that was interrupted
        except NotFound:
            try:
                body, fetched = store.get(key), True
            except NotFound:
                return None
            self._kept.put_bytes(key, body)
        return Stored(key=key, bytes=len(body), sha256=hashlib.sha256(body).hexdigest()), fetched


@dataclass(frozen=True)
class _Dump:
    """A snapshot's tables, as ``copying.load`` reads them."""

    folder: Path
    manifest: Manifest

    @property
    def columns(self) -> Mapping[str, Sequence[str]]:
        return self.manifest.columns

    @property
    def rows(self) -> Mapping[str, int]:
        return self.manifest.rows

    @contextmanager
    def open(self, table: str) -> Iterator[BinaryIO]:
        with gzip.open(_table(self.folder, table)) as body:
            yield cast(BinaryIO, body)


class _Hashing(io.RawIOBase):
    """Passes on what is written, and its digest with it."""

    def __init__(self, out: gzip.GzipFile) -> None:
        self.digest = hashlib.sha256()
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.digest.update(data)
        return self._out.write(data)


def _dump(database: copying.Snapshot, table: str, path: Path) -> tuple[int, str]:
    """Rows, and the digest of the CSV."""
    with gzip.open(path, "wb", compresslevel=6) as packed:
        out = _Hashing(packed)
        rows = database.dump(table, cast(BinaryIO, out))
    return rows, out.digest.hexdigest()


def _damage_of(kept: DiskStore, stored: Stored) -> str | None:
    try:
        body = kept.get(stored.key)
    except WinnowError as error:
        return str(error)
    return None if hashlib.sha256(body).hexdigest() == stored.sha256 else f"the object {stored.key} is damaged"


def _put_back(kept: DiskStore, store: Store, stored: Stored) -> None:
    if not store.exists(stored.key):
        store.put_bytes(stored.key, kept.get(stored.key))


def _table(folder: Path, table: str) -> Path:
    return folder / "tables" / f"{table}.csv.gz"


def _hexdigest(body: gzip.GzipFile) -> str:
    digest = hashlib.sha256()
    while chunk := body.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as body:
            return hashlib.file_digest(body, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _parts(items: Iterator[Item]) -> Iterator[list[Item]]:
    while part := list(islice(items, _AT_ONCE)):
        yield part


def _flush(folder: Path) -> None:
    """Onto the disk, so that a manifest never outlives, in a crash, what it speaks of."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as body:
                os.fsync(body.fileno())
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
