"""What operators watch, read in one short transaction. ``shared.gauges`` turns it into metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.db.pool import Tx
from shared.db.sql import queries

_Q = queries("gauges")


@dataclass(frozen=True, kw_only=True)
class ProjectGauges:
    """``round``, ``labels`` and ``accuracy`` are those of the newest round and model, None before there is one."""

    id: int
    name: str
    state: str
    tasks_open: int
    tasks_leased: int
    round: int | None
    labels: int | None
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class WebhookGauges:
    """Endpoints that work, fail and are switched off. Seconds that one has failed, and that a message to one that works
    has been due; each 0 if there is none."""

    working: int
    failing: int
    disabled: int
    failing_s: float
    oldest_due_s: float


@dataclass(frozen=True, kw_only=True)
class Reading:
    jobs: Mapping[tuple[str, str], int]
    """By kind and state: queued, running, dead."""
    oldest_due_s: Mapping[str, float]
    """By kind, for kinds that have a due job."""
    projects: Sequence[ProjectGauges]
    schema: int
    backup_at: float | None
    """Seconds since 1970."""
    webhooks: WebhookGauges


def read(tx: Tx) -> Reading:
    """Cheap however many finished jobs and answered tasks there are. Raises ``Retryable`` after three seconds."""
    tx.one(_Q["limit_time"])
    jobs = tx.all(_Q["jobs"])
    newest, told = tx.one(_Q["newest"]), tx.one(_Q["webhooks"])
    assert newest is not None and told is not None  # a SELECT without FROM, and an aggregate
    return Reading(
        jobs={(row["kind"], row["state"]): row["jobs"] for row in jobs},
        oldest_due_s={row["kind"]: max(row["oldest_due_s"], 0.0) for row in jobs if row["oldest_due_s"] is not None},
        projects=[ProjectGauges(**row) for row in tx.all(_Q["projects"])],
        schema=newest["schema"],
        backup_at=newest["backup_at"],
        webhooks=WebhookGauges(**{**told, "oldest_due_s": max(told["oldest_due_s"], 0.0)}),
    )
