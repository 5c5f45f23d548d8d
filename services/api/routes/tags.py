"""Tags: words of people's own on images."""

from __future__ import annotations

from fastapi import APIRouter

from services.api.auth import Browser, Caller, Reviewer
from services.api.parts import ProjectPath, SystemPart
from services.api.problems import errors
from services.api.schemas.tags import TaggedOut, TaggingIn, TagOut, TagsOut
from shared import tagging
from shared.db import projects, tags
from shared.domain import ImageId, ProjectId
from shared.system import System
from shared.tagging import Change

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["tags"])


@router.get("/tags", summary="List tags", responses=errors(404))
def list_tags(project_id: ProjectPath, caller: Browser, system: SystemPart) -> TagsOut:
    """All that are on an image, in order of name, each with on how many it is."""
    with system.database.transaction() as tx:
        found = tags.counted(tx, projects.get(tx, ProjectId(project_id)).id)
    return TagsOut(items=[TagOut.of(one) for one in found])


@router.post("/images:tag", summary="Put tags on images", responses=errors(404, 409))
def tag_images(project_id: ProjectPath, body: TaggingIn, caller: Reviewer, system: SystemPart) -> TaggedOut:
    """A tag that the project doesn't have is made. Images that aren't the project's are passed over."""
    return _change(tagging.tag, project_id, body, caller, system)


@router.post("/images:untag", summary="Take tags off images", responses=errors(404))
def untag_images(project_id: ProjectPath, body: TaggingIn, caller: Reviewer, system: SystemPart) -> TaggedOut:
    """A tag that is on no image any more is gone."""
    return _change(tagging.untag, project_id, body, caller, system)


def _change(change: Change, project_id: int, body: TaggingIn, caller: Caller, system: System) -> TaggedOut:
    chosen = [ImageId(one) for one in body.image_ids]
    with system.ledger.transaction() as tx:
        return TaggedOut(image_ids=list(change(tx, ProjectId(project_id), chosen, body.tags, caller.actor)))
