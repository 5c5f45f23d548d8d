"""Where a project stands, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from services.api.schemas.base import NextCursor, Out
from services.api.schemas.projects import ProjectOut
from shared.db.rounds import Evidence
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
    address: str | None = Field(description="Where from; null: not by a request.", examples=["203.0.113.7"])
    project_id: int | None
    kind: str
    data: dict[str, Any]


class EventPage(Out):
    items: list[EventOut]
    next_cursor: NextCursor


class RuleOut(Out):
    """A stopping rule and its evidence. One that is off (`on` false) tells how things stand, and is never met."""

    name: str = Field(examples=["label_budget"])
    title: str
    on: bool
    met: bool
    value: float | None = Field(description="What is judged.")
    limit: float | None = Field(description="What it is judged by.")
    done: float | None = Field(description="How far the rule is on its way to being met, 0 to 1.")
    text: str


class PoolOut(Out):
    """The images that no person has labelled, as the newest model saw them."""

    images: int
    unsure: int = Field(description="Of these, how many are predicted with a confidence below `unsure_below`.")
    unsure_share: float | None
    unsure_below: float
    histogram: list[int] = Field(description="Images by confidence, in bins of equal width from 0 to 1.")
    kappa: float | None = Field(description="Agreement with the model before, beyond chance.")


class ThresholdOut(Out):
    """The confidence from which on the model labels. Null in `value`: none qualifies, for the `reason` given."""

    value: float | None
    labels: int = Field(description="Labels predicted out of fold with at least this confidence.")
    right: int
    low: float = Field(description="Lower bound of the precision there.")
    at_random: bool = Field(description="Whether these labels were drawn at random from the pool.")
    reason: str


class ForecastOut(Out):
    """How many more labels `target` takes. `text` says it in words."""

    target: float
    outcome: str
    more: int | None
    low: int | None
    high: int | None
    ceiling: float | None
    text: str


class EvidenceOut(Out):
    """What was known once the model of a round had scored the pool."""

    round: int
    rules: list[RuleOut]
    pool: PoolOut | None
    threshold: ThresholdOut
    forecast: ForecastOut | None

    @classmethod
    def whole(cls, evidence: Evidence) -> EvidenceOut:
        return cls.model_validate({"round": evidence.round_number, **evidence.found})


class EvidenceList(Out):
    items: list[EvidenceOut]


class AuditOut(Out):
    """What people said of labels of the model. `low` and `high` are one-sided 95% bounds of the precision."""

    answers: int
    right: int
    target: float
    low: float
    high: float
    enough: int = Field(description="Answers from which on `low` must reach `target`.")


class AuditFailedOut(Out):
    """The last audit that failed: all labels of the model were withdrawn, and its threshold must be higher since."""

    threshold: float
    target: float
    answers: int
    right: int
    round_number: int = Field(serialization_alias="round")


class AutoLabelsOut(Out):
    on: bool
    labels: int = Field(description="Labels of the model that stand.")
    asked: int = Field(description="Labels of the model that people were asked about.")
    audited: AuditOut
    failed: AuditFailedOut | None


class ImageCountsOut(Out):
    total: int
    holdout: int
    ready: int
    unreadable: int


class LabelCountsOut(Out):
    pool: int
    holdout: int
    human: int
    model: int = Field(description="Labels of the model; the other counts leave them out.")
    by_class: dict[str, int]


class TaskCountsOut(Out):
    open: int
    leased: int


class StreamOut(Out):
    """Where the stream of arriving images stands. What is more uncertain than `threshold` is asked."""

    threshold: float
    seen: int
    asked: int


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
    evidence: EvidenceOut | None = Field(description="Null until a model has scored the pool.")
    auto_labels: AutoLabelsOut
    stream: StreamOut | None = Field(description="Null until an image has arrived in a project with `stream_rate`.")

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
                model=now.labels.model,
                by_class={count.name: count.labels for count in now.labels_by_class},
            ),
            tasks=TaskCountsOut.of(now.tasks),
            round=now.round and RoundOut.of(now.round),
            curve=[CurvePointOut.of(point) for point in now.curve],
            shards_waiting=now.shards_waiting,
            active_jobs=[JobOut.of(job) for job in now.active_jobs],
            dead_jobs=[JobOut.of(job) for job in now.dead_jobs],
            evidence=now.evidence and EvidenceOut.whole(now.evidence),
            auto_labels=AutoLabelsOut.of(now.auto_labels),
            stream=now.project.stream and StreamOut(**now.project.stream),
        )
