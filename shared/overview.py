"""Where a project stands: what the project page shows and ``GET /v1/projects/{id}/state`` answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared import autolabelling
from shared.autolabelling import AutoLabels
from shared.db import images, jobs, labels, projects, rounds, tasks
from shared.db.images import ImageCounts
from shared.db.labels import ClassCount, LabelCounts
from shared.db.pool import Tx
from shared.db.rounds import CurvePoint, Evidence
from shared.db.tasks import LiveCounts
from shared.domain import Class, Job, JobKind, JobState, Project, ProjectId, Round, ShardState


@dataclass(frozen=True, kw_only=True)
class Overview:
    """``active_jobs`` and ``dead_jobs`` are those that rounds depend on, at most 20 each, the newest first;
    ``shards_waiting`` are not embedded; ``evidence`` is None until a model has scored the pool.
    """

    project: Project
    classes: Sequence[Class]
    images: ImageCounts
    labels: LabelCounts
    labels_by_class: Sequence[ClassCount]
    tasks: LiveCounts
    round: Round | None
    curve: Sequence[CurvePoint]
    shards_waiting: int
    active_jobs: Sequence[Job]
    dead_jobs: Sequence[Job]
    auto_labels: AutoLabels
    evidence: Evidence | None

    @property
    def doing(self) -> str:
        """What happens now, in a few words for a person."""
        if self.dead_jobs:
            return f"stopped by a failed {self.dead_jobs[0].kind.value} job"
        if self.project.state.value != "running":
            return self.project.stop_reason or self.project.state.value
        if self.round is None:
            return f"preparing {self.shards_waiting} shard(s) of images"
        return f"round {self.round.number}: {self.round.state.value}"


def overview(tx: Tx, project_id: ProjectId) -> Overview:
    """Raises ``NotFound``."""
    of_rounds = [kind for kind in JobKind if kind.of_rounds]
    project = projects.get(tx, project_id)
    known = labels.counts(tx, project_id)
    return Overview(
        project=project,
        classes=projects.classes(tx, project_id),
        images=images.counts(tx, project_id),
        labels=known,
        labels_by_class=labels.by_class(tx, project_id),
        tasks=tasks.live_counts(tx, project_id),
        round=rounds.latest(tx, project_id),
        curve=rounds.curve(tx, project_id),
        shards_waiting=len(images.shards(tx, project_id, ShardState.SEALED)),
        active_jobs=jobs.newest(tx, project_id=project_id, state=JobState.RUNNING, kinds=of_rounds, limit=20),
        dead_jobs=jobs.newest(tx, project_id=project_id, state=JobState.DEAD, kinds=of_rounds, limit=20),
        auto_labels=autolabelling.standing(tx, project, known.model),
        evidence=rounds.latest_evidence(tx, project_id),
    )
