"""What the model labels by itself, and the audit of it: how ``shared.selection.autolabel`` is put to work on a project.

Every scoring derives the model's labels anew, a shard at a time: what the newest model is not sure enough of loses its
label. People are asked about a random share of them without being told, and if their answers say that the precision is
not what it must be, all of the model's labels go in one transaction, and a later threshold has to be higher.

Every function is called under the project's lock, so that labels are never given by a threshold that has just failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.db import events, labels, model_labels, projects, rounds, tasks
from shared.db.model_labels import Said
from shared.db.pool import Tx
from shared.domain import AuditFailed, CheckpointId, ImageId, LabelSource, Project, Round, ShardId
from shared.metrics import LABELS
from shared.selection import autolabel
from shared.selection.autolabel import Audit, Threshold
from shared.telemetry import logger

log = logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model says of a shard's images that no person has labelled.

    ids : int64 (n,); columns : int64 (n,), the likeliest class of each; confidences : float32 (n,), its probability.
    """

    shard_id: ShardId
    ids: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    confidences: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class AutoLabels:
    """How automatic labelling stands. ``audited`` counts since the last audit that failed, if any."""

    on: bool
    labels: int
    asked: int
    audited: Audit
    failed: AuditFailed | None


def threshold_of(project: Project, metrics: Mapping[str, Any]) -> Threshold:
    """By a checkpoint's metrics and the project's target. No confidence qualifies where it is switched off."""
    settings = project.settings
    if not settings.auto_label:
        return Threshold(value=None, labels=0, right=0, low=0.0, reason="it is switched off", at_random=False)
    calibration = metrics.get("calibration") or {}
    return autolabel.threshold(
        calibration.get("above"),
        settings.auto_label_precision,
        at_random=calibration.get("above_at_random"),
        floor=_floor(project),
    )


def apply(tx: Tx, project: Project, checkpoint_id: CheckpointId, found: Predictions) -> None:
    """Derive the model's labels of a shard anew."""
    if not project.settings.auto_label and not model_labels.there_are(tx, project.id):
        return
    threshold = threshold_of(project, rounds.checkpoint(tx, checkpoint_id).metrics).value
    sure = np.flatnonzero(found.confidences >= threshold) if threshold is not None else np.empty(0, np.int64)
    said = [
        Said(image_id=ImageId(int(i)), column=int(c), confidence=float(p))
        for i, c, p in zip(found.ids[sure], found.columns[sure], found.confidences[sure], strict=True)
    ]
    given, withdrawn = model_labels.renew(tx, project.id, checkpoint_id, found.shard_id, said)
    tx.after_commit(partial(LABELS.labels(str(project.id), LabelSource.MODEL.value).inc, given))
    log.info("autolabel.applied", project_id=project.id, shard_id=found.shard_id, labels=given, withdrawn=withdrawn)


def random_share(tx: Tx, project: Project, count: int) -> int:
    """How many of the ``count`` tasks of a selection are to be drawn at random, as evidence for the threshold."""
    settings = project.settings
    if not settings.auto_label or project.labelling_rest:
        return 0
    missing = autolabel.random_labels_wanted(settings.auto_label_precision) - labels.count_random(tx, project.id)
    return max(0, min(missing, int(settings.auto_label_random * count)))


def owed(tx: Tx, project: Project) -> int:
    """How many audits to ask for now, each of as many people as any question."""
    settings, given = project.settings, model_labels.count(tx, project.id)
    if not given:
        return 0
    room = None
    if settings.label_budget is not None:
        room = max(0, settings.label_budget - labels.counts(tx, project.id).answers - tasks.count_kept(tx, project.id))
        room //= settings.overlap
    asked = model_labels.audits(tx, project.id, after=_after(project)).asked
    return autolabel.audits_wanted(given, asked, settings.auto_label_audit, settings.batch_size, room)


def ask(tx: Tx, project: Project, current: Round, count: int, spread: float) -> int:
    """Open ``count`` audits among the round's first ``spread`` tasks; returns how many were opened."""
    seed = project.settings.seed * 100_003 + current.number
    opened = model_labels.ask(
        tx, project.id, current.id, count=count, spread=spread, seed=seed, asked_of=project.settings.asked_of
    )
    log.info("autolabel.audited", project_id=project.id, round=current.number, opened=opened)
    return opened


def judge(tx: Tx, project: Project) -> Project:
    """Withdraw every label of the model if the audit's answers so far say so; the project as it is then."""
    after = _after(project)
    told = model_labels.answers(tx, project.id, after=after)
    if not told:
        return project
    found = autolabel.audit(told, project.settings.auto_label_precision)
    if not found.failed:
        return project
    newest = rounds.latest_scored(tx, project.id)
    current = rounds.latest(tx, project.id)
    threshold = threshold_of(project, newest.metrics).value if newest is not None else None
    failed = AuditFailed(
        threshold=_floor(project) if threshold is None else threshold,
        target=project.settings.auto_label_precision,
        answers=found.answers,
        right=found.right,
        round_number=current.number if current is not None else 0,
        last_task=model_labels.audits(tx, project.id, after=after).last_task,
    )
    gone = model_labels.withdraw(tx, project.id)
    projects.set_audit_failed(tx, project.id, failed)
    evidence = {**asdict(failed), "labels": gone, "low": found.low, "high": found.high, "reason": found.reason}
    events.record(tx, project.id, "system", "autolabel.withdrawn", evidence)
    log.warning("autolabel.withdrawn", project_id=project.id, **evidence)
    return projects.get(tx, project.id)


def standing(tx: Tx, project: Project, model: int) -> AutoLabels:
    """How it stands; the model has given ``model`` labels. The one function that needs no lock."""
    after = _after(project)
    return AutoLabels(
        on=project.settings.auto_label,
        labels=model,
        asked=model_labels.audits(tx, project.id, after=after).asked,
        audited=autolabel.audit(
            model_labels.answers(tx, project.id, after=after), project.settings.auto_label_precision
        ),
        failed=project.audit_failed,
    )


def _after(project: Project) -> int:
    return project.audit_failed.last_task if project.audit_failed is not None else 0


def _floor(project: Project) -> float:
    """The threshold that failed, unless less is asked now than was then."""
    failed = project.audit_failed
    return failed.threshold if failed is not None and project.settings.auto_label_precision >= failed.target else 0.0
