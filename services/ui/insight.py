"""The figures of the dashboard that take a while to find: how labels grew, what they cost, how the classes fare.

They are kept for ten seconds or twenty times what they took, whichever is longer, so that a project of a million labels
costs no more than a twentieth of a processor however many watch it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import Watches
from services.ui.standing import Standing
from shared.db import insight
from shared.db.rounds import CurvePoint
from shared.domain import LabelSource, ProjectId
from shared.forecast import LEAST_POINTS, weigh

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["projects"])
STEPS = 60
"""Points in time of the growth of labels."""
_AHEAD = 16
"""Points of the curve to come."""
_REACH = 3.0
"""It is drawn up to so many times the present labels, or up to the target if that is sooner."""


class GrowthView(BaseModel):
    """How many labels there were of each source at each of ``ends``."""

    ends: Sequence[datetime]
    labels: Mapping[LabelSource, Sequence[int]]


class Ahead(BaseModel):
    """Where the learning curve is going: the accuracy at so many labels, its median and 90% interval."""

    labels: int
    accuracy: float
    low: float
    high: float


class Recall(BaseModel):
    """Of a round's model, the share of each class's holdout images that it gets right, in order of the classes."""

    round: int
    recalls: Sequence[float | None]


class Epoch(BaseModel):
    epoch: int
    loss: float
    holdout_loss: float | None


class Confusion(BaseModel):
    """Of the newest model on the holdout: a row is the truth, a column what the model said. ``browsable``: its scores
    are kept, so that the images of a cell can be found."""

    checkpoint_id: int
    round: int
    counts: Sequence[Sequence[int]]
    browsable: bool


class Effort(BaseModel):
    """``pace``: labels by people in an hour of work, None where too few were given lately. ``left``: labels until the
    target by the forecast, or else until the budget is spent (``until`` says which); None where neither is known."""

    answers: int
    price: float | None
    currency: str
    pace: float | None
    left: int | None
    until: str | None


class Figures(BaseModel):
    growth: GrowthView | None
    ahead: Sequence[Ahead]
    recalls: Sequence[Recall]
    losses: Sequence[Epoch]
    confusion: Confusion | None
    effort: Effort


@router.get("/figures")
def figures(project_id: ProjectPath, parts: PartsOf, user: Watches) -> Figures:
    """What the dashboard shows beside the state, at most ten seconds old or twenty times what it took to find."""
    project = ProjectId(project_id)
    found: Figures = parts.figures.get(("figures", project), partial(_find, parts, project))
    return found


def _find(parts: Parts, project_id: ProjectId) -> Figures:
    standing = parts.standings.get(project_id)
    now = standing.overview
    with parts.system.database.one_by_one() as tx:
        grown = insight.growth(tx, project_id, steps=STEPS)
        answers, pace = insight.answers(tx, project_id), insight.pace(tx, project_id)
        scored = {one.id for one in insight.models(tx, project_id) if one.scored}
    newest = now.curve[-1] if now.curve else None
    left, until = _left(standing)
    settings = now.project.settings
    return Figures(
        growth=None if grown is None else GrowthView(ends=grown.ends, labels=grown.labels),
        ahead=_ahead(now.curve, settings.target_accuracy),
        recalls=[
            Recall(round=point.round_number, recalls=point.metrics["per_class"])
            for point in now.curve
            if point.metrics.get("per_class")
        ],
        losses=_losses(newest.metrics if newest else {}),
        confusion=_confusion(newest, len(now.classes), scored),
        effort=Effort(
            answers=answers, price=settings.label_price, currency=settings.currency, pace=pace, left=left, until=until
        ),
    )


def _ahead(curve: Sequence[CurvePoint], target: float | None) -> list[Ahead]:
    """The way to come of the learning curve; empty while there are too few points to say."""
    points = [one for one in curve if one.metrics.get("accuracy") is not None and one.metrics.get("n") and one.labels]
    if len({one.labels for one in points}) < LEAST_POINTS:
        return []
    curves = weigh(
        [one.labels for one in points],
        [float(one.metrics["accuracy"]) for one in points],
        [int(one.metrics["n"]) for one in points],
    )
    present = points[-1].labels
    end = present * _REACH
    if target is not None:
        end = min(end, max(1.15 * curves.labels_to(target)[0], 1.3 * present))
    steps = [round(present + (end - present) * n / _AHEAD) for n in range(_AHEAD + 1)]
    found = []
    for labels in steps:
        middle, low, high = curves.accuracy(labels)
        found.append(Ahead(labels=labels, accuracy=middle, low=low, high=high))
    return found


def _losses(metrics: Mapping[str, Any]) -> list[Epoch]:
    return [
        Epoch(epoch=one["epoch"], loss=float(one["loss"]), holdout_loss=one.get("holdout_loss"))
        for one in metrics.get("history") or []
        if one.get("epoch") is not None and one.get("loss") is not None
    ]


def _confusion(newest: CurvePoint | None, classes: int, scored: set[Any]) -> Confusion | None:
    counts = newest.metrics.get("confusion") if newest else None
    if newest is None or not counts or len(counts) != classes:
        return None
    return Confusion(
        checkpoint_id=newest.checkpoint_id,
        round=newest.round_number,
        counts=counts,
        browsable=newest.checkpoint_id in scored,
    )


def _left(standing: Standing) -> tuple[int | None, str | None]:
    """Labels still to be given, and until what."""
    now = standing.overview
    forecast = now.evidence.found.get("forecast") if now.evidence else None
    if forecast and forecast.get("more"):
        return int(forecast["more"]), "target"
    budget = now.project.settings.label_budget
    if budget is not None:
        return max(0, budget - now.labels.human), "budget"
    return None, None
