"""Tags of one image, from its page, and of what somebody chose on the map or while reviewing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from services.ui.map import Changed, Chosen, points_of
from services.ui.parts import ImagePath, Parts, PartsOf, ProjectPath
from services.ui.permits import Reviews
from shared import tagging
from shared.db import images, maps, projects, tags
from shared.db.projects import PALETTE
from shared.domain import ImageId, ProjectId, User
from shared.tagging import Change

router = APIRouter(include_in_schema=False)
TagField = Annotated[str, Form(max_length=200)]


class ToTag(Chosen):
    tag: str = Field(max_length=200)


class TagView(BaseModel):
    """A tag with the images on the map that have it. Its colour comes back after eight tags."""

    name: str
    colour: str
    image_ids: Sequence[int]


@router.post("/projects/{project_id}/images/{image_id}/tags")
def tag_one(
    project_id: ProjectPath, image_id: ImagePath, parts: PartsOf, user: Reviews, tag: TagField = ""
) -> Response:
    return _change_one(tagging.tag, project_id, image_id, tag, parts, user)


@router.post("/projects/{project_id}/images/{image_id}/tags/remove")
def untag_one(
    project_id: ProjectPath, image_id: ImagePath, parts: PartsOf, user: Reviews, tag: TagField = ""
) -> Response:
    return _change_one(tagging.untag, project_id, image_id, tag, parts, user)


@router.post("/v1/projects/{project_id}/map/tag")
@router.post("/v1/projects/{project_id}/review/tag")
def tag_chosen(project_id: ProjectPath, body: ToTag, parts: PartsOf, user: Reviews) -> Changed:
    """Put a tag on the images; those that had it already aren't named in the answer."""
    return _change_chosen(tagging.tag, project_id, body, parts, user)


@router.post("/v1/projects/{project_id}/map/untag")
@router.post("/v1/projects/{project_id}/review/untag")
def untag_chosen(project_id: ProjectPath, body: ToTag, parts: PartsOf, user: Reviews) -> Changed:
    """Take a tag off the images; those that hadn't it aren't named in the answer."""
    return _change_chosen(tagging.untag, project_id, body, parts, user)


@router.get("/v1/projects/{project_id}/map/tags")
def tags_on_map(project_id: ProjectPath, parts: PartsOf, user: Reviews) -> list[TagView]:
    """The tags of the images that the newest map shows, in order of name."""
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        drawn = maps.newest_drawn(tx, project.id)
        points = None if drawn is None else points_of(parts.system.store, drawn)
        on_images = {} if points is None else tags.of_images(tx, points["id"].tolist())
        known = tags.of_project(tx, project.id)
    images_of: dict[str, list[int]] = {}
    for image_id, names in on_images.items():
        for name in names:
            images_of.setdefault(name, []).append(image_id)
    shown = [one.name for one in known if one.name in images_of]
    return [
        TagView(name=name, colour=PALETTE[at % len(PALETTE)], image_ids=images_of[name])
        for at, name in enumerate(shown)
    ]


def _change_one(change: Change, project_id: int, image_id: int, tag: str, parts: Parts, user: User) -> Response:
    with parts.system.ledger.transaction() as tx:
        image = images.get(tx, ProjectId(project_id), ImageId(image_id))
        change(tx, image.project_id, [image.id], [tag], f"user:{user.id}")
    return RedirectResponse(f"/projects/{project_id}/images/{image_id}/details", 303)


def _change_chosen(change: Change, project_id: int, body: ToTag, parts: Parts, user: User) -> Changed:
    with parts.system.ledger.transaction() as tx:
        return Changed(image_ids=list(change(tx, ProjectId(project_id), body.ids(), [body.tag], f"user:{user.id}")))
