"""Rows of rounds and checkpoints. ``shared.rounds`` decides how a project moves through them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import Checkpoint, CheckpointId, ProjectId, Round, RoundId, RoundState
from shared.errors import Conflict, NotFound

_Q = queries("rounds")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """The model that answers callers. ``promoted``: somebody chose it; else it is the newest one."""

    checkpoint_id: CheckpointId
    round_number: int
    promoted: bool


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A point of the learning curve: a round's model, what it was trained on, and its metrics on the holdout."""

    round_number: int
    labels: int
    checkpoint_id: CheckpointId
    metrics: Mapping[str, Any]
    promoted_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was known once a round's model had scored the pool; see ``shared.evidence`` for its form."""

    round_number: int
    found: Mapping[str, Any]


def _round(row: Row) -> Round:
    return Round(
        id=row["id"],
        project_id=row["project_id"],
        number=row["number"],
        state=RoundState(row["state"]),
        checkpoint_id=row.get("checkpoint_id"),
        labels=row["labels"],
        labels_at=row["labels_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def _checkpoint(row: Row) -> Checkpoint:
    return Checkpoint(
        id=row["id"],
        project_id=row["project_id"],
        round_id=row["round_id"],
        key=row["key"],
        sha256=bytes(row["sha256"]).hex(),
        arch=row["arch"],
        data_version=row["data_version"],
        metrics=row["metrics"],
        created_at=row["created_at"],
    )


def begin(tx: Tx, project_id: ProjectId, number: int, state: RoundState, labels: int) -> Round:
    """Raises ``Conflict`` if the round exists or another is not done."""
    row = tx.one(
        _Q["insert_round"], {"project_id": project_id, "number": number, "state": state.value, "labels": labels}
    )
    assert row is not None  # INSERT ... RETURNING
    return _round(row)


def latest(tx: Tx, project_id: ProjectId) -> Round | None:
    row = tx.one(_Q["latest"], {"project_id": project_id})
    return None if row is None else _round(row)


def history(tx: Tx, project_id: ProjectId) -> list[Round]:
    """In order of number."""
    return [_round(row) for row in tx.all(_Q["list_rounds"], {"project_id": project_id})]


def set_state(tx: Tx, round_id: RoundId, state: RoundState) -> None:
    tx.run(_Q["set_state"], {"id": round_id, "state": state.value})


def set_evidence(tx: Tx, round_id: RoundId, evidence: Mapping[str, Any]) -> None:
    """What ``shared.evidence`` found once the round's model had scored the pool."""
    tx.run(_Q["set_evidence"], {"id": round_id, "evidence": json.dumps(dict(evidence))})


def latest_evidence(tx: Tx, project_id: ProjectId) -> Evidence | None:
    """That of the newest round that has any."""
    row = tx.one(_Q["latest_evidence"], {"project_id": project_id})
    return None if row is None else Evidence(round_number=row["number"], found=row["evidence"])


def evidence(tx: Tx, project_id: ProjectId) -> list[Evidence]:
    """That of every round that has any, in order."""
    rows = tx.all(_Q["all_evidence"], {"project_id": project_id})
    return [Evidence(round_number=row["number"], found=row["evidence"]) for row in rows]


def kappas(tx: Tx, project_id: ProjectId, *, before: int, limit: int) -> list[float | None]:
    """Agreement of the models of the rounds before number ``before`` each with its predecessor, the newest first."""
    rows = tx.all(_Q["kappas"], {"project_id": project_id, "before": before, "limit": limit})
    return [row["kappa"] for row in rows]


def set_labels(tx: Tx, round_id: RoundId, labels: int, labels_at: datetime) -> None:
    """How many labels the round's model was really trained on, and when they were read."""
    tx.run(_Q["set_labels"], {"id": round_id, "labels": labels, "labels_at": labels_at})


def select_again(tx: Tx, round_id: RoundId) -> int:
    """Back to selecting, within the same round; returns how many selections went before."""
    row = tx.one(_Q["select_again"], {"id": round_id})
    if row is None:
        raise NotFound(f"there is no round {round_id}")
    return int(row["attempt"])


def add_checkpoint(
    tx: Tx,
    project_id: ProjectId,
    round_id: RoundId,
    *,
    key: str,
    sha256: str,
    arch: str,
    data_version: str,
    metrics: Mapping[str, Any],
) -> Checkpoint:
    """``key`` is the prefix in the store; ``sha256`` the hex digest of ``model.safetensors``."""
    row = tx.one(
        _Q["insert_checkpoint"],
        {
            "project_id": project_id,
            "round_id": round_id,
            "key": key,
            "sha256": sha256,
            "arch": arch,
            "data_version": data_version,
            "metrics": json.dumps(dict(metrics)),
        },
    )
    assert row is not None  # INSERT ... RETURNING
    return _checkpoint(row)


def checkpoint(tx: Tx, checkpoint_id: CheckpointId) -> Checkpoint:
    """Raises ``NotFound``."""
    row = tx.one(_Q["get_checkpoint"], {"id": checkpoint_id})
    if row is None:
        raise NotFound(f"there is no checkpoint {checkpoint_id}")
    return _checkpoint(row)


def usable_checkpoint(tx: Tx, checkpoint_id: CheckpointId, *, to_score: bool = True) -> Checkpoint:
    """As ``checkpoint``. Raises ``NotFound`` if retention has given its weights up, or with ``to_score`` its scores."""
    row = tx.one(_Q["get_checkpoint"], {"id": checkpoint_id})
    if row is not None and (row["weights_retired_at"] or (to_score and row["scores_retired_at"])):
        raise NotFound(
            f"checkpoint {checkpoint_id} was given up as surplus: newer ones are in use. WINNOW_RETENTION_WEIGHTS and "
            "WINNOW_RETENTION_SCORES say how many are kept"
        )
    return checkpoint(tx, checkpoint_id)


def curve(tx: Tx, project_id: ProjectId) -> list[CurvePoint]:
    """The learning curve, in order of rounds."""
    return [
        CurvePoint(
            round_number=r["number"],
            labels=r["labels"],
            checkpoint_id=r["id"],
            metrics=r["metrics"],
            promoted_at=r["promoted_at"],
        )
        for r in tx.all(_Q["list_checkpoints"], {"project_id": project_id})
    ]


def export(tx: Tx, project_id: ProjectId) -> Iterator[Row]:
    """The rows of ``curve``, whole and one at a time: the metrics of many classes are large."""
    return tx.stream(_Q["list_checkpoints"], {"project_id": project_id}, size=1)


def mark_scored(tx: Tx, checkpoint_id: CheckpointId) -> None:
    """Its probabilities for every shard are in the store."""
    tx.run(_Q["mark_scored"], {"id": checkpoint_id})


def scored_before(tx: Tx, project_id: ProjectId, checkpoint_id: CheckpointId) -> Checkpoint | None:
    """The newest checkpoint older than this one whose probabilities are complete and kept."""
    row = tx.one(_Q["scored_before"], {"project_id": project_id, "id": checkpoint_id})
    return None if row is None else _checkpoint(row)


def latest_scored(tx: Tx, project_id: ProjectId) -> Checkpoint | None:
    """The newest checkpoint whose probabilities are complete."""
    row = tx.one(_Q["latest_scored"], {"project_id": project_id})
    return None if row is None else _checkpoint(row)


def promote(tx: Tx, project_id: ProjectId, checkpoint_id: CheckpointId) -> Checkpoint:
    """Make a model the one in use; its weights are kept. Raises ``NotFound``, ``Conflict`` if they were given up."""
    row = tx.one(_Q["promote"], {"id": checkpoint_id, "project_id": project_id})
    if row is not None:
        return _checkpoint(row)
    if checkpoint(tx, checkpoint_id).project_id != project_id:
        raise NotFound(f"project {project_id} has no checkpoint {checkpoint_id}")
    raise Conflict(f"the weights of checkpoint {checkpoint_id} were given up as surplus: promote a newer one")


def promoted(tx: Tx, project_id: ProjectId) -> Checkpoint | None:
    """The model in use: the one that was promoted last. None if none was."""
    row = tx.one(_Q["promoted"], {"project_id": project_id})
    return None if row is None else _checkpoint(row)


def serving(tx: Tx, project_id: ProjectId) -> Serving | None:
    """The model that answers callers: the promoted one, else the newest that has scored the pool. None before that."""
    row = tx.one(_Q["serving"], {"project_id": project_id})
    if row is None:
        return None
    return Serving(checkpoint_id=row["id"], round_number=row["number"], promoted=row["promoted_at"] is not None)


def roll_back(tx: Tx, project_id: ProjectId) -> tuple[Checkpoint, Checkpoint | None]:
    """Take the last promotion back: the model that was in use, and the one that is now. Raises ``Conflict``."""
    current = promoted(tx, project_id)
    if current is None:
        raise Conflict("no model is promoted, so there is nothing to roll back")
    tx.run(_Q["demote"], {"id": current.id})
    return current, promoted(tx, project_id)
