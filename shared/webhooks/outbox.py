"""What happens is written down for those who want to be told, in the transaction in which it happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.db import webhooks
from shared.db.pool import Tx
from shared.db.webhooks import EventType
from shared.domain import ProjectId


def emit(tx: Tx, project_id: ProjectId, type_: EventType, data: Mapping[str, Any]) -> None:
    """Tell every endpoint that wants to hear of this, once the transaction is committed; never if it isn't.

    Parameters
    ----------
    data : what can be written as JSON. The project's id is added, as ``project_id``.
    """
    emit_each(tx, project_id, type_, [data])


def emit_each(tx: Tx, project_id: ProjectId, type_: EventType, data: Sequence[Mapping[str, Any]]) -> None:
    """``emit`` of several things of one type, in one statement."""
    if data:
        webhooks.emit(tx, project_id, type_, [{"project_id": project_id, **one} for one in data])
