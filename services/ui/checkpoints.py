"""Models: all that were trained, two of them compared, one put to use or taken out of it, one taken along."""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from services.ui.comparison import Said, side_by_side, test_of
from services.ui.models import CheckpointPath
from services.ui.parts import BIGGEST_ID, Parts, PartsOf, ProjectPath
from services.ui.permits import Exports, Manages, Watches
from services.ui.words import _
from shared.comparing import Paired
from shared.db import events, insight, projects, rounds
from shared.db.insight import Model
from shared.db.pool import Tx
from shared.db.rounds import CurvePoint
from shared.domain import CheckpointId, Project, ProjectId, User
from shared.errors import Conflict, Invalid, NotFound
from shared.opinions import opinions
from shared.webhooks import EventType, emit

router = APIRouter(include_in_schema=False)
CheckpointQuery = Annotated[int | None, Query(ge=1, le=BIGGEST_ID)]
FileName = Literal["model.safetensors", "checkpoint.json"]


@router.get("/projects/{project_id}/models")
def models_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Watches) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        found = insight.models(tx, project.id)
        used = rounds.serving(tx, project.id)
    context = {
        "user": user,
        "project": project,
        "models": found,
        "sizes": {one.id: _size(parts, one) for one in found if one.kept},
        "used": used,
    }
    return parts.templates.TemplateResponse(request, "models.html", context)


@router.get("/projects/{project_id}/models/compare")
def compare_page(
    request: Request,
    project_id: ProjectPath,
    parts: PartsOf,
    user: Watches,
    a: CheckpointQuery = None,
    b: CheckpointQuery = None,
) -> Response:
    """``a`` on the left, ``b`` on the right; by default the two newest."""
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        classes = projects.classes(tx, project.id)
        curve = rounds.curve(tx, project.id)
        scored = {one.id for one in insight.models(tx, project.id) if one.scored}
    if len(curve) < 2:
        raise Invalid(_("two models are needed to compare; there are not so many yet"))
    before, after = _point(curve, a or curve[-2].checkpoint_id), _point(curve, b or curve[-1].checkpoint_id)
    context = {
        "user": user,
        "project": project,
        "classes": classes,
        "points": curve[::-1],
        "a": before,
        "b": after,
        "found": side_by_side(before, after, classes, _tested(parts, project, before, after, scored)),
    }
    return parts.templates.TemplateResponse(request, "compare.html", context)


@router.post("/projects/{project_id}/models/{checkpoint_id}/promote")
def promote(
    request: Request,
    project_id: ProjectPath,
    checkpoint_id: CheckpointPath,
    parts: PartsOf,
    user: Manages,
    confirmed: Annotated[bool, Form()] = False,
) -> Response:
    """Put the model to use; asked first what that means."""
    if not confirmed:
        return _ask(request, parts, ProjectId(project_id), checkpoint_id, user, "promote")
    with parts.system.ledger.transaction() as tx:
        project = projects.lock(tx, ProjectId(project_id))
        model = rounds.promote(tx, project.id, CheckpointId(checkpoint_id))
        events.record(tx, project.id, f"user:{user.id}", "model.promoted", {"checkpoint": model.id})
        emit(tx, project.id, EventType.MODEL_PROMOTED, {"checkpoint_id": model.id})
    return RedirectResponse(f"/projects/{project_id}/models/{checkpoint_id}", 303)


@router.post("/projects/{project_id}/models/{checkpoint_id}/rollback")
def roll_back(
    request: Request,
    project_id: ProjectPath,
    checkpoint_id: CheckpointPath,
    parts: PartsOf,
    user: Manages,
    confirmed: Annotated[bool, Form()] = False,
) -> Response:
    """Take the promotion of this model back, if it is the one in use. Raises ``Conflict`` if it isn't any more."""
    if not confirmed:
        return _ask(request, parts, ProjectId(project_id), checkpoint_id, user, "rollback")
    with parts.system.ledger.transaction() as tx:
        project = projects.lock(tx, ProjectId(project_id))
        _in_use(tx, project, checkpoint_id)
        before, now = rounds.roll_back(tx, project.id)
        data = {"from": before.id, "to": None if now is None else now.id}
        events.record(tx, project.id, f"user:{user.id}", "model.rolled_back", data)
    return RedirectResponse(f"/projects/{project_id}/models/{checkpoint_id}", 303)


@router.get("/projects/{project_id}/models/{checkpoint_id}/files/{name}")
def download(
    project_id: ProjectPath, checkpoint_id: CheckpointPath, name: FileName, parts: PartsOf, user: Exports
) -> Response:
    """The weights as safetensors, or what they mean as JSON. 404 once retention has given them up."""
    with parts.system.database.transaction() as tx:
        model = rounds.usable_checkpoint(tx, CheckpointId(checkpoint_id), to_score=False)
        if model.project_id != project_id:
            raise NotFound(f"project {project_id} has no model {checkpoint_id}")
        events.record(tx, model.project_id, f"user:{user.id}", "model.downloaded", {"checkpoint": model.id})

    def chunks() -> Any:
        with parts.system.store.open(model.key + name) as opened:
            yield from opened

    rest = chunks()
    body = chain((next(rest, b""),), rest)  # what isn't there is told before the answer has begun
    media = "application/json" if name.endswith(".json") else "application/octet-stream"
    headers = {"Content-Disposition": f'attachment; filename="project-{project_id}-{checkpoint_id}-{name}"'}
    return StreamingResponse(body, media_type=media, headers=headers)


def _point(curve: list[CurvePoint], checkpoint_id: int) -> CurvePoint:
    for point in curve:
        if point.checkpoint_id == checkpoint_id:
            return point
    raise NotFound(f"this project has no model {checkpoint_id}")


def _size(parts: Parts, model: Model) -> int | None:
    """Bytes of its weights, which never change. None where they can't be found."""

    def listed() -> int | None:
        return next((one.size for one in parts.system.store.entries(model.key + "model.safetensors")), None)

    size: int | None = parts.figures.get(("size", model.id), listed)
    return size


def _tested(
    parts: Parts, project: Project, before: CurvePoint, after: CurvePoint, scored: set[CheckpointId]
) -> Paired | None:
    if not {before.checkpoint_id, after.checkpoint_id} <= scored:
        return None
    with parts.system.database.transaction() as tx:
        measured = insight.holdout(tx, project.id)
    said: list[Said] = [
        opinions(parts.system.store, project.id, one.checkpoint_id, measured) for one in (before, after)
    ]
    return test_of(measured, *said)


def _in_use(tx: Tx, project: Project, checkpoint_id: int) -> None:
    used = rounds.promoted(tx, project.id)
    if used is None or used.id != checkpoint_id:
        raise Conflict(_("this model is not in use any more: somebody else has chosen another"))


def _ask(
    request: Request, parts: Parts, project_id: ProjectId, checkpoint_id: int, user: User, action: str
) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, project_id)
        curve = rounds.curve(tx, project_id)
        used = rounds.serving(tx, project_id)
        if action == "rollback":
            _in_use(tx, project, checkpoint_id)
    chosen = sorted((one for one in curve if one.promoted_at is not None), key=lambda one: str(one.promoted_at))
    context = {
        "user": user,
        "project": project,
        "point": _point(curve, checkpoint_id),
        "used": used,
        "then": chosen[-2] if len(chosen) > 1 else None,
        "action": action,
    }
    return parts.templates.TemplateResponse(request, "model_confirm.html", context)
