"""Batches for vendors, as those who order them see them: make, open, watch, pay, accept and reject."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Query, Response

from services.api.auth import AnyBatchManager, BatchManager
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
from services.api.schemas.batches import (
    Acceptance,
    AnnotationOut,
    AnnotationPage,
    BatchChange,
    BatchPage,
    CostOut,
    CountsOut,
    JudgementList,
    JudgementOut,
    ManagedBatch,
    NewBatch,
    Rejection,
    StatsOut,
    VendorList,
    VendorOut,
    WorkOut,
)
from shared import batches
from shared.costs import cost
from shared.db import batches as rows
from shared.db import projects, users
from shared.db.pool import Tx
from shared.domain import AnnotationId, Batch, BatchId, ProjectId, UserId
from shared.errors import Invalid, NotFound
from shared.verdicts import Verdict, judge
from shared.web import Problem

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["batches"])
vendors_router = APIRouter(prefix="/v1/vendors", tags=["batches"])
BatchPath = Annotated[int, Path(ge=1, le=BIGGEST_ID, description="The batch's id.", examples=[7])]
IfMatch = Annotated[str | None, Header(description="The `ETag` of what is to be changed: 412 if it has changed since.")]
VerdictQuery = Annotated[
    Literal["accepted", "rejected", "undecided"] | None, Query(description="Only those with this verdict.")
]


@vendors_router.get("", summary="List vendors", responses=errors())
def list_vendors(caller: AnyBatchManager, system: SystemPart) -> VendorList:
    """Who can be given batches. A vendor comes with its first key: `winnow keys create --vendor NAME`."""
    with system.database.transaction() as tx:
        return VendorList(items=[VendorOut(id=one, name=name) for one, name in users.vendors(tx).items()])


@router.post("/batches", status_code=201, summary="Make a batch", responses=errors(404, 409))
def create_batch(
    project_id: ProjectPath, body: NewBatch, response: Response, caller: BatchManager, system: SystemPart
) -> ManagedBatch:
    """A draft, which its vendor doesn't see until it is opened. Names are unique within the project (409)."""
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        vendor = _vendor(users.vendors(tx), body.vendor)
        batch = batches.create(tx, project.id, vendor, body.terms(), caller.actor)
        made = _whole(tx, batch)
    response.headers["Location"] = f"/v1/projects/{project_id}/batches/{batch.id}"
    response.headers["ETag"] = batch.etag
    return made


