"""Known answers in the browser: an image is made one on its page, and taken out there or from the page Quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from services.ui.parts import BIGGEST_ID, ImagePath, PartsOf, ProjectPath
from services.ui.permits import Reviews
from services.ui.words import _
from shared import gold
from shared.db import gold as rows
from shared.db import images, labels
from shared.db.gold import Gold
from shared.db.pool import Tx
from shared.domain import ClassId, Image, ImageId, LabelSource, Project, ProjectId
from shared.errors import Invalid
from shared.learning.metrics import wilson_interval

router = APIRouter(include_in_schema=False)
ClassField = Annotated[int, Form(ge=1, le=BIGGEST_ID)]
PAGE = 24
_SKILL, _FEW, _MANY = 0.9, 50, 200
"""What the page tells of how many are enough is an example: somebody who is right so often, after so many."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A known answer as the page shows it. ``doubtful``: most answers to it are others, so that it may be wrong."""

    gold: Gold
    filename: str
    small: bool
    doubtful: bool


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Some of the known answers. ``lasts``: after how many questions a person has seen them all, None if none is
    asked. ``few`` and ``many``: after how many answers the share of right ones lies between what two."""

    shots: Sequence[Shot]
    more: ImageId | None
    lasts: int | None
    few: tuple[int, float, float]
    many: tuple[int, float, float]
    skill: float = _SKILL


def shown(tx: Tx, project: Project, known: int, *, after: int) -> Shown:
    found = rows.page(tx, project.id, after=after, limit=PAGE + 1)
    pictures = images.by_ids(tx, project.id, [one.image_id for one in found])
    rate = project.settings.gold_rate
    return Shown(
        shots=[_shot(one, pictures[one.image_id]) for one in found[:PAGE]],
        more=found[PAGE - 1].image_id if len(found) > PAGE else None,
        lasts=round(known / rate) if rate else None,
        few=(_FEW, *wilson_interval(round(_SKILL * _FEW), _FEW)),
        many=(_MANY, *wilson_interval(round(_SKILL * _MANY), _MANY)),
    )


@router.post("/projects/{project_id}/images/{image_id}/gold")
def mark(project_id: ProjectPath, image_id: ImagePath, parts: PartsOf, user: Reviews, class_id: ClassField) -> Response:
    """This class is the known answer. Where the image has another label, or the model's, it becomes this person's."""
    project, image = ProjectId(project_id), ImageId(image_id)
    with parts.system.database.transaction() as tx:
        images.get(tx, project, image)
        label = labels.of_image(tx, image)
    if label is None or label.class_id != class_id or label.source is LabelSource.MODEL:
        parts.system.curation.relabel(project, user.id, [image], ClassId(class_id))
        parts.standings.forget(project)
    with parts.system.ledger.transaction() as tx:
        if not gold.mark(tx, project, [image], f"user:{user.id}"):
            raise Invalid(_("an image that can't be read can't be asked about"))
    return RedirectResponse(f"/projects/{project_id}/images/{image_id}/details", 303)


@router.post("/projects/{project_id}/images/{image_id}/gold/remove")
def unmark(
    project_id: ProjectPath,
    image_id: ImagePath,
    parts: PartsOf,
    user: Reviews,
    back: Annotated[Literal["image", "quality"], Form()] = "image",
) -> Response:
    """Its answer is known no more: it measures nobody, and keeps its label."""
    with parts.system.ledger.transaction() as tx:
        image: Image = images.get(tx, ProjectId(project_id), ImageId(image_id))
        gold.unmark(tx, image.project_id, [image.id], f"user:{user.id}")
    place = "quality#known" if back == "quality" else f"images/{image_id}/details"
    return RedirectResponse(f"/projects/{project_id}/{place}", 303)


def _shot(one: Gold, image: Image) -> Shot:
    return Shot(
        gold=one,
        filename=image.filename,
        small=max(image.width, image.height) <= 64,
        doubtful=one.answers >= 3 and 2 * one.right < one.answers,
    )
