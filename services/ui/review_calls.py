"""The calls of the review pages: what lies where on the diagonal picture, which labels are in doubt, and what a
reviewer says of images. What saying means is in ``shared.reviewing``."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Query
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import Reviews
from services.ui.views import BIGGEST_ID
from shared.db import images, projects, reviews
from shared.diagonal import diagonal
from shared.domain import ClassId, Image, ImageId, ProjectId, Split
from shared.learning.opinions import Opinions
from shared.reviewing import MOST

router = APIRouter(prefix="/v1/projects/{project_id}/review", tags=["review"])
IdempotencyKey = Annotated[str, Header(min_length=1, max_length=200)]
ClassQuery = Annotated[int, Query(ge=1, le=BIGGEST_ID)]
MOST_POINTS = 20_000
"""More than this can't be told apart; what lies off the diagonal is drawn first."""
MOST_SHOWN = 120
MOST_LISTED = 10_000
_SEED = 7


class Points(BaseModel):
    """Columns of equal length: an image in the cell of the classes at ``given`` and ``said``, by position."""

    images: list[int]
    given: list[int]
    said: list[int]
    looked_at: list[bool]


class Diagonal(BaseModel):
    """``counts``: rows are what people say, columns what the model says. ``points`` are all images, or as many as can
    be drawn. ``unseen``: of how many the model had not been told the label."""

    model: bool
    images: int
    agreed: int
    unseen: int
    counts: list[list[int]]
    points: Points


class Cell(BaseModel):
    """The images of a cell, those first that the model is surest of; at most ``MOST_LISTED``."""

    images: list[int]


class Wanted(BaseModel):
    images: list[Annotated[int, Field(ge=1, le=BIGGEST_ID)]] = Field(min_length=1, max_length=MOST_SHOWN)


class Shot(BaseModel):
    """An image with its label now, ``given``, and what the model says: ``said`` with ``confidence``; ``own`` is the
    probability of the label. ``suggested`` is the likeliest other class. Ids of classes."""

    id: int
    filename: str
    width: int
    height: int
    holdout: bool
    given: int
    said: int
    confidence: float
    own: float
    suggested: int
    unseen: bool
    looked_at: bool


class Shots(BaseModel):
    shots: list[Shot]


class DoubtsWish(BaseModel):
    """``without``: those that are shown already, or on their way to be answered."""

    count: int = Field(60, ge=1, le=MOST_SHOWN)
    without: list[Annotated[int, Field(ge=1, le=BIGGEST_ID)]] = Field(default_factory=list, max_length=MOST_LISTED)


class Doubts(BaseModel):
    """The likeliest wrong first. ``left`` are in doubt and were not looked at, ``looked_at`` were; ``checked`` labels
    were held against a model that had not been told them, of ``images`` in all."""

    model: bool
    shots: list[Shot]
    left: int
    looked_at: int
    checked: int
    images: int


class Verdict(BaseModel):
    image_id: int = Field(ge=1, le=BIGGEST_ID)
    class_id: int = Field(ge=1, le=BIGGEST_ID)


class Verdicts(BaseModel):
    verdicts: list[Verdict] = Field(min_length=1, max_length=MOST)


class Said(BaseModel):
    """``corrected`` are the images that had another label."""

    corrected: list[int]
    kept: list[int]
    replayed: bool


class Undo(BaseModel):
    key: str = Field(min_length=1, max_length=200)


class TakenBack(BaseModel):
    images: list[int]


@router.get("/diagonal")
def look(project_id: ProjectPath, parts: PartsOf, user: Reviews) -> Diagonal:
    found, size, seen = _against(parts, ProjectId(project_id))
    if found is None:
        points = Points(images=[], given=[], said=[], looked_at=[])
        return Diagonal(model=False, images=0, agreed=0, unseen=0, counts=[], points=points)
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (found["given"], found["said"]), 1)
    some = found[drawn(found)]
    return Diagonal(
        model=True,
        images=len(found),
        agreed=int(np.trace(counts)),
        unseen=int(found["unseen"].sum()),
        counts=counts.tolist(),
        points=Points(
            images=some["image"].tolist(),
            given=some["given"].tolist(),
            said=some["said"].tolist(),
            looked_at=np.isin(some["image"], list(seen)).tolist(),
        ),
    )


@router.get("/cell")
def cell(project_id: ProjectPath, given: ClassQuery, said: ClassQuery, parts: PartsOf, user: Reviews) -> Cell:
    """The images that people label ``given`` and the model ``said``, ids of classes."""
    project = ProjectId(project_id)
    found, _, _ = _against(parts, project)
    at = {int(class_id): place for place, class_id in enumerate(_class_ids(parts, project))}
    if found is None or given not in at or said not in at:
        return Cell(images=[])
    here = found[(found["given"] == at[given]) & (found["said"] == at[said])]
    order = np.argsort(-here["confidence"], kind="stable")[:MOST_LISTED]
    return Cell(images=here["image"][order].tolist())