@router.get("/batches", summary="List batches", responses=errors(404))
def list_batches(
    project_id: ProjectPath,
    caller: BatchManager,
    system: SystemPart,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> BatchPage:
    """In order of id."""
    after = decode_cursor(cursor) or 0
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        found = rows.page(tx, project_id=project.id, after=after, limit=limit + 1)
        names = users.names(tx, {one.vendor_id for one in found})
    now = datetime.now(UTC)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    items = [ManagedBatch.whole(one, names[one.vendor_id], now) for one in found[:limit]]
    return BatchPage(items=items, next_cursor=more)


@router.get("/batches/{batch_id:int}", summary="Look at a batch", responses=errors(404))
def get_batch(
    project_id: ProjectPath, batch_id: BatchPath, response: Response, caller: BatchManager, system: SystemPart
) -> ManagedBatch:
    """With its counts, and in `ETag` its version, for changes that nobody else's are to be lost by."""
    with system.database.transaction() as tx:
        batch = _of_project(tx, project_id, batch_id)
        response.headers["ETag"] = batch.etag
        return _whole(tx, batch)


@router.patch("/batches/{batch_id:int}", summary="Change a batch's terms", responses=errors(404, 409, 412))
def change_batch(
    project_id: ProjectPath,
    batch_id: BatchPath,
    body: BatchChange,
    response: Response,
    caller: BatchManager,
    system: SystemPart,
    if_match: IfMatch = None,
) -> ManagedBatch:
    """`size`, `fill` and `overlap` can change only while it is a draft; none once it is cancelled (409)."""
    with system.database.transaction() as tx:
        _of_project(tx, project_id, batch_id)
        batch = rows.lock(tx, BatchId(batch_id))
        _refuse_unless_matching(if_match, batch)
        changed = batches.change(tx, batch, body.changed(batches.terms_of(batch)), caller.actor)
        response.headers["ETag"] = changed.etag
        return _whole(tx, changed)


@router.post("/batches/{batch_id}:open", summary="Open a batch", responses=errors(404, 409))
def open_batch(
    project_id: ProjectPath, batch_id: BatchPath, response: Response, caller: BatchManager, system: SystemPart
) -> ManagedBatch:
    """Lets the vendor begin. 202 where a strategy of the batch's own is still to choose: `Location` says how that goes.

    409 if it was opened before, if the project was never started, if nothing is left to ask, and for a strategy that
    needs a model where there is none.
    """
    with system.ledger.transaction() as tx:
        _of_project(tx, project_id, batch_id)
        batch = batches.open_(tx, system.ledger, BatchId(batch_id), caller.actor)
        opened = _whole(tx, batch)
    if batch.fill_job is not None:
        _accept(response, f"fill-{batch.id}")
    return opened


@router.post("/batches/{batch_id}:pause", summary="Pause a batch", responses=errors(404, 409))
def pause_batch(project_id: ProjectPath, batch_id: BatchPath, caller: BatchManager, system: SystemPart) -> ManagedBatch:
    """Hands out nothing more. Answers to tasks that are held are still taken."""
    with system.database.transaction() as tx:
        _of_project(tx, project_id, batch_id)
        return _whole(tx, batches.pause(tx, BatchId(batch_id), caller.actor))


@router.post("/batches/{batch_id}:resume", summary="Go on with a batch", responses=errors(404, 409))
def resume_batch(
    project_id: ProjectPath, batch_id: BatchPath, caller: BatchManager, system: SystemPart
) -> ManagedBatch:
    """After a pause."""
    with system.database.transaction() as tx:
        _of_project(tx, project_id, batch_id)
        return _whole(tx, batches.resume(tx, BatchId(batch_id), caller.actor))


@router.post("/batches/{batch_id}:cancel", status_code=202, summary="Cancel a batch", responses=errors(404, 409))
def cancel_batch(
    project_id: ProjectPath, batch_id: BatchPath, response: Response, caller: BatchManager, system: SystemPart
) -> ManagedBatch:
    """What is answered stays; what isn't is taken away from whoever holds it. `Location` says how that goes, and in the
    end how many tasks were `answered`, `revoked` from somebody and `dropped` before anybody had them."""
    with system.database.transaction() as tx:
        _of_project(tx, project_id, batch_id)
        batch = batches.cancel(tx, BatchId(batch_id), caller.actor)
        _accept(response, f"cancel-{batch.id}")
        return _whole(tx, batch)


@router.get("/batches/{batch_id}/stats", summary="How far a batch is", responses=errors(404))
def get_batch_stats(project_id: ProjectPath, batch_id: BatchPath, caller: BatchManager, system: SystemPart) -> StatsOut:
    """Counts, and what each of the vendor's people did."""
    with system.database.transaction() as tx:
        batch = _of_project(tx, project_id, batch_id)
        counts, work = rows.counts(tx, batch.id), rows.work(tx, batch.id)
    return StatsOut(
        state=batch.state,
        size=batch.size,
        share=min(counts.ended / (batch.size * batch.overlap), 1.0),
        counts=CountsOut.of(counts),
        annotators=[WorkOut.whole(one) for one in work],
    )


@router.get("/batches/{batch_id}/cost", summary="What a batch costs", responses=errors(404))
def get_batch_cost(project_id: ProjectPath, batch_id: BatchPath, caller: BatchManager, system: SystemPart) -> CostOut:
    """So far, as a whole, and until the project's target accuracy is met, by the forecast of its newest round."""
    with system.database.transaction() as tx:
        batch = _of_project(tx, project_id, batch_id)
        return CostOut.of_batch(batch, cost(tx, batch))


@router.get("/batches/{batch_id}/annotations", summary="A batch's answers", responses=errors(404))
def list_batch_annotations(
    project_id: ProjectPath,
    batch_id: BatchPath,
    caller: BatchManager,
    system: SystemPart,
    verdict: VerdictQuery = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> AnnotationPage:
    """The newest first; those that were rejected too."""
    with system.database.transaction() as tx:
        batch = _of_project(tx, project_id, batch_id)
        return annotation_page(tx, batch, verdict, cursor, limit)


@router.post("/batches/{batch_id}/annotations:accept", summary="Accept answers", responses=errors(404))
def accept_annotations(
    project_id: ProjectPath, batch_id: BatchPath, body: Acceptance, caller: BatchManager, system: SystemPart
) -> JudgementList:
    """Each for itself. One that was accepted may still be rejected."""
    return _judge(system, project_id, batch_id, body.annotation_ids, Verdict.ACCEPTED, "", caller.actor)


@router.post("/batches/{batch_id}/annotations:reject", summary="Reject answers", responses=errors(404))
def reject_annotations(
    project_id: ProjectPath, batch_id: BatchPath, body: Rejection, caller: BatchManager, system: SystemPart
) -> JudgementList:
    """Each for itself: the answer no longer stands, its label goes, and its image is asked again before all others."""
    return _judge(system, project_id, batch_id, body.annotation_ids, Verdict.REJECTED, body.reason, caller.actor)


def annotation_page(tx: Tx, batch: Batch, verdict: str | None, cursor: str | None, limit: int) -> AnnotationPage:
    """The newest first."""
    before = decode_cursor(cursor)
    place = {} if before is None else {"before": before}
    found = rows.list_annotations(tx, batch.id, verdict=verdict, limit=limit + 1, **place)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return AnnotationPage(items=[AnnotationOut.whole(one) for one in found[:limit]], next_cursor=more)


def _judge(
    system: SystemPart, project_id: int, batch_id: int, given: list[int], verdict: Verdict, reason: str, actor: str
) -> JudgementList:
    ids = [AnnotationId(one) for one in given]
    with system.database.transaction() as tx:
        batch = _of_project(tx, project_id, batch_id)
        ends = judge(tx, batch.id, ids, verdict, reason, actor)
    return JudgementList(
        results=[JudgementOut(annotation_id=one, status=end) for one, end in zip(ids, ends, strict=True)]
    )


def _of_project(tx: Tx, project_id: int, batch_id: int) -> Batch:
    """Raises ``NotFound``, also for a batch of another project."""
    project = projects.get(tx, ProjectId(project_id))
    batch = rows.get(tx, BatchId(batch_id))
    if batch.project_id != project.id:
        raise NotFound(f"project {project_id} has no batch {batch_id}")
    return batch


def _whole(tx: Tx, batch: Batch) -> ManagedBatch:
    name = users.names(tx, [batch.vendor_id])[batch.vendor_id]
    return ManagedBatch.whole(batch, name, datetime.now(UTC), rows.counts(tx, batch.id))


def _vendor(known: dict[UserId, str], name: str) -> UserId:
    for one, called in known.items():
        if called == name:
            return one
    raise Invalid(f"there is no vendor '{name}': a vendor comes with its first key (winnow keys create --vendor)")


def _refuse_unless_matching(if_match: str | None, batch: Batch) -> None:
    """Raises a 412 for a version that is not the present one."""
    if if_match is None or if_match.strip() == "*" or batch.etag in [tag.strip() for tag in if_match.split(",")]:
        return
    raise Problem(
        status=412,
        kind="precondition-failed",
        title="Changed meanwhile",
        detail=f"the batch has changed since: its version is {batch.etag} now; look at it again, then change it",
        headers={"ETag": batch.etag},
    )


def _accept(response: Response, operation: str) -> None:
    """It goes on after this answer."""
    response.status_code = 202
    response.headers["Location"] = f"/v1/operations/{operation}"
    response.headers["Retry-After"] = "1"
