"""The page of one model: how good it is, where it errs, how sure it may be, and how it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from services.ui.comparison import said
from services.ui.parts import PartsOf, ProjectPath
from services.ui.permits import Watches
from services.ui.state import Accuracy, accuracy
from services.ui.words import N_
from shared.db import projects, rounds
from shared.domain import Class, ProjectId
from shared.errors import NotFound

router = APIRouter(include_in_schema=False)
CheckpointPath = Annotated[int, Path(alias="checkpoint_id", ge=1, le=2**63 - 1)]
WIDTH, HEIGHT = 600, 180
"""Of a drawing, in its own units."""
_SHOWN = (
    ("accuracy", N_("Accuracy")),
    ("macro_precision", N_("Macro precision")),
    ("macro_recall", N_("Macro recall")),
    ("macro_f1", N_("Macro F1")),
    ("auroc", N_("AUROC")),
)
_CALIBRATION = (("ece", N_("Expected calibration error")), ("nll", N_("Negative log-likelihood")))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Of the confusion matrix: images of a class that were taken for another, or were not; ``shade`` goes from 0 to 10
    with its share of the row."""

    count: int
    shade: int
    right: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """A class of the holdout: ``n`` images, what they were taken for, and the share that was recognised."""

    name: str
    n: int
    recall: float | None
    cells: Sequence[Cell]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve over the epochs: ``points`` for SVG, its last value, and the highest on its scale."""

    name: str
    points: str
    last: float
    top: float


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """What the page shows; whatever an older checkpoint doesn't tell is empty."""

    round_number: int
    labels: int
    accuracy: Accuracy | None
    figures: Sequence[tuple[str, str, float]]
    rows: Sequence[Row]
    calibration: Mapping[str, Any] | None
    calibrated: Sequence[tuple[str, float, float]]
    reliability: Sequence[Mapping[str, Any]]
    loss: Sequence[Line]
    right: Sequence[Line]
    recipe: Sequence[tuple[str, str]]
    kind: str


@router.get("/projects/{project_id}/models/{checkpoint_id}")
def model_page(
    request: Request, project_id: ProjectPath, checkpoint_id: CheckpointPath, parts: PartsOf, user: Watches
) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        classes = projects.classes(tx, project.id)
        curve = rounds.curve(tx, project.id)
        used = rounds.promoted(tx, project.id)
    place = next((at for at, point in enumerate(curve) if point.checkpoint_id == checkpoint_id), None)
    if place is None:
        raise NotFound(f"project {project_id} has no model {checkpoint_id}")
    point = curve[place]
    view = model_view(point.round_number, point.labels, point.metrics, classes)
    with parts.system.database.transaction() as tx:
        newest = rounds.latest_scored(tx, project.id)
    context = {
        "user": user,
        "project": project,
        "classes": classes,
        "model": view,
        "browsable": newest is not None and newest.id == checkpoint_id,
        "checkpoint_id": checkpoint_id,
        "in_use": used is not None and used.id == checkpoint_id,
        "width": WIDTH,
        "height": HEIGHT,
        "before": curve[place - 1] if place else None,
        "after": curve[place + 1] if place + 1 < len(curve) else None,
    }
    return parts.templates.TemplateResponse(request, "model.html", context)


def model_view(number: int, labels: int, metrics: Mapping[str, Any], classes: Sequence[Class]) -> ModelView:
    """From what is stored with a checkpoint."""
    calibration = metrics.get("calibration")
    recipe = dict(metrics.get("recipe") or {})
    kind = str(recipe.pop("kind", ""))
    history = metrics.get("history") or []
    return ModelView(
        round_number=number,
        labels=labels,
        accuracy=accuracy(metrics),
        figures=[(key, name, float(metrics[key])) for key, name in _SHOWN if metrics.get(key) is not None],
        rows=_rows(metrics, classes),
        calibration=calibration,
        calibrated=[
            (name, float(calibration[f"{key}_before"]), float(calibration[f"{key}_after"]))
            for key, name in _CALIBRATION
            if calibration
        ],
        reliability=metrics.get("reliability") or [],
        loss=_lines(history, (("loss", N_("labels, as augmented")), ("holdout_loss", N_("holdout")))),
        right=_lines(history, (("accuracy", N_("labels, as augmented")), ("holdout_accuracy", N_("holdout"))), top=1.0),
        recipe=[(name, said(value)) for name, value in sorted(recipe.items()) if value is not None],
        kind=kind,
    )


def _rows(metrics: Mapping[str, Any], classes: Sequence[Class]) -> list[Row]:
    confusion, recalls = metrics.get("confusion"), metrics.get("per_class")
    if not confusion or not recalls or len(confusion) != len(classes):
        return []
    return [
        Row(
            name=one.name,
            n=sum(counts),
            recall=recalls[one.position],
            cells=[
                Cell(count=count, shade=round(10 * count / max(1, sum(counts))), right=column == one.position)
                for column, count in enumerate(counts)
            ],
        )
        for one, counts in zip(classes, confusion, strict=True)
    ]


def _lines(
    history: Sequence[Mapping[str, Any]], named: Sequence[tuple[str, str]], top: float | None = None
) -> list[Line]:
    """The curves that there are, on one scale from 0 to ``top``, or to the highest."""
    series = {
        name: [(report["epoch"], float(report[key])) for report in history if report.get(key) is not None]
        for key, name in named
    }
    series = {name: values for name, values in series.items() if len(values) > 1}
    if not series:
        return []
    last = max(epoch for values in series.values() for epoch, _ in values)
    first = min(epoch for values in series.values() for epoch, _ in values)
    high = top or max(value for values in series.values() for _, value in values) or 1.0
    return [
        Line(
            name=name,
            points=" ".join(
                f"{WIDTH * (epoch - first) / max(1, last - first):.1f},{HEIGHT * (1 - min(value / high, 1)):.1f}"
                for epoch, value in values
            ),
            last=values[-1][1],
            top=high,
        )
        for name, values in series.items()
    ]
