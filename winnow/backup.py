"""``winnow backup``: the database as it was at one moment, and every object that its rows refer to.

An object is written whole and never changed, and before the row that refers to it is committed. So the database is read
first, then the objects are copied: all that the rows need is there, as retention deletes nothing meanwhile. What is
written after that moment is copied too, and does no harm.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from shared.db import contents, events, projects
from shared.db.copying import Session, deletion_held_off, snapshot
from shared.db.migrate import migrations
from shared.db.pool import Database
from shared.errors import Conflict
from shared.store.base import features_info_key, features_key, image_key, pixels_key
from winnow.copying import Copier, Done, Need, in_order, merged
from winnow.places import Place
from winnow.snapshots import INDEX, JOURNAL, Folder, HashingFile, Manifest, TableCopy, disk_errors, new_name, to_line

THREADS = 8
"""Objects copied at once: what takes time is mostly the store's answer."""
PROBLEMS_KEPT = 1000
_NEEDED = "needed.jsonl.gz"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a backup did. ``fetched`` objects and their bytes came from the store; the others were there already."""

    manifest: Manifest
    fetched: int
    fetched_bytes: int
    removed: tuple[str, ...] = ()
    """Snapshots that were removed to keep only so many."""


def back_up(at: Place, root: Path, *, keep: int | None, threads: int = THREADS, say: Say) -> Report:
    """Make a snapshot in the folder ``root``; with ``keep``, remove those before the so many newest sound ones.

    What is damaged or missing in the store is told through ``say`` and in the manifest, and the rest is backed up.
    Only a sound snapshot is noted in the audit log as ``backup.done``. Raises ``Conflict`` if another command works in
    the folder or the schema is not this version's; ``Retryable``, ``Permanent`` for what stops it: run again, it goes
    on where it stopped.
    """
    folder = Folder(root)
    with disk_errors(root), folder.writing(), deletion_held_off(at.database_url):
        report = _Backup(at, folder, threads, say).run()
    if report.manifest.sound:
        _record(at, report)
        if keep is not None:
            with disk_errors(root), folder.writing():
                removed, size = folder.keep_newest(keep)
            if removed:
                say(f"removed {', '.join(removed)}: {size:,} bytes of objects that no other snapshot has")
            return replace(report, removed=tuple(removed))
    return report


class _Backup:
    """One snapshot in the making."""

    def __init__(self, at: Place, folder: Folder, threads: int, say: Say) -> None:
        self._at = at
        self._folder = folder
        self._threads = threads
        self._say = say
        self._problems: list[str] = []
        self._problem_count = 0

    def run(self) -> Report:
        now = datetime.now(UTC)
        name = new_name(now)
        journals = self._folder.journals()
        names = self._folder.names()
        known = [*journals, *([self._folder.index(self._folder.manifest(names[-1]))] if names else [])]
        partial = self._folder.begin(name)
        with snapshot(self._at.database_url) as session:
            migration = _checked_migration(session)
            tables = tuple(_copy_table(session, table, partial / "tables") for table in session.tables())
            counters = tuple(session.counters())
            _write_needs(session, partial / _NEEDED)
        self._say(f"database: {sum(table.rows for table in tables):,} rows of {len(tables)} tables")
        work = merged(self._at.store.entries("projects/"), _needs(partial / _NEEDED), known)
        copier = Copier(self._at.store, self._folder.vault)
        objects = size = fetched = fetched_bytes = 0
        index = HashingFile(partial / INDEX)
        with (partial / JOURNAL).open("wb", buffering=0) as journal:  # what dies with the process is copied again
            for done in in_order(copier.copy, work, self._threads):
                self._note(done)
                if done.fetched is not None:
                    fetched, fetched_bytes = fetched + 1, fetched_bytes + done.fetched
                if done.kept is not None:
                    journal.write(to_line(done.kept))
                    index.write(to_line(done.kept))
                    objects, size = objects + 1, size + done.kept.size
        (partial / _NEEDED).unlink()
        manifest = Manifest(
            name=name,
            taken_at=now.isoformat(),
            version=version("winnow"),
            migration=migration,
            tables=tables,
            counters=counters,
            objects=objects,
            bytes=size,
            index_sha256=index.close(),
            problem_count=self._problem_count,
            problems=tuple(self._problems),
        )
        self._folder.finish(partial, manifest)
        return Report(manifest=manifest, fetched=fetched, fetched_bytes=fetched_bytes)

    def _note(self, done: Done) -> None:
        if done.problem is None:
            return
        self._problem_count += 1
        self._say(done.problem)
        if len(self._problems) < PROBLEMS_KEPT:
            self._problems.append(done.problem)


def _checked_migration(session: Session) -> int:
    """Raise ``Conflict`` unless the database has exactly this version's schema: only that is known how to copy."""
    found, newest = session.migration(), migrations()[-1].number
    if found < newest:
        raise Conflict(f"the database is at migration {found} of {newest}: run `winnow migrate` first")
    if found > newest:
        raise Conflict(f"the database is at migration {found}, which this version does not know: upgrade Winnow")
    return found


def _copy_table(session: Session, table: str, folder: Path) -> TableCopy:
    columns = session.columns(table)
    file = HashingFile(folder / f"{table}.csv.gz")
    rows = session.copy_out(table, columns, file)
    return TableCopy(table=table, columns=tuple(columns), rows=rows, sha256=file.close())


def _write_needs(session: Session, path: Path) -> None:
    """To a file, as copying takes hours and a transaction that is open for hours keeps the database from tidying up."""
    with gzip.open(path, "wt", compresslevel=1) as file:
        for need in _needs_of(session):
            file.write(json.dumps([need.key, need.sha256]) + "\n")


def _needs_of(session: Session) -> Iterator[Need]:
    """In order of key: within a project checkpoints, images, shards."""
    tx = session.tx
    for project_id in contents.projects(tx):
        settings = projects.get(tx, project_id).settings
        for key, sha256 in contents.weights(tx, project_id):
            yield Need(key=f"{key}checkpoint.json", sha256=None)
            yield Need(key=f"{key}model.safetensors", sha256=sha256)
        for sha256 in contents.images(tx, project_id):
            yield Need(key=image_key(project_id, sha256), sha256=sha256)
        for shard_id in contents.packs(tx, project_id):
            if settings.on_features:
                yield Need(key=features_info_key(project_id, shard_id, settings.features_variant), sha256=None)
                yield Need(key=features_key(project_id, shard_id, settings.features_variant), sha256=None)
            yield Need(key=pixels_key(project_id, shard_id, settings.pixels_variant), sha256=None)


def _needs(path: Path) -> Iterator[Need]:
    with gzip.open(path, "rt") as file:
        for line in file:
            key, sha256 = json.loads(line)
            yield Need(key=key, sha256=sha256)


def _record(at: Place, report: Report) -> None:
    manifest = report.manifest
    database = Database(at.database_settings())
    try:
        with database.transaction() as tx:
            events.record(
                tx,
                None,
                "system",
                "backup.done",
                {
                    "snapshot": manifest.name,
                    "rows": manifest.rows,
                    "objects": manifest.objects,
                    "bytes": manifest.bytes,
                    "fetched": report.fetched,
                },
            )
    finally:
        database.close()
