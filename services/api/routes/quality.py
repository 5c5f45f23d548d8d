"""How good people are, what is known to measure them by, and the consensus of all answers."""

from __future__ import annotations

from fastapi import APIRouter

from services.api.auth import Manager, Reader, Reviewer
from services.api.parts import CursorQuery, LimitQuery, ProjectPath, SystemPart, decode_cursor, encode_cursor
from services.api.problems import errors
from services.api.schemas.quality import GoldIn, GoldOut, GoldPage, ImagesOut, QualityOut, RenewedOut
from shared import consensus
from shared import gold as known
from shared.db import gold, projects
from shared.domain import ImageId, ProjectId
from shared.measuring import measure

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["quality"])


@router.get("/quality", summary="How good people are", responses=errors(404))
def get_quality(project_id: ProjectPath, caller: Reader, system: SystemPart) -> QualityOut:
    """Everybody who has answered, those with the most answers first. It reads every answer: ask now and then."""
    with system.database.transaction() as tx:
        return QualityOut.of(measure(tx, ProjectId(project_id)))


@router.get("/gold", summary="Images whose answer is known", responses=errors(404))
def list_gold(
    project_id: ProjectPath, caller: Reviewer, system: SystemPart, limit: LimitQuery = 100, cursor: CursorQuery = None
) -> GoldPage:
    """In order of id, each with how often it was answered, and rightly."""
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        found = gold.page(tx, project.id, after=decode_cursor(cursor) or 0, limit=limit + 1)
    more = encode_cursor(found[limit - 1].image_id) if len(found) > limit else None
    return GoldPage(items=[GoldOut.of(one) for one in found[:limit]], next_cursor=more)


@router.post("/gold", summary="Say that answers are known", responses=errors(404))
def mark_gold(project_id: ProjectPath, body: GoldIn, caller: Reviewer, system: SystemPart) -> ImagesOut:
    """The present labels of these images are the known answers. Left out are those that no person or import gave."""
    with system.ledger.transaction() as tx:
        chosen = [ImageId(one) for one in body.image_ids]
        return ImagesOut(image_ids=list(known.mark(tx, ProjectId(project_id), chosen, caller.actor)))


@router.post("/gold/remove", summary="Say that answers are not known after all", responses=errors(404))
def unmark_gold(project_id: ProjectPath, body: GoldIn, caller: Reviewer, system: SystemPart) -> ImagesOut:
    """They keep their labels, and answers to them no longer measure anybody."""
    with system.ledger.transaction() as tx:
        chosen = [ImageId(one) for one in body.image_ids]
        return ImagesOut(image_ids=list(known.unmark(tx, ProjectId(project_id), chosen, caller.actor)))


@router.post("/consensus", summary="Weigh all answers anew", responses=errors(404))
def renew_consensus(project_id: ProjectPath, caller: Manager, system: SystemPart) -> RenewedOut:
    """Labels by several answers follow the model of Dawid and Skene; what a reviewer or a lead decided stays."""
    with system.ledger.transaction() as tx:
        return RenewedOut.of(consensus.renew(tx, ProjectId(project_id), actor=caller.actor))
