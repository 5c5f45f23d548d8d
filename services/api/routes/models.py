"""Models: look at one, put one to use, compare two, take one along."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse

from services.api.auth import Manager, Reader
from services.api.parts import BIGGEST_ID, ProjectPath, SystemPart, streamed
from services.api.problems import errors, file_of
from services.api.schemas.models import ClassDifference, Comparison, InUseOut, ModelOut
from shared.comparing import compare
from shared.db import events, projects
from shared.db import rounds as rows
from shared.db.pool import Tx
from shared.db.rounds import CurvePoint
from shared.domain import CheckpointId, ProjectId
from shared.errors import NotFound
from shared.system import System
from shared.webhooks import EventType, emit

router = APIRouter(prefix="/v1/projects/{project_id}/checkpoints", tags=["models"])
CheckpointPath = Annotated[int, Path(ge=1, le=BIGGEST_ID, description="The checkpoint's id.", examples=[3])]
CheckpointQuery = Annotated[int, Query(ge=1, le=BIGGEST_ID)]


def _point(tx: Tx, project_id: int, checkpoint_id: int) -> CurvePoint:
    project = projects.get(tx, ProjectId(project_id))
    for point in rows.curve(tx, project.id):
        if point.checkpoint_id == checkpoint_id:
            return point
    raise NotFound(f"project {project_id} has no checkpoint {checkpoint_id}")


@router.post("/rollback", summary="Take the last promotion back", responses=errors(404, 409))
def roll_back(project_id: ProjectPath, caller: Manager, system: SystemPart) -> InUseOut:
    """The model promoted before it is in use again; where there was none, the newest one counts."""
    with system.ledger.transaction() as tx:
        project = projects.lock(tx, ProjectId(project_id))
        before, now = rows.roll_back(tx, project.id)
        data = {"from": before.id, "to": None if now is None else now.id}
        events.record(tx, project.id, caller.actor, "model.rolled_back", data)
    return InUseOut(checkpoint_id=data["to"])


@router.get("/compare", summary="Compare two models", responses=errors(404))
def compare_models(
    project_id: ProjectPath, caller: Reader, system: SystemPart, a: CheckpointQuery, b: CheckpointQuery
) -> Comparison:
    """What `b` gains over `a` on the holdout, and whether that is beyond chance."""
    with system.database.transaction() as tx:
        first, second = _point(tx, project_id, a), _point(tx, project_id, b)
        classes = projects.classes(tx, ProjectId(project_id))
    found = compare(first.metrics, second.metrics)
    return Comparison(
        a=a,
        b=b,
        accuracy=found.accuracy,
        low=found.low,
        high=found.high,
        verdict=found.verdict,
        macro_f1=found.macro_f1,
        nll=found.nll,
        ece=found.ece,
        classes=[
            ClassDifference(name=one.name, a=x, b=y, difference=None if x is None or y is None else y - x)
            for one, (x, y) in zip(classes, found.recalls, strict=False)
        ],
    )


# A number, so that a GET of /rollback is not taken for one of a model.
@router.get("/{checkpoint_id:int}", summary="Look at a model", responses=errors(404))
def get_model(project_id: ProjectPath, checkpoint_id: CheckpointPath, caller: Reader, system: SystemPart) -> ModelOut:
    """All that was measured of it, and how it was trained."""
    with system.database.transaction() as tx:
        point = _point(tx, project_id, checkpoint_id)
        used = rows.promoted(tx, ProjectId(project_id))
    return ModelOut(
        checkpoint_id=point.checkpoint_id,
        round=point.round_number,
        labels=point.labels,
        in_use=used is not None and used.id == point.checkpoint_id,
        promoted_at=point.promoted_at,
        metrics=dict(point.metrics),
    )


@router.post("/{checkpoint_id}/promote", summary="Put a model to use", responses=errors(404, 409))
def promote(project_id: ProjectPath, checkpoint_id: CheckpointPath, caller: Manager, system: SystemPart) -> InUseOut:
    """It is the one that is exported unless another is named, and its weights are kept for good."""
    with system.ledger.transaction() as tx:
        project = projects.lock(tx, ProjectId(project_id))
        model = rows.promote(tx, project.id, CheckpointId(checkpoint_id))
        events.record(tx, project.id, caller.actor, "model.promoted", {"checkpoint": model.id})
        emit(tx, project.id, EventType.MODEL_PROMOTED, {"checkpoint_id": model.id})
    return InUseOut(checkpoint_id=model.id)


@router.get(
    "/{checkpoint_id}/model.safetensors",
    summary="Download a model",
    response_class=StreamingResponse,
    responses=errors(404) | file_of("application/octet-stream"),
)
def download_model(
    project_id: ProjectPath, checkpoint_id: CheckpointPath, caller: Reader, system: SystemPart
) -> StreamingResponse:
    """Its weights as safetensors; `winnow models export` makes ONNX or TorchScript of it."""
    return _download(system, project_id, checkpoint_id, "model.safetensors", "application/octet-stream")


@router.get(
    "/{checkpoint_id}/checkpoint.json",
    summary="Download what a model's weights mean",
    response_class=StreamingResponse,
    responses=errors(404) | file_of("application/json"),
)
def download_record(
    project_id: ProjectPath, checkpoint_id: CheckpointPath, caller: Reader, system: SystemPart
) -> StreamingResponse:
    """Its network, its classes and its metrics, as JSON."""
    return _download(system, project_id, checkpoint_id, "checkpoint.json", "application/json")


def _download(system: System, project_id: int, checkpoint_id: int, name: str, media: str) -> StreamingResponse:
    with system.database.transaction() as tx:
        _point(tx, project_id, checkpoint_id)
        model = rows.checkpoint(tx, CheckpointId(checkpoint_id))
    _, body = streamed(system.store, model.key + name)
    disposition = {"Content-Disposition": f'attachment; filename="{checkpoint_id}-{name}"'}
    return StreamingResponse(body, media_type=media, headers=disposition)
