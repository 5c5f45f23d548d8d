"""Who is no longer asked: people whose answers to what is known are surely too often wrong.

Everything happens in the transaction of the answer that shows it: the pause, the leases taken back, the answers
withdrawn, the questions asked of others, and the event that says so.
"""

from __future__ import annotations

from typing import Any

from shared.db import events, projects, trust
from shared.db.pool import Tx
from shared.domain import ProjectId, ProjectSettings, UserId
from shared.learning.metrics import wilson_interval
from shared.telemetry import logger

log = logger(__name__)


def below_floor(right: int, answers: int, settings: ProjectSettings) -> bool:
    """Whether even the upper end of the 95% Wilson interval of ``right`` of ``answers`` lies below the floor."""
    if settings.quality_floor is None or answers < settings.quality_golds:
        return False
    return wilson_interval(right, answers)[1] < settings.quality_floor


def judge(tx: Tx, project_id: ProjectId, user_id: UserId) -> bool:
    """Pause somebody if their record says so; whether it did."""
    settings = projects.get(tx, project_id).settings
    if settings.quality_floor is None:
        return False
    known = trust.record(tx, project_id, user_id)
    if not below_floor(known.right, known.answers, settings):
        return False
    reason = f"{known.right} of {known.answers} answers that are known were right"
    evidence = {"right": known.right, "answers": known.answers, "floor": settings.quality_floor}
    return pause(tx, project_id, user_id, reason, actor="system", **evidence)


def pause(tx: Tx, project_id: ProjectId, user_id: UserId, reason: str, *, actor: str, **evidence: Any) -> bool:
    """Ask nothing more of somebody, and ask others what they said. False if they were paused already."""
    if not trust.pause(tx, project_id, user_id, reason):
        return False
    withdrawn = trust.withdraw(tx, project_id, user_id)
    data = {
        "user": user_id,
        "reason": reason,
        **evidence,
        "leases": withdrawn.leases,
        "images": len(withdrawn.image_ids),
        "image_ids": withdrawn.image_ids,
    }
    events.record(tx, project_id, actor, "member.distrusted", data)
    log.warning("member.distrusted", project_id=project_id, user_id=user_id, images=len(withdrawn.image_ids))
    return True
