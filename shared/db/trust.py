"""Who is asked nothing more, and what becomes of what they said. ``shared.trust`` says when."""

from __future__ import annotations

from dataclasses import dataclass

from shared.db.pool import Tx
from shared.db.questions import Known
from shared.db.sql import queries
from shared.domain import ImageId, ProjectId, UserId

_Q = queries("trust")


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """``leases`` were taken back; ``image_ids`` are asked of others."""

    leases: int
    image_ids: list[ImageId]


def record(tx: Tx, project_id: ProjectId, user_id: UserId) -> Known:
    """Somebody's answers where the answer is known, since a manager last let them go on."""
    row = tx.one(_Q["record"], {"project_id": project_id, "user_id": user_id})
    assert row is not None  # an aggregate always answers
    return Known(**row)


def pause(tx: Tx, project_id: ProjectId, user_id: UserId, reason: str) -> bool:
    """False if they were paused already."""
    return tx.one(_Q["pause"], {"project_id": project_id, "user_id": user_id, "reason": reason}) is not None


def withdraw(tx: Tx, project_id: ProjectId, user_id: UserId) -> Withdrawn:
    """Take back what somebody holds, withdraw the answers of theirs that count for a label, and ask them of others.

    Their answers stay on record, and those whose answer was known before stand.
    """
    who = {"project_id": project_id, "user_id": user_id}
    leases = tx.all(_Q["take_leases_back"], who)
    doubted = tx.all(_Q["doubted"], who)
    told = {
        **who,
        "ids": [row["id"] for row in doubted],
        "task_ids": [row["task_id"] for row in doubted],
        "question_ids": sorted({row["question_id"] for row in doubted if row["question_id"] is not None}),
    }
    if doubted:
        for statement in ("withdraw", "remove_labels", "reopen", "never_again", "reopen_questions"):
            tx.run(_Q[statement], told)
    return Withdrawn(leases=len(leases), image_ids=sorted({ImageId(row["image_id"]) for row in doubted}))
