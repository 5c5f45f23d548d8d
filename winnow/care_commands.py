"""``winnow backup``, ``backups``, ``verify``, ``restore`` and ``prune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from shared.errors import Permanent
from winnow.target import DEFAULT_DATA, DatabaseOption, DataOption

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

FolderArgument = Annotated[Path, typer.Argument(help="Folder of backups: another disk than that of the data.")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Objects on their way at once.")]
SnapshotOption = Annotated[
    str | None, typer.Option("--snapshot", help="As `winnow backups` shows it; none: the newest.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``winnow``."""
    for command in (backup, backups, verify, restore, prune):
        app.command()(command)


def backup(
    folder: FolderArgument,
    keep: Annotated[int | None, typer.Option(min=1, help="Keep so many sound snapshots; none: all.")] = None,
    threads: ThreadsOption = 8,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Back up the database and every object, while people go on working. Fetches only what is new."""
    from winnow.backup import back_up
    from winnow.places import place

    with place(database, data) as at:
        report = back_up(at, folder, keep=keep, threads=threads, say=_say)
    made = report.manifest
    _say(
        f"snapshot {made.name}: {made.rows:,} rows, {made.objects:,} objects ({made.bytes:,} bytes), "
        f"{report.fetched:,} of them fetched now ({report.fetched_bytes:,} bytes)"
    )
    if not made.sound:
        raise Permanent(
            f"{made.problem_count} objects are damaged or missing in the store; all others are in the snapshot"
        )


def backups(folder: FolderArgument) -> None:
    """List the snapshots in a folder, the oldest first."""
    from winnow.snapshots import Folder

    table = Table(Column("snapshot", no_wrap=True), "made by", "migration", "rows", "objects", "bytes", "state")
    for made in Folder(folder).manifests():
        state = "sound" if made.sound else f"{made.problem_count} damaged or missing"
        figures = (f"{number:,}" for number in (made.rows, made.objects, made.bytes))
        table.add_row(made.name, made.version, str(made.migration), *figures, state)
    console.print(table)


def verify(folder: FolderArgument, snapshot: SnapshotOption = None, threads: ThreadsOption = 8) -> None:
    """Read a whole snapshot and compare it with its digests."""
    from winnow.verifying import damages

    count = 0
    for problem in damages(folder, snapshot, threads=threads):
        errors.print(problem, markup=False, soft_wrap=True, style="red")
        count += 1
    if count:
        raise Permanent(
            f"{count} problems: delete the damaged files under objects/, and the next backup fetches them anew"
        )
    _say("the snapshot is whole")


def restore(
    folder: FolderArgument,
    snapshot: SnapshotOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete models, scores and packs in the store that it doesn't have.")
    ] = False,
    threads: ThreadsOption = 8,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Bring a snapshot back into a database without projects and a store. Stop the services first."""
    from winnow.places import place
    from winnow.restore import restore as bring_back

    with place(database, data, new=True) as at:
        restored = bring_back(at, folder, snapshot, replace=replace, threads=threads, say=_say)
        if at.data is not None:
            from winnow.local import adopt

            stack = adopt(at.data, at.database_url, port=8080)
            _say(f"the local stack's user is {stack.username} with the password {stack.password}")
    _say(f"restored {restored.manifest.name}; everybody signs in again")


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Delete scores, models and packs of no more use, as the services do by themselves every hour."""
    from shared.db.pool import Database
    from shared.retention import Retention
    from shared.settings import RetentionSettings
    from winnow.places import place

    objects = size = 0
    with place(database, data) as at:
        pool = Database(at.database_settings())
        try:
            retention = Retention(pool, at.store, RetentionSettings())
            for pruned in retention.surplus() if dry_run else retention.prune():
                _say(f"project {pruned.project_id}: {pruned.what}: {pruned.objects:,} objects, {pruned.size:,} bytes")
                objects, size = objects + pruned.objects, size + pruned.size
        finally:
            pool.close()
    _say(f"{'would delete' if dry_run else 'deleted'} {objects:,} objects, {size:,} bytes")


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
