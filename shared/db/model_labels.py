"""Labels that the model gives, and audits, in which people are asked about them. ``shared.autolabelling`` decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.db.pool import Tx
from shared.db.sql import queries
from shared.db.tasks import ONE
from shared.domain import CheckpointId, ImageId, Overlap, ProjectId, RoundId, ShardId, UserId

_Q = queries("model_labels")


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a model says of an image: the column of its class, and the probability of that."""

    image_id: ImageId
    column: int
    confidence: float


@dataclass(frozen=True, kw_only=True)
class AuditCounts:
    """``asked``: labels that people were asked about. ``last_task`` is the newest task of these, 0 if there is none."""

    asked: int
    last_task: int


def renew(
    tx: Tx, project_id: ProjectId, checkpoint_id: CheckpointId, shard_id: ShardId, said: Sequence[Said]
) -> tuple[int, int]:
    """Make ``said`` the model's labels of a shard, and no others: how many were given, and how many withdrawn.

    Images that a person has labelled, holds or has given up on are passed over; open queries about others are closed.
    """
    ids = [one.image_id for one in said]
    given = 0
    if said:
        tx.run(_Q["close_queries_of"], {"image_ids": ids})
        given = tx.run(
            _Q["put"],
            {
                "project_id": project_id,
                "checkpoint_id": checkpoint_id,
                "image_ids": ids,
                "columns": [one.column for one in said],
                "confidences": [one.confidence for one in said],
            },
        )
    return given, tx.run(_Q["drop_stale"], {"shard_id": shard_id, "checkpoint_id": checkpoint_id})


def file(
    tx: Tx, project_id: ProjectId, checkpoint_id: CheckpointId, user_id: UserId, said: Sequence[Said]
) -> list[ImageId]:
    """Label images as the model says, because this person lets it: those of the pool that have no label and that nobody
    holds. No later scoring takes these labels away. Returns the images labelled."""
    ids = [one.image_id for one in said]
    tx.run(_Q["close_queries_of"], {"image_ids": ids})
    params = {
        "project_id": project_id,
        "checkpoint_id": checkpoint_id,
        "user_id": user_id,
        "image_ids": ids,
        "columns": [one.column for one in said],
        "confidences": [one.confidence for one in said],
    }
    return sorted(ImageId(row["image_id"]) for row in tx.all(_Q["file"], params))


def count(tx: Tx, project_id: ProjectId) -> int:
    """How many labels there are that each scoring makes anew: of these people are asked about a share."""
    row = tx.one(_Q["count"], {"project_id": project_id})
    return int(row["labels"]) if row else 0


def there_are(tx: Tx, project_id: ProjectId) -> bool:
    row = tx.one(_Q["there_are"], {"project_id": project_id})
    return bool(row and row["found"])


def withdraw(tx: Tx, project_id: ProjectId) -> int:
    """Remove every label of the model, and close the audits that nobody has begun. Returns how many labels went."""
    tx.run(_Q["close_audits"], {"project_id": project_id})
    return tx.run(_Q["withdraw"], {"project_id": project_id})


def ask(
    tx: Tx,
    project_id: ProjectId,
    round_id: RoundId,
    *,
    count: int,
    spread: float,
    seed: int,
    asked_of: Overlap = ONE,
) -> int:
    """Open audits of ``count`` random labels of the model, with priorities from 0 to ``spread``, each asked of as many
    people as ``asked_of`` says; returns of how many labels."""
    params = {"project_id": project_id, "round_id": round_id, "count": count, "spread": spread, "seed": seed}
    row = tx.one(_Q["ask"], {**params, "copies": asked_of.copies, "most": asked_of.most})
    return int(row["opened"]) if row else 0


def audits(tx: Tx, project_id: ProjectId, *, after: int) -> AuditCounts:
    """Of those whose first task has an id above ``after``."""
    row = tx.one(_Q["count_audits"], {"project_id": project_id, "after": after})
    assert row is not None  # an aggregate always answers
    return AuditCounts(**row)


def answers(tx: Tx, project_id: ProjectId, *, after: int) -> list[bool]:
    """Of the audits whose first task has an id above ``after``, in the order answered: whether people agreed with the
    model. What several people disagree about isn't there before a reviewer has decided."""
    return [row["confirmed"] for row in tx.all(_Q["answers"], {"project_id": project_id, "after": after})]
