"""What uploads brought: an import is one upload, or a series of them by the same sender."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import ProjectId, Split
from shared.errors import NotFound

_Q = queries("imports")
ImportId = NewType("ImportId", int)
PATIENCE_S = 120.0
"""Uploads with shorter pauses between them are one import; one that was announced and paused longer has broken off."""
MOST_REJECTS = 1000
"""So many refusals of one import are kept with their reasons; beyond them they are only counted."""
_NEWEST = 2**62


@dataclass(frozen=True, kw_only=True)
class Import:
    """``expected`` files were announced, None where nobody knew. ``rejects`` are (filename, reason)."""

    id: ImportId
    project_id: ProjectId
    actor: str
    split: Split
    expected: int | None
    stored: int
    duplicates: int
    rejected: int
    rejects: Sequence[tuple[str, str]]
    started_at: datetime
    heard_at: datetime
    ended_at: datetime | None

    @property
    def files(self) -> int:
        """Those that were dealt with."""
        return self.stored + self.duplicates + self.rejected


def _import(row: Row) -> Import:
    rejects = [(name, reason) for name, reason in row["rejects"]]
    return Import(**{**row, "split": Split(row["split"]), "rejects": rejects})


def announce(tx: Tx, project_id: ProjectId, actor: str, split: Split, expected: int) -> Import:
    """A series of uploads is about to come."""
    params = {"project_id": project_id, "actor": actor, "split": split.value, "expected": expected}
    row = tx.one(_Q["announce"], params)
    assert row is not None  # INSERT ... RETURNING
    return _import(row)


def add(
    tx: Tx,
    project_id: ProjectId,
    actor: str,
    split: Split,
    *,
    part_of: ImportId | None,
    stored: int,
    duplicates: int,
    rejects: Sequence[tuple[str, str]],
) -> None:
    """Count what an upload brought, as part of an import that was announced or that is under way, or as a new one."""
    params = {
        "project_id": project_id,
        "actor": actor,
        "split": split.value,
        "part_of": part_of,
        "stored": stored,
        "duplicates": duplicates,
        "rejected": len(rejects),
        "rejects": json.dumps(rejects[:MOST_REJECTS]),
        "most": MOST_REJECTS,
        "patience_s": PATIENCE_S,
    }
    if tx.one(_Q["add"], params) is None:
        tx.one(_Q["insert_heard"], params)


def end(tx: Tx, project_id: ProjectId, actor: str, import_id: ImportId) -> Import:
    """All of it has come. Raises ``NotFound`` for one that isn't this sender's or has ended."""
    row = tx.one(_Q["conclude"], {"project_id": project_id, "actor": actor, "id": import_id})
    if row is None:
        raise NotFound(f"there is no import {import_id} of yours under way in this project")
    return _import(row)


def get(tx: Tx, project_id: ProjectId, import_id: ImportId) -> Import:
    """Raises ``NotFound``, also for an import of another project."""
    row = tx.one(_Q["get"], {"project_id": project_id, "id": import_id})
    if row is None:
        raise NotFound(f"there is no import {import_id} in this project")
    return _import(row)


def page(tx: Tx, project_id: ProjectId, *, before: int = _NEWEST, limit: int = 20) -> list[Import]:
    """The newest first."""
    return [_import(row) for row in tx.all(_Q["page"], {"project_id": project_id, "before": before, "limit": limit})]
