"""Which derived objects are surplus, and the marks that say so. ``shared.retention`` deletes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import CheckpointId, JobId, ProjectId

_Q = queries("retention")


class Part(StrEnum):
    """What of a checkpoint is kept for its own time."""

    SCORES = "scores"
    WEIGHTS = "weights"


@dataclass(frozen=True, kw_only=True)
class Spent:
    """A checkpoint a part of which is of no more use. ``key`` is the prefix of its weights."""

    id: CheckpointId
    project_id: ProjectId
    key: str


def surplus(tx: Tx, part: Part, keep: int) -> list[Spent]:
    """Checkpoints a part of which is neither in use nor to be kept. ``keep``: how many newest, per project."""
    return [Spent(**row) for row in tx.all(_Q[f"surplus_{part.value}"], {"keep": keep})]


def retire(tx: Tx, part: Part, checkpoints: Sequence[CheckpointId]) -> None:
    """From the commit on nobody begins to use it."""
    tx.run(_Q[f"retire_{part.value}"], {"ids": list(checkpoints)})


def retired(tx: Tx, part: Part) -> list[Spent]:
    """What is retired and may still have objects, the oldest first."""
    return [Spent(**row) for row in tx.all(_Q[f"retired_{part.value}"])]


def mark_deleted(tx: Tx, part: Part, checkpoint: CheckpointId) -> None:
    """Its objects are gone for good."""
    tx.run(_Q[f"{part.value}_deleted"], {"id": checkpoint})


def ended_attempts(tx: Tx, attempts: Mapping[str, JobId]) -> set[str]:
    """Of the keys of attempts at a training, by job, those of which nothing came and nothing will.

    List the store before: what is listed then and has ended by now can't become a checkpoint.
    """
    rows = tx.all(_Q["ended_attempts"], {"keys": list(attempts), "job_ids": list(attempts.values())})
    return {row["key"] for row in rows}


def delete_predictions(tx: Tx, *, keep_s: float, most: int) -> int:
    """Delete the rows of predictions that ended more than ``keep_s`` seconds ago; returns how many, at ``most``."""
    return tx.run(_Q["delete_predictions"], {"keep_s": keep_s, "most": most})


def old_predictions(tx: Tx, project_id: ProjectId, *, keep_s: float) -> tuple[datetime, set[str]]:
    """Before when an object of a prediction is of no more use, and the names of those for which that is not so."""
    row = tx.one(_Q["moment_before"], {"seconds": keep_s})
    assert row is not None  # SELECT without FROM
    under_way = tx.all(_Q["predictions_under_way"], {"project_id": project_id})
    return row["moment"], {one["name"] for one in under_way}


def at_rest(tx: Tx, project_id: ProjectId) -> bool:
    """Whether no job of the project that reads its packs runs or waits."""
    row = tx.one(_Q["shards_at_rest"], {"project_id": project_id})
    return row is not None and bool(row["at_rest"])
