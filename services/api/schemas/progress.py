"""Where a project stands, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from services.api.schemas.base import NextCursor, Out
from services.api.schemas.projects import ProjectOut
from shared.domain import JobKind, JobState, RoundState
from shared.overview import Overview


class RoundOut(Out):
    number: int
    state: RoundState
    labels: int = Field(description="Labels that the round's model was trained on, holdout not counted.")
    checkpoint_id: int | None
    started_at: datetime
    finished_at: datetime | None


class RoundList(Out):
    items: list[RoundOut]


class CurvePointOut(Out):
    """A model, what it was trained on, and how good it is on the holdout."""

    checkpoint_id: int
    round: int = Field(validation_alias="round_number")
    labels: int
    metrics: dict[str, Any]
    promoted_at: datetime | None = Field(description="The model that was promoted last is in use.")


class Curve(Out):
    items: list[CurvePointOut]


class JobOut(Out):
    id: int
    kind: JobKind
    state: JobState
    attempts: int
    progress: float = Field(description="0 to 1.")
    detail: dict[str, Any]
    error: str | None
    created_at: datetime


class JobList(Out):
    items: list[JobOut]


class EventOut(Out):
    id: int
    at: datetime
    actor: str = Field(description="Who did it: `user:3`, `key:wnw_1a2b3c4d` or `system`.")
    kind: str
    data: dict[str, Any]


class EventPage(Out):
    items: list[EventOut]
    next_cursor: NextCursor


class ImageCountsOut(Out):
    total: int
    holdout: int
    ready: int
    unreadable: int


class LabelCountsOut(Out):
    pool: int
    holdout: int
    human: int
    by_class: dict[str, int]


class TaskCountsOut(Out):
    open: int
    leased: int


class StateOut(Out):
    """Everything about where a project stands, at one moment."""

    project: ProjectOut
    doing: str = Field(description="What happens now, in a few words.", examples=["round 3: training"])
    images: ImageCountsOut
    labels: LabelCountsOut
    tasks: TaskCountsOut
    round: RoundOut | None
    curve: list[CurvePointOut]
    shards_waiting: int = Field(description="Shards that are not embedded yet.")
    active_jobs: list[JobOut]
    dead_jobs: list[JobOut]

    @classmethod
    def whole(cls, now: Overview) -> StateOut:
        return cls(
            project=ProjectOut.whole(now.project, now.classes),
            doing=now.doing,
            images=ImageCountsOut.of(now.images),
            labels=LabelCountsOut(
                pool=now.labels.pool,
                holdout=now.labels.holdout,
                human=now.labels.human,
                by_class={count.name: count.labels for count in now.labels_by_class},
            ),
            tasks=TaskCountsOut.of(now.tasks),
            round=now.round and RoundOut.of(now.round),
            curve=[CurvePointOut.of(point) for point in now.curve],
            shards_waiting=now.shards_waiting,
            active_jobs=[JobOut.of(job) for job in now.active_jobs],
            dead_jobs=[JobOut.of(job) for job in now.dead_jobs],
        )
