"""``winnow restore``: a snapshot into an empty database and its store.

Objects first, the database last and in one transaction: a database with rows in it has all that they refer to. So a
restore that was cut short left no rows, and the next one goes on; what is in the store already is compared and left.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.db import copying, events
from shared.db.copying import Session
from shared.db.migrate import migrate, migrations
from shared.db.pool import Database
from shared.errors import Conflict, Permanent, Retryable
from shared.store.base import Entry
from winnow.backup import THREADS, Say
from winnow.copying import Need, Work, in_order, merged
from winnow.installing import install
from winnow.places import Place
from winnow.snapshots import Folder, Kept, Manifest, TableCopy, disk_errors
from winnow.vault import CHUNK

PATIENCE_S = 60.0
_NAMED_BY_CONTENT = re.compile(r"projects/\d+/images/[0-9a-f]{64}")
_HARMLESS = re.compile(r"projects/\d+/(images|views)/[0-9a-f]{64}")
"""What such a key holds is told by the key: left over from something else it can't be mistaken."""


@dataclass(frozen=True, kw_only=True)
class Restored:
    """``written`` objects; the others of the snapshot were there already. ``deleted`` ones were in the way."""

    manifest: Manifest
    written: int
    deleted: int


def restore(
    at: Place, root: Path, name: str | None, *, replace: bool = False, threads: int = THREADS, say: Say
) -> Restored:
    """Bring back the snapshot of that name, or the newest.

    The database must have no projects in it, and the store no models, scores or packs that the snapshot doesn't have,
    unless these are to be ``replace``d. Raises ``Conflict`` for what is not so, or for a snapshot of a newer version;
    ``Permanent`` for a damaged backup, before anything is written.
    """
    folder = Folder(root)
    with disk_errors(root), folder.reading():
        manifest = folder.manifest(name)
        newest = migrations()[-1].number
        if manifest.migration > newest:
            raise Conflict(
                f"the snapshot is at migration {manifest.migration}, this version knows {newest}: upgrade Winnow first"
            )
        _await_servers(at, say)
        copying.refuse_unless_empty(at.database_url)
        for table in manifest.tables:
            folder.check_table(manifest, table)
        say(f"snapshot {manifest.name}: {manifest.rows:,} rows, {manifest.objects:,} objects, {manifest.bytes:,} bytes")
        written, deleted = _Objects(at, folder, manifest, threads).put(replace)
        say(f"objects: {written:,} written, {manifest.objects - written:,} were there already")
        _fill(at.database_url, folder, manifest)
        for line in install(at.database_url):
            say(line)
    _record(at, manifest)
    return Restored(manifest=manifest, written=written, deleted=deleted)


def _await_servers(at: Place, say: Say) -> None:
    """Whoever restores has often started Postgres and the store a moment ago: they are waited for."""
    database = Database(at.database_settings())
    deadline, said = time.monotonic() + PATIENCE_S, False
    try:
        for check in (database.check, at.store.check):
            while True:
                try:
                    check()
                    break
                except Retryable as error:
                    if time.monotonic() > deadline:
                        raise
                    if not said:
                        say(f"waiting for the servers: {error}")
                    said = True
                    time.sleep(1)
    finally:
        database.close()


class _Objects:
    """The objects of one snapshot, on their way back."""

    def __init__(self, at: Place, folder: Folder, manifest: Manifest, threads: int) -> None:
        self._store = at.store
        self._folder = folder
        self._manifest = manifest
        self._threads = threads

    def put(self, replace: bool) -> tuple[int, int]:
        """Returns how many were written and how many were deleted."""
        self._refuse_damaged()
        in_the_way = list(filter(None, in_order(self._in_the_way, self._work(), self._threads)))
        if in_the_way and not replace:
            raise Conflict(
                f"the store holds {len(in_the_way)} models, scores or packs that the snapshot doesn't have or has "
                f"otherwise, such as {in_the_way[0]}: give an empty bucket or folder, or --replace to delete them"
            )
        for key in in_the_way:
            self._store.delete(key)
        return sum(in_order(self._write, self._work(), self._threads)), len(in_the_way)

    def _refuse_damaged(self) -> None:
        """Missing files and wrong sizes are found before anything is written; a wrong digest when its file is read."""
        for kept in self._folder.index(self._manifest):
            if self._folder.vault.size(kept.sha256) != kept.size:
                raise Permanent(
                    f"the backup is damaged: the file of {kept.key} is missing or cut off; `winnow verify` lists all"
                )

    def _work(self) -> Iterator[Work]:
        """Every key that the store or the snapshot has; what the snapshot has of it is ``known``."""
        kept = self._folder.index(self._manifest)
        needs = (Need(key=each.key, sha256=each.sha256) for each in self._folder.index(self._manifest))
        return merged(self._store.entries("projects/"), needs, [kept])

    def _in_the_way(self, work: Work) -> str | None:
        if work.entry is None or _HARMLESS.fullmatch(work.key):
            return None
        return None if work.known and self._same(work.entry, work.known[0]) else work.key

    def _same(self, entry: Entry, kept: Kept) -> bool:
        """Whether the store has these very bytes. Of images that have the right size the key is believed."""
        if entry.size != kept.size or _NAMED_BY_CONTENT.fullmatch(kept.key):
            return entry.size == kept.size
        digest = hashlib.sha256()
        with self._store.open(kept.key) as chunks:
            for chunk in chunks:
                digest.update(chunk)
        return digest.hexdigest() == kept.sha256

    def _write(self, work: Work) -> int:
        """1 if it had to be written. Raises ``Permanent`` if the backup's file is damaged; then nothing is written."""
        if not work.known:
            return 0
        kept = work.known[0]
        if work.entry is not None and (not _HARMLESS.fullmatch(kept.key) or self._same(work.entry, kept)):
            return 0  # what differs and matters was in the way, and is gone
        with self._folder.vault.path(kept.sha256).open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(CHUNK):
                digest.update(chunk)
            if digest.hexdigest() != kept.sha256:
                raise Permanent(f"the backup is damaged: the file of {kept.key} holds other bytes than were written")
            file.seek(0)
            self._store.put(kept.key, file, kept.size)
        return 1


def _fill(url: str, folder: Folder, manifest: Manifest) -> None:
    """The rows, as they were, into the schema of their time; later migrations then find what they expect."""
    copying.clear(url)
    migrate(url, upto=manifest.migration)
    with copying.filling(url) as session:
        for table in manifest.tables:
            with folder.read_table(manifest, table) as source:
                rows = session.copy_in(table.table, table.columns, source)
            _compare(session, table, rows)
        for counter in manifest.counters:
            session.set_counter(counter)
        session.statistics()


def _compare(session: Session, table: TableCopy, rows: int) -> None:
    """Read back what was written: Postgres must give the very text that it was given."""
    digest = _Digest()
    session.copy_out(table.table, table.columns, digest)
    if rows != table.rows or digest.hexdigest() != table.sha256:
        raise Permanent(f"table {table.table} came back different: {rows} rows of {table.rows}; nothing was kept of it")


class _Digest:
    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return len(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _record(at: Place, manifest: Manifest) -> None:
    database = Database(at.database_settings())
    try:
        with database.transaction() as tx:
            events.record(
                tx, None, "system", "backup.restored", {"snapshot": manifest.name, "taken_at": manifest.taken_at}
            )
    finally:
        database.close()
