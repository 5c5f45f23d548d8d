"""The map of a project's pool: the page, its points, and what is done to those that somebody chose there.

The points are sent as columns of numbers, one after another, little-endian: 50,000 of them are 1.2 MB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from services.ui.hotkeys import with_hotkeys
from services.ui.parts import PartsOf, ProjectPath
from services.ui.permits import Reviews
from services.ui.views import BIGGEST_ID
from services.ui.words import _
from shared import arrays, mapping
from shared.curation import MOST, may_move
from shared.db import events, maps, projects, rounds, tags
from shared.db.maps import Drawn, Labelled
from shared.domain import Class, ClassId, ImageId, Job, JobState, LabelSource, ProjectId, ProjectState
from shared.errors import Conflict, NotFound
from shared.mapping import Points
from shared.store.base import Store
from shared.tagging import LONGEST

router = APIRouter(include_in_schema=False)
SOURCES = tuple(LabelSource)
"""By the number that stands for each in the points; one more stands for no label."""
NONE = -1
_SURE_STEPS = 200


class Chosen(BaseModel):
    """Images chosen on the map."""

    image_ids: list[int] = Field(min_length=1, max_length=MOST)

    def ids(self) -> list[ImageId]:
        return [ImageId(one) for one in self.image_ids]


class ToLabel(Chosen):
    class_id: int = Field(ge=1, le=BIGGEST_ID)


class Changed(BaseModel):
    """Those that were changed; an image that can't be read, or had this label by a person already, isn't."""

    image_ids: list[int]


class DrawingView(BaseModel):
    """How the map stands that was asked for last. ``progress``: 0 to 1."""

    state: str
    progress: float
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A class on the map: how many images people have given it, how many the model does, and how surely."""

    id: ClassId
    name: str
    colour: str
    column: int
    labelled: int
    predicted: int
    confidence: float | None
    unsure: int


@router.get("/projects/{project_id}/map")
def map_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Reviews) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        classes = projects.classes(tx, project.id)
        drawn = maps.newest_drawn(tx, project.id)
        last = maps.newest(tx, project.id)
        model = rounds.latest_scored(tx, project.id)
        points = None if drawn is None else points_of(parts.system.store, drawn)
        known = [] if points is None else maps.labels_of(tx, project.id, points["id"].tolist())
        known_tags = tags.of_project(tx, project.id)
    shown = drawn if points is not None else None
    context = {
        "user": user,
        "project": project,
        "classes": classes,
        "drawn": shown,
        "drawing": _drawing(last),
        "model": model,
        "older": shown is not None and model is not None and model.id > shown.checkpoint_id,
        "table": [] if points is None else _table(classes, points, known, project.settings.unsure_below),
        "may_ask": not may_move(project),
        "tags": [one.name for one in known_tags],
        "longest_tag": LONGEST,
        "page": _for_script(project.id, shown, classes, _drawing(last)),
        "draft": project.state is ProjectState.DRAFT,
    }
    return parts.templates.TemplateResponse(request, "map.html", context)


@router.post("/projects/{project_id}/map")
def draw(project_id: ProjectPath, parts: PartsOf, user: Reviews) -> Response:
    """Ask for a map of what the newest model makes of the pool."""
    with parts.system.ledger.transaction() as tx:
        project = projects.lock(tx, ProjectId(project_id))
        job = parts.system.ledger.enqueue(tx, mapping.asked_for(tx, project))
        if job is not None:
            events.record(tx, project.id, f"user:{user.id}", "map.asked", {"job": job.id})
    return RedirectResponse(f"/projects/{project_id}/map", 303)


@router.post("/projects/{project_id}/map/cancel")
def cancel(project_id: ProjectPath, parts: PartsOf, user: Reviews) -> Response:
    """Give up the map that is being drawn. Raises ``Conflict`` if none is."""
    with parts.system.ledger.transaction() as tx:
        last = maps.newest(tx, projects.get(tx, ProjectId(project_id)).id)
        if last is None or last.state not in (JobState.QUEUED, JobState.RUNNING):
            raise Conflict(_("no map is being drawn any more"))
        parts.system.ledger.cancel(tx, last.id, last.project_id, f"user:{user.id}")
        data = {"job": last.id, "kind": last.kind.value}
        events.record(tx, last.project_id, f"user:{user.id}", "job.cancelled", data)
    return RedirectResponse(f"/projects/{project_id}/map", 303)