@router.post("/images")
def show(project_id: ProjectPath, wanted: Wanted, parts: PartsOf, user: Reviews) -> Shots:
    """Images by their ids, in that order; those that have no label any more are left out."""
    project = ProjectId(project_id)
    found, _, seen = _against(parts, project, [ImageId(one) for one in wanted.images])
    if found is None:
        return Shots(shots=[])
    asked = np.asarray(wanted.images, np.int64)
    places = np.searchsorted(found["image"], asked)
    there = [int(p) for p, i in zip(places, asked, strict=True) if p < len(found) and found["image"][p] == i]
    return Shots(shots=_shots(parts, project, found[there], seen))


@router.post("/doubts")
def doubts(project_id: ProjectPath, wish: DoubtsWish, parts: PartsOf, user: Reviews) -> Doubts:
    project = ProjectId(project_id)
    found, _, seen = _against(parts, project)
    if found is None:
        return Doubts(model=False, shots=[], left=0, looked_at=0, checked=0, images=0)
    doubtful = found[found["doubt"] >= 0]
    doubtful = doubtful[np.argsort(doubtful["doubt"], kind="stable")]
    done = np.isin(doubtful["image"], list(seen))
    left = doubtful[~done]
    shown = left[~np.isin(left["image"], wish.without)][: wish.count]
    return Doubts(
        model=True,
        shots=_shots(parts, project, shown, seen),
        left=len(left),
        looked_at=int(done.sum()),
        checked=int(found["unseen"].sum()),
        images=len(found),
    )


@router.post("/verdicts")
def say(
    project_id: ProjectPath, body: Verdicts, parts: PartsOf, user: Reviews, idempotency_key: IdempotencyKey
) -> Said:
    """These images are of these classes: labels that say so are kept, others corrected. Sent twice it counts once."""
    said = {ImageId(one.image_id): ClassId(one.class_id) for one in body.verdicts}
    reviewed = parts.system.reviewing.say(ProjectId(project_id), user.id, said, key=idempotency_key)
    parts.standings.forget(ProjectId(project_id))
    corrected = set(reviewed.corrected)
    kept = [one.image_id for one in reviewed.reviews if one.image_id not in corrected]
    return Said(corrected=sorted(corrected), kept=kept, replayed=reviewed.replayed)


@router.post("/undo")
def undo(project_id: ProjectPath, body: Undo, parts: PartsOf, user: Reviews) -> TakenBack:
    """Take back what this person said under a key."""
    taken = parts.system.reviewing.undo(ProjectId(project_id), user.id, key=body.key)
    parts.standings.forget(ProjectId(project_id))
    return TakenBack(images=list(taken))


def _class_ids(parts: Parts, project: ProjectId) -> list[ClassId]:
    with parts.system.database.transaction() as tx:
        projects.get(tx, project)
        return [one.id for one in projects.classes(tx, project)]


def _against(
    parts: Parts, project: ProjectId, only: list[ImageId] | None = None
) -> tuple[Opinions | None, int, set[ImageId]]:
    """Labels against the model, the number of classes, and the images whose labels were looked at."""
    size = len(_class_ids(parts, project))
    found = diagonal(parts.system.database, parts.system.store, project, only)
    with parts.system.database.transaction() as tx:
        seen = reviews.looked_at(tx, project)
    return found, size, seen


def drawn(found: Opinions) -> NDArray[np.int64]:
    """Places of the points to draw: what is off the diagonal before the rest, each at random where it is too much."""
    if len(found) <= MOST_POINTS:
        return np.arange(len(found))
    rng = np.random.default_rng(_SEED)
    order = rng.permutation(len(found))
    off = found["given"][order] != found["said"][order]
    return np.sort(np.concatenate((order[off], order[~off]))[:MOST_POINTS])


def _shots(parts: Parts, project: ProjectId, found: Opinions, seen: set[ImageId]) -> list[Shot]:
    with parts.system.database.transaction() as tx:
        classes = [one.id for one in projects.classes(tx, project)]
        known = images.by_ids(tx, project, [ImageId(int(one)) for one in found["image"]])
    return [_shot(row, known[ImageId(int(row["image"]))], classes, seen) for row in found]


def _shot(row: Any, image: Image, classes: list[ClassId], seen: set[ImageId]) -> Shot:
    return Shot(
        id=image.id,
        filename=image.filename,
        width=image.width,
        height=image.height,
        holdout=image.split is Split.HOLDOUT,
        given=classes[row["given"]],
        said=classes[row["said"]],
        confidence=float(row["confidence"]),
        own=float(row["own"]),
        suggested=classes[row["other"]],
        unseen=bool(row["unseen"]),
        looked_at=image.id in seen,
    )
