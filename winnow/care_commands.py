"""``winnow backup``, ``backups``, ``verify``, ``restore`` and ``prune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from shared.errors import Invalid
from winnow.target import DEFAULT_DATA, DatabaseOption, DataOption, database_url, store, transaction

console = Console(highlight=False)
FolderArgument = Annotated[Path, typer.Argument(help="Folder of backups: another disk than that of the data.")]
SnapshotOption = Annotated[
    str | None, typer.Option("--snapshot", help="As `winnow backups` shows it; none: the newest.")
]


def register(app: typer.Typer) -> None:
    app.command()(backup)
    app.command()(backups)
    app.command()(verify)
    app.command()(restore)
    app.command()(prune)


def backup(
    folder: FolderArgument,
    keep: Annotated[int | None, typer.Option(min=1, help="Remove all but so many snapshots afterwards.")] = None,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Back up the database and every object, while people go on working. Fetches only what is new."""
    from shared.db import events
    from winnow.backup import Backups

    kept = Backups(folder)
    with console.status("backing up"):
        manifest = kept.create(database_url(database, data), store(data))
    with transaction(database, data) as tx:
        counts = {"snapshot": manifest.name, "objects": manifest.objects, "bytes": manifest.objects_bytes}
        events.record(tx, None, "system", "backup.done", {**counts, "rows": sum(manifest.rows.values())})
    console.print(
        f"snapshot {manifest.name}: {sum(manifest.rows.values()):,} rows, {manifest.objects:,} objects "
        f"({manifest.objects_bytes:,} bytes), {manifest.fetched:,} of them fetched now"
    )
    if keep is not None:
        snapshots, objects = kept.keep(keep)
        console.print(f"removed {snapshots} older snapshots and {objects} objects that only they had")


def backups(folder: FolderArgument) -> None:
    """List the snapshots in a folder."""
    from winnow.backup import Backups

    table = Table("snapshot", "made by", "migration", "rows", "labels", "objects", "bytes")
    for manifest in Backups(folder).all():
        row = (sum(manifest.rows.values()), manifest.rows["labels"], manifest.objects, manifest.objects_bytes)
        table.add_row(manifest.name, manifest.winnow, str(manifest.migration), *(f"{number:,}" for number in row))
    console.print(table)


def verify(folder: FolderArgument, snapshot: SnapshotOption = None) -> None:
    """Read a whole snapshot and compare it with its digests."""
    from winnow.backup import Backups

    kept = Backups(folder)
    manifest = kept.get(snapshot)
    damage = list(kept.damage(manifest))
    for sentence in damage:
        console.print(sentence, markup=False, style="red")
    if damage:
        raise Invalid(f"the snapshot {manifest.name} is damaged: restore another, and make a new one now")
    console.print(f"the snapshot {manifest.name} is whole: {manifest.objects:,} objects, {len(manifest.rows)} tables")


def restore(
    folder: FolderArgument,
    snapshot: SnapshotOption = None,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Bring a snapshot back into an empty database and a store. Everything is verified first."""
    from winnow.backup import Backups

    kept = Backups(folder)
    manifest = kept.get(snapshot)
    with console.status(f"restoring {manifest.name}"):
        kept.restore(manifest, database_url(database, data), store(data))
    console.print(
        f"restored {manifest.name}: {sum(manifest.rows.values()):,} rows, {manifest.objects:,} objects; "
        "everybody signs in again"
    )


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Delete scores, models and packs of no more use, as the services do by themselves every hour."""
    from pydantic import SecretStr

    from shared.db.pool import Database
    from shared.retention import Retention
    from shared.settings import DatabaseSettings, RetentionSettings

    pool = Database(DatabaseSettings(url=SecretStr(database_url(database, data)), pool_size=1))
    objects = size = 0
    try:
        retention = Retention(pool, store(data), RetentionSettings())
        for pruned in retention.surplus() if dry_run else retention.prune():
            console.print(
                f"project {pruned.project_id}: {pruned.what}: {pruned.objects:,} objects, {pruned.size:,} bytes"
            )
            objects, size = objects + pruned.objects, size + pruned.size
    finally:
        pool.close()
    console.print(f"{'would delete' if dry_run else 'deleted'} {objects:,} objects, {size:,} bytes")