@router.get("/projects/{project_id}/map/points")
def points(project_id: ProjectPath, parts: PartsOf, user: Reviews) -> Response:
    """The newest map, with the labels that there are now. Raises ``NotFound`` where none was drawn."""
    with parts.system.database.transaction() as tx:
        drawn = maps.newest_drawn(tx, projects.get(tx, ProjectId(project_id)).id)
        found = None if drawn is None else points_of(parts.system.store, drawn)
        if found is None:
            raise NotFound(_("no map was drawn of this project"))
        body = packed(found, maps.labels_of(tx, ProjectId(project_id), found["id"].tolist()))
    return Response(body, media_type="application/octet-stream")


@router.get("/v1/projects/{project_id}/map/state")
def state(project_id: ProjectPath, parts: PartsOf, user: Reviews) -> DrawingView | None:
    """How the map stands that was asked for last; null if none ever was."""
    with parts.system.database.transaction() as tx:
        return _drawing(maps.newest(tx, projects.get(tx, ProjectId(project_id)).id))


@router.post("/v1/projects/{project_id}/map/label")
def label(project_id: ProjectPath, body: ToLabel, parts: PartsOf, user: Reviews) -> Changed:
    """Give the images a class, as this person's label."""
    project = ProjectId(project_id)
    changed = parts.system.curation.relabel(project, user.id, body.ids(), ClassId(body.class_id))
    parts.standings.forget(project)
    return Changed(image_ids=list(changed))


@router.post("/v1/projects/{project_id}/map/ask")
def ask(project_id: ProjectPath, body: Chosen, parts: PartsOf, user: Reviews) -> Changed:
    """Have people asked about the images next; labels that they have are removed."""
    project = ProjectId(project_id)
    changed = parts.system.curation.ask_again(project, user.id, body.ids())
    parts.standings.forget(project)
    return Changed(image_ids=list(changed))


def packed(points: Points, known: Sequence[Labelled]) -> bytes:
    """Columns of n numbers each, in this order: ids (float64); x and y (float32); the class of the label, that of the
    prediction and the round of the label (int16, -1 for none); confidence (uint8, in 200ths); source (uint8, its number
    in ``SOURCES``)."""
    n = len(points)
    label, turn = np.full(n, NONE, "<i2"), np.full(n, NONE, "<i2")
    source = np.full(n, len(SOURCES), "u1")
    rows = _rows_of(points, known)
    label[rows] = [one.column for one in known]
    turn[rows] = [NONE if one.round_number is None else one.round_number for one in known]
    source[rows] = [SOURCES.index(one.source) for one in known]
    columns: Sequence[NDArray[Any]] = (
        points["id"].astype("<f8"),
        points["x"].astype("<f4"),
        points["y"].astype("<f4"),
        label,
        points["column"].astype("<i2"),
        turn,
        np.rint(points["confidence"] * _SURE_STEPS).astype("u1"),
        source,
    )
    return b"".join(column.tobytes() for column in columns)


def _rows_of(points: Points, known: Sequence[Labelled]) -> NDArray[np.int64]:
    """The row of each labelled image, int64 (len(known),). All of them are on the map."""
    order = np.argsort(points["id"])
    ids = np.asarray([one.image_id for one in known], np.int64)
    rows: NDArray[np.int64] = order[np.searchsorted(points["id"], ids, sorter=order)]
    return rows


def points_of(store: Store, drawn: Drawn) -> Points | None:
    """None if retention has just taken it away."""
    try:
        found: Points = arrays.load(store, drawn.key)
        return found
    except NotFound:
        return None


def _drawing(last: Job | None) -> DrawingView | None:
    if last is None:
        return None
    error = last.error if last.state is JobState.DEAD else None
    return DrawingView(state=last.state.value, progress=last.progress, error=error)


def _table(classes: Sequence[Class], points: Points, known: Sequence[Labelled], unsure_below: float) -> list[Row]:
    labelled = np.bincount([one.column for one in known if one.source is not LabelSource.MODEL], minlength=len(classes))
    rows = []
    for one in classes:
        sure = points["confidence"][points["column"] == one.position]
        rows.append(
            Row(
                id=one.id,
                name=one.name,
                colour=one.colour,
                column=one.position,
                labelled=int(labelled[one.position]),
                predicted=len(sure),
                confidence=float(sure.mean()) if len(sure) else None,
                unsure=int((sure < unsure_below).sum()),
            )
        )
    return rows


def _for_script(
    project: ProjectId, drawn: Drawn | None, classes: Sequence[Class], drawing: DrawingView | None
) -> Mapping[str, Any]:
    return {
        "project": project,
        "points": None if drawn is None else f"/projects/{project}/map/points",
        "drawing": drawing is not None and drawing.state in ("queued", "running"),
        "classes": [one.model_dump() for one in with_hotkeys(classes)],
        "sources": [source.value for source in SOURCES],
        "most": MOST,
    }
