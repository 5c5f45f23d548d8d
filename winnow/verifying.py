"""``winnow verify-backup``: reads all of a backup, and says what is not as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shared.errors import Permanent
from winnow.backup import THREADS
from winnow.copying import in_order
from winnow.snapshots import Folder, Kept, Manifest, disk_errors


def damages(root: Path, name: str | None, *, threads: int = THREADS) -> Iterator[str]:
    """What is wrong with the snapshot of that name, or with the newest; nothing if it can be restored.

    Raises ``NotFound`` if there is none, ``Permanent`` if its manifest can't be read, ``Conflict`` while a backup is
    being made in the folder.
    """
    folder = Folder(root)
    with disk_errors(root), folder.reading():
        manifest = folder.manifest(name)
        for problem in manifest.problems:
            yield f"since it was made: {problem}"
        if manifest.problem_count > len(manifest.problems):
            yield f"and {manifest.problem_count - len(manifest.problems)} more since it was made"
        for table in manifest.tables:
            try:
                folder.check_table(manifest, table)
            except Permanent as error:
                yield str(error)
        yield from _objects(folder, manifest, threads)


def _objects(folder: Folder, manifest: Manifest, threads: int) -> Iterator[str]:
    def damage(kept: Kept) -> str | None:
        found = folder.vault.damage(kept.sha256, kept.size)
        return None if found is None else f"{folder.vault.path(kept.sha256)} of {kept.key} {found}"

    count = 0
    try:
        for problem in in_order(damage, folder.index(manifest), threads):
            count += 1
            if problem is not None:
                yield problem
    except Permanent as error:
        yield str(error)
        return
    if count != manifest.objects:
        yield f"the list of objects has {count}, the manifest says {manifest.objects}"
