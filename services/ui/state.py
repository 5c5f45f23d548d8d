"""The state of a project as JSON: what the project page shows, and what ``GET /v1/projects/{id}/state`` answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from services.ui.hotkeys import ClassView
from services.ui.narration import Narration, narrate
from services.ui.standing import Standing
from shared.autolabelling import AutoLabels
from shared.db.rounds import Evidence
from shared.domain import Job


class Accuracy(BaseModel):
    """On the holdout's ``n`` images; ``low`` to ``high`` is the 95% Wilson interval."""

    value: float
    low: float
    high: float
    n: int


class RoundView(BaseModel):
    """``accuracy`` and ``macro_f1`` are those of the round's model, None where there is none or no holdout."""

    number: int
    checkpoint_id: int | None
    state: str
    labels: int
    started_at: datetime
    finished_at: datetime | None
    accuracy: Accuracy | None
    macro_f1: float | None


class ProgressView(BaseModel):
    share: float
    done: int | None
    total: int | None
    unit: str | None


class JobView(BaseModel):
    id: int
    kind: str
    progress: float
    attempts: int
    worker: str | None
    detail: Mapping[str, Any]
    error: str | None


class ClassLabels(ClassView):
    """``accuracy`` is the share of this class's holdout images that the latest model gets right."""

    labels: int
    accuracy: float | None


class ProjectView(BaseModel):
    id: int
    name: str
    state: str
    stop_reason: str | None
    strategy: str
    mode: str
    label_budget: int | None
    target_accuracy: float | None
    labelling_rest: bool


class LabelsView(BaseModel):
    """``model``, which the other three leave out, are those that the model gave."""

    pool: int
    holdout: int
    human: int
    model: int


class ImagesView(BaseModel):
    total: int
    holdout: int
    unreadable: int
    ready: int


class TasksView(BaseModel):
    open: int
    leased: int


class RuleView(BaseModel):
    """See ``shared.stopping.Rule``."""

    name: str
    title: str
    on: bool
    met: bool
    done: float | None
    text: str


class PoolView(BaseModel):
    """The images that no person has labelled; see ``shared.evidence``."""

    images: int
    unsure_share: float | None
    unsure_below: float
    histogram: Sequence[int]


class EvidenceView(BaseModel):
    """``threshold`` None: nothing is labelled by the model, for the ``reason`` given. ``forecast`` is a sentence."""

    round: int
    rules: Sequence[RuleView]
    pool: PoolView | None
    threshold: float | None
    reason: str
    forecast: str | None


class AuditView(BaseModel):
    """``low`` and ``high`` are one-sided 95% bounds of the precision, ``enough`` the answers at which it is judged."""

    answers: int
    right: int
    low: float
    high: float
    enough: int


class WithdrawnView(BaseModel):
    round: int
    answers: int
    right: int
    threshold: float


class AutoLabelsView(BaseModel):
    on: bool
    target: float
    labels: int
    asked: int
    audited: AuditView
    withdrawn: WithdrawnView | None


class State(BaseModel):
    project: ProjectView
    now: Narration
    round: RoundView | None
    progress: ProgressView | None
    labels: LabelsView
    images: ImagesView
    tasks: TasksView
    classes: Sequence[ClassLabels]
    rounds: Sequence[RoundView]
    jobs: Sequence[JobView]
    failed: Sequence[JobView]
    queued: int
    evidence: EvidenceView | None
    auto_labels: AutoLabelsView


def project_state(standing: Standing) -> State:
    now = standing.overview
    rounds = _rounds(standing)
    return State(
        project=_project(standing),
        now=narrate(standing),
        round=rounds[-1] if rounds else None,
        progress=ProgressView.model_validate(standing.progress, from_attributes=True) if standing.progress else None,
        labels=LabelsView.model_validate(now.labels, from_attributes=True),
        images=ImagesView.model_validate(now.images, from_attributes=True),
        tasks=TasksView(open=now.tasks.open, leased=now.tasks.leased),
        classes=_classes(standing),
        rounds=rounds,
        jobs=[_job(job) for job in now.active_jobs],
        failed=[_job(job) for job in now.dead_jobs],
        queued=standing.queued,
        evidence=None if now.evidence is None else _evidence(now.evidence),
        auto_labels=_auto_labels(now.auto_labels),
    )


def accuracy(metrics: Mapping[str, Any]) -> Accuracy | None:
    """What a checkpoint's metrics say; None without a holdout to measure on."""
    if metrics.get("accuracy") is None or not metrics.get("n"):
        return None
    value = float(metrics["accuracy"])
    return Accuracy(
        value=value,
        low=float(metrics.get("accuracy_low", value)),
        high=float(metrics.get("accuracy_high", value)),
        n=int(metrics["n"]),
    )


def _project(standing: Standing) -> ProjectView:
    project, settings = standing.overview.project, standing.overview.project.settings
    return ProjectView(
        id=project.id,
        name=project.name,
        state=project.state.value,
        stop_reason=project.stop_reason,
        strategy=settings.strategy,
        mode=settings.mode.value,
        label_budget=settings.label_budget,
        target_accuracy=settings.target_accuracy,
        labelling_rest=project.labelling_rest,
    )


def _evidence(evidence: Evidence) -> EvidenceView:
    found = evidence.found
    return EvidenceView(
        round=evidence.round_number,
        rules=[RuleView.model_validate(rule) for rule in found["rules"]],
        pool=found["pool"] and PoolView.model_validate(found["pool"]),
        threshold=found["threshold"]["value"],
        reason=found["threshold"]["reason"],
        forecast=found["forecast"] and found["forecast"]["text"],
    )


def _auto_labels(now: AutoLabels) -> AutoLabelsView:
    failed = now.failed
    return AutoLabelsView(
        on=now.on,
        target=now.audited.target,
        labels=now.labels,
        asked=now.asked,
        audited=AuditView.model_validate(now.audited, from_attributes=True),
        withdrawn=None
        if failed is None
        else WithdrawnView(
            round=failed.round_number, answers=failed.answers, right=failed.right, threshold=failed.threshold
        ),
    )


def _rounds(standing: Standing) -> list[RoundView]:
    metrics = {point.round_number: point.metrics for point in standing.overview.curve}
    return [
        RoundView(
            number=turn.number,
            checkpoint_id=turn.checkpoint_id,
            state=turn.state.value,
            labels=turn.labels,
            started_at=turn.started_at,
            finished_at=turn.finished_at,
            accuracy=accuracy(metrics.get(turn.number, {})),
            macro_f1=metrics.get(turn.number, {}).get("macro_f1"),
        )
        for turn in standing.history
    ]


def _classes(standing: Standing) -> list[ClassLabels]:
    now = standing.overview
    counts = {count.class_id: count.labels for count in now.labels_by_class}
    right = now.curve[-1].metrics.get("per_class", []) if now.curve else []
    return [
        ClassLabels(
            id=one.id,
            name=one.name,
            colour=one.colour,
            hotkey=one.hotkey,
            labels=counts.get(one.id, 0),
            accuracy=right[one.position] if one.position < len(right) else None,
        )
        for one in now.classes
    ]


def _job(job: Job) -> JobView:
    return JobView(
        id=job.id,
        kind=job.kind.value,
        progress=job.progress,
        attempts=job.attempts,
        worker=job.worker,
        detail=job.detail,
        error=job.error,
    )
