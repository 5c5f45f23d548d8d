"""What annotators are told, and what they flag for a lead."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from services.api.auth import Manager, Reader, Reviewer
from services.api.parts import (
    BIGGEST_ID,
    CursorQuery,
    LimitQuery,
    ProjectPath,
    SystemPart,
    decode_cursor,
    encode_cursor,
)
from services.api.problems import errors
from services.api.schemas.guidelines import FlagOut, FlagPage, GuidelinesIn, GuidelinesOut
from shared.db import events, flags, guidelines, projects
from shared.domain import FlagId, ImageId, ProjectId
from shared.errors import Invalid

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["guidelines"])
FlagPath = Annotated[int, Path(ge=1, le=BIGGEST_ID, description="The flag's id.", examples=[3])]
OpenQuery = Annotated[bool, Query(description="Whether those that were resolved are left out.")]


@router.get("/guidelines", summary="What annotators are told", responses=errors(404))
def get_guidelines(project_id: ProjectPath, caller: Reader, system: SystemPart) -> GuidelinesOut:
    """The text, and of each class its description and example images."""
    with system.database.transaction() as tx:
        return GuidelinesOut.of(guidelines.get(tx, ProjectId(project_id)))


@router.patch("/guidelines", summary="Change what annotators are told", responses=errors(404))
def change_guidelines(
    project_id: ProjectPath, body: GuidelinesIn, caller: Manager, system: SystemPart
) -> GuidelinesOut:
    """All of it or, if a class or an image is not the project's, nothing."""
    with system.database.transaction() as tx:
        project = projects.lock(tx, ProjectId(project_id))
        ids = {one.name: one.id for one in projects.classes(tx, project.id)}
        if body.text is not None:
            guidelines.set_text(tx, project.id, body.text)
        for one in body.classes:
            if one.class_ not in ids:
                raise Invalid(f"the project has no class '{one.class_}'")
            if one.description is not None:
                guidelines.set_description(tx, project.id, ids[one.class_], one.description)
            if one.examples is not None:
                guidelines.set_examples(tx, project.id, ids[one.class_], [ImageId(image) for image in one.examples])
        events.record(tx, project.id, caller.actor, "project.guidelines_changed")
        return GuidelinesOut.of(guidelines.get(tx, project.id))


@router.get("/flags", summary="What annotators flagged", responses=errors(404))
def list_flags(
    project_id: ProjectPath,
    caller: Reader,
    system: SystemPart,
    only_open: OpenQuery = True,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> FlagPage:
    """The newest first."""
    before = decode_cursor(cursor)
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        place = {} if before is None else {"before": before}
        found = flags.page(tx, project.id, limit=limit + 1, only_open=only_open, **place)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return FlagPage(items=[FlagOut.of(one) for one in found[:limit]], next_cursor=more)


@router.post("/flags/{flag_id}/resolve", status_code=204, summary="A flag was seen to", responses=errors(404))
def resolve_flag(project_id: ProjectPath, flag_id: FlagPath, caller: Reviewer, system: SystemPart) -> None:
    """Once more changes nothing."""
    with system.database.transaction() as tx:
        flags.resolve(tx, ProjectId(project_id), FlagId(flag_id), caller.actor)
