"""What is known of a project once a round's model has scored the pool, stored with the round and shown.

Its form, as JSON: ``{"rules": [...], "pool": {...}, "threshold": {...}, "forecast": {...}}``. A rule has the fields of
``shared.stopping.Rule``, ``threshold`` those of ``shared.selection.autolabel.Threshold``; ``forecast``, null without a
target, those of ``shared.forecast.Forecast``. ``pool``, null where no shard said anything, has the ``images`` without a
person's label, the ``unsure_share`` of them below ``unsure_below``, the ``histogram`` of their confidences, and
``kappa``, the agreement with the model before, null for the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from shared import stopping
from shared.autolabelling import threshold_of
from shared.db import images, jobs, labels, rounds, tasks
from shared.db.pool import Tx
from shared.db.rounds import CurvePoint
from shared.domain import JobKind, Project, ProjectSettings, Round
from shared.forecast import forecast
from shared.selection.summary import PoolSummary, reduce_summaries
from shared.stopping import Rule


def gather(tx: Tx, project: Project, current: Round, *, audits_owed: int) -> Sequence[Rule]:
    """Find, store with the round, and return the rules in the order in which they are asked.

    ``audits_owed``: as long as people are to be asked about the model's labels, the pool is not exhausted.
    """
    settings = project.settings
    pool = reduce_summaries(
        PoolSummary.from_dict(found["pool"]) for found in jobs.results(tx, current.id, JobKind.SCORE)
    )
    curve = rounds.curve(tx, project.id)
    metrics = curve[-1].metrics if curve else {}
    rules = _rules(tx, project, current, curve, pool, audits_owed)
    found = {
        "rules": [rule.to_dict() for rule in rules],
        "pool": None if pool is None else _said(pool, settings),
        "threshold": asdict(threshold_of(project, metrics)),
        "forecast": _forecast(curve, settings),
    }
    rounds.set_evidence(tx, current.id, found)
    return rules


def _rules(
    tx: Tx,
    project: Project,
    current: Round,
    curve: Sequence[CurvePoint],
    pool: PoolSummary | None,
    audits_owed: int,
) -> Sequence[Rule]:
    settings, counts, stored = project.settings, labels.counts(tx, project.id), images.counts(tx, project.id)
    metrics: Mapping[str, Any] = curve[-1].metrics if curve else {}
    accuracies = [float(point.metrics["accuracy"]) for point in curve if point.metrics.get("accuracy") is not None]
    history = metrics.get("history") or []
    before = rounds.kappas(tx, project.id, before=current.number, limit=settings.agreement_rounds)
    left = (
        bool(audits_owed)
        or images.count_candidates(tx, project.id, 1) > 0
        or tasks.any_live(tx, project.id)
        or tasks.any_live_in_batches(tx, project.id)
    )
    return [
        stopping.label_budget(counts.answers, settings.label_budget),
        stopping.target_accuracy(metrics.get("accuracy"), metrics.get("accuracy_low"), settings.target_accuracy),
        stopping.unsure_share(
            None if pool is None else pool.unsure_share, settings.unsure_below, settings.stop_unsure_share
        ),
        stopping.plateau(accuracies, settings.plateau_rounds, settings.stop_plateau),
        stopping.training_error(1 - history[-1]["accuracy"] if history else None, settings.stop_training_error),
        stopping.agreement(
            [None if pool is None else pool.kappa, *before], settings.agreement_rounds, settings.stop_agreement
        ),
        stopping.max_rounds(current.number, settings.max_rounds),
        stopping.pool_exhausted(left, counts.pool + counts.model, stored.total - stored.holdout - stored.unreadable),
    ]


def _said(pool: PoolSummary, settings: ProjectSettings) -> dict[str, Any]:
    return {
        "images": pool.images,
        "unsure": pool.unsure,
        "unsure_share": pool.unsure_share,
        "unsure_below": settings.unsure_below,
        "histogram": list(pool.histogram),
        "kappa": pool.kappa,
    }


def _forecast(curve: Sequence[CurvePoint], settings: ProjectSettings) -> dict[str, Any] | None:
    measured = [point for point in curve if point.metrics.get("accuracy") is not None and point.metrics.get("n")]
    measured = [point for point in measured if point.labels > 0]
    if settings.target_accuracy is None or not measured:
        return None
    found = forecast(
        [point.labels for point in measured],
        [float(point.metrics["accuracy"]) for point in measured],
        [int(point.metrics["n"]) for point in measured],
        settings.target_accuracy,
    )
    return asdict(found)
