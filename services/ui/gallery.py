"""Two looks into the pool for the dashboard: the images that the newest model is least sure of, and any.

Neither reads the whole of a large pool. The least sure ones are sought among so many shards as hold 32 MB of
probabilities (all of them up to about a million images of eight classes), drawn by the checkpoint's number so that the
gallery stays the same until there is another model; the answer says how many images were looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query
from pydantic import BaseModel

from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import Browses
from shared.db import images, insight, projects, rounds
from shared.db.pool import Tx
from shared.domain import Checkpoint, Image, ImageId, ImageState, ProjectId, ShardId, ShardState
from shared.opinions import least_sure, opinions

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["projects"])
SHOWN = 24
_MOST_BYTES = 32 * 1024**2
_FROM_EACH = 20 * SHOWN
"""Rows of a shard that are looked up: most of the least sure may have been labelled since."""


class Shot(BaseModel):
    """``said`` is the model's class and ``confidence`` its probability; ``label`` what the image is labelled."""

    image_id: int
    filename: str
    small: bool
    said: int | None = None
    confidence: float | None = None
    label: int | None = None


class Gallery(BaseModel):
    """``round`` None: there is no model that has seen the pool. ``looked_at`` images, all if ``whole``."""

    shots: Sequence[Shot]
    round: int | None
    looked_at: int
    whole: bool


@router.get("/gallery")
def gallery(
    project_id: ProjectPath,
    parts: PartsOf,
    user: Browses,
    of: Literal["unsure", "random"],
    seed: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> Gallery:
    """Images of the pool: those that the newest model is least sure of, or a random sample by ``seed``."""
    project = ProjectId(project_id)
    with parts.system.database.transaction() as tx:
        projects.get(tx, project)
        model = rounds.latest_scored(tx, project)
        turn = next((one.number for one in rounds.history(tx, project) if model and one.id == model.round_id), None)
    if of == "random":
        return _any(parts, project, model, turn, seed)
    if model is None:
        return Gallery(shots=[], round=None, looked_at=0, whole=False)
    found: Gallery = parts.figures.get(("unsure", model.id), partial(_unsure, parts, project, model, turn))
    return found


def _any(parts: Parts, project: ProjectId, model: Checkpoint | None, turn: int | None, seed: int) -> Gallery:
    with parts.system.database.transaction() as tx:
        ids = insight.sample(tx, project, SHOWN, np.random.default_rng(seed))
        found = _readable(tx, project, ids)
        labelled = insight.labels_of(tx, ids)
    columns = _columns(parts, project)
    said = opinions(parts.system.store, project, model.id, found) if model else {}
    shots = []
    for image in found:
        opinion = said.get(image.id)
        shot = _shot(image)
        shot.label = labelled[image.id][0] if image.id in labelled else None
        if opinion is not None and opinion.column < len(columns):
            shot.said, shot.confidence = columns[opinion.column], opinion.confidence
        shots.append(shot)
    return Gallery(shots=shots, round=turn, looked_at=len(shots), whole=False)


def _unsure(parts: Parts, project: ProjectId, model: Checkpoint, turn: int | None) -> Gallery:
    store, database = parts.system.store, parts.system.database
    with database.transaction() as tx:
        shards = [one.id for one in images.shards(tx, project, ShardState.EMBEDDED)]
    drawn = [ShardId(shards[at]) for at in np.random.default_rng(model.id).permutation(len(shards))]
    best: list[tuple[float, ImageId]] = []
    looked_at = looked_into = 0
    for shard, order, confidences in least_sure(store, project, model.id, drawn, most_bytes=_MOST_BYTES):
        looked_at, looked_into = looked_at + len(order), looked_into + 1
        rows = order[:_FROM_EACH].tolist()
        with database.one_by_one() as tx:
            open_ones = insight.unanswered(tx, shard, rows)
        sure = zip(rows, confidences, strict=False)
        best += [(float(one), open_ones[row]) for row, one in sure if row in open_ones]
        best = sorted(best)[:SHOWN]
    return _of_these(parts, project, model, turn, best, looked_at, looked_into == len(shards))


def _of_these(
    parts: Parts,
    project: ProjectId,
    model: Checkpoint,
    turn: int | None,
    best: Sequence[tuple[float, ImageId]],
    looked_at: int,
    whole: bool,
) -> Gallery:
    with parts.system.database.transaction() as tx:
        found = {image.id: image for image in _readable(tx, project, [image_id for _, image_id in best])}
    columns = _columns(parts, project)
    said = opinions(parts.system.store, project, model.id, found.values())
    shots = []
    for confidence, image_id in best:
        if image_id in found and image_id in said:
            shot = _shot(found[image_id])
            shot.said, shot.confidence = columns[said[image_id].column], confidence
            shots.append(shot)
    return Gallery(shots=shots, round=turn, looked_at=looked_at, whole=whole)


def _columns(parts: Parts, project: ProjectId) -> list[int]:
    with parts.system.database.one_by_one() as tx:
        return [one.id for one in projects.classes(tx, project)]


def _readable(tx: Tx, project: ProjectId, ids: Sequence[ImageId]) -> list[Image]:
    found = images.by_ids(tx, project, ids)
    return [found[one] for one in ids if one in found and found[one].state is not ImageState.UNREADABLE]


def _shot(image: Image) -> Shot:
    return Shot(image_id=image.id, filename=image.filename, small=max(image.width, image.height) <= 64)
