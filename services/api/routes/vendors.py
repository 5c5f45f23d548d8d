"""Batches as the vendor that works on them sees them: lease tasks, fetch images, answer in bulk."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response, StreamingResponse

from services.api.auth import AnyWorker, Caller
from services.api.parts import CursorQuery, ImagePath, LimitQuery, SystemPart, decode_cursor, encode_cursor, streamed
from services.api.problems import errors
from services.api.routes.batches import BatchPath, VerdictQuery, annotation_page
from services.api.schemas.batches import (
    AnnotationPage,
    AnswerIn,
    AnswerOut,
    AnswersIn,
    AnswersOut,
    HeartbeatIn,
    HeldOut,
    LeaseIn,
    LeaseOut,
    TaskOut,
    VendorBatch,
    VendorBatchPage,
    VendorBatchSummary,
)
from shared import batches
from shared.db import batches as rows
from shared.db import guidelines, images, projects
from shared.db.pool import Tx
from shared.domain import Batch, BatchId, BatchState, Image, ImageId, ProjectState, TaskId
from shared.errors import NotFound
from shared.intake.ingest import CONTENT_TYPES
from shared.store.base import Store, image_key, view_key
from shared.vendors import Answer, Leased, Status

router = APIRouter(prefix="/v1/batches", tags=["vendors"])
TokenPath = Annotated[str, Path(min_length=1, max_length=100, description="The token that the lease came with.")]
ASK_AGAIN_S = 5
SHORTEST_LINK_S = 60
_RECORDED = (Status.ACCEPTED, Status.PASSED_ON, Status.REPLAYED)


@router.get("", summary="List your batches", responses=errors())
def list_vendor_batches(
    caller: AnyWorker, system: SystemPart, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> VendorBatchPage:
    """In order of id."""
    after = decode_cursor(cursor) or 0
    with system.database.transaction() as tx:
        limited = caller.key.project_id
        found = rows.page(tx, vendor_id=caller.user_id, project_id=limited, after=after, limit=limit + 1)
    now = datetime.now(UTC)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return VendorBatchPage(items=[VendorBatchSummary.short(one, now) for one in found[:limit]], next_cursor=more)


@router.get("/{batch_id:int}", summary="Look at a batch of yours", responses=errors(404))
def get_vendor_batch(batch_id: BatchPath, caller: AnyWorker, system: SystemPart) -> VendorBatch:
    """What is asked, the answers to choose from, what annotators are told, and how far it is."""
    with system.database.transaction() as tx:
        batch = _mine(tx, caller, batch_id)
        told = guidelines.get(tx, batch.project_id)
        described = {one.class_id: one.description for one in told.classes}
        return VendorBatch.whole(
            batch,
            datetime.now(UTC),
            question=projects.get(tx, batch.project_id).name,
            guidelines=told.text,
            classes={one.name: described.get(one.id, "") for one in projects.classes(tx, batch.project_id)},
            counts=rows.counts(tx, batch.id),
        )


@router.post("/{batch_id}/leases", summary="Take tasks", responses=errors(404))
def lease_batch_tasks(
    batch_id: BatchPath, body: LeaseIn, request: Request, caller: AnyWorker, system: SystemPart
) -> LeaseOut:
    """Up to `count` tasks that nobody holds, for `ttl_s` seconds. After that others may get them; an answer that comes
    later still counts if nobody else took the task meanwhile."""
    with system.database.transaction() as tx:
        _mine(tx, caller, batch_id)
    leased = system.vendors.lease(
        BatchId(batch_id), count=body.count, ttl_s=body.ttl_s, annotator=body.annotator, actor=caller.actor
    )
    with system.database.transaction() as tx:
        classes = [one.name for one in projects.classes(tx, leased.batch.project_id)]
        shown = images.by_ids(tx, leased.batch.project_id, [task.image_id for task in leased.tasks])
        waiting = None if leased.tasks else _waiting(tx, leased.batch)
    direct = request.app.state.settings.image_endpoint is not None
    links = _Links(system.store, leased.batch, max(body.ttl_s, SHORTEST_LINK_S) if direct else None)
    return LeaseOut(
        lease=leased.token,
        expires_at=leased.expires_at if leased.token else None,
        state=leased.batch.state,
        waiting=waiting,
        retry_after_s=ASK_AGAIN_S if waiting not in (None, "ended") else None,
        classes=classes,
        tasks=_shown(leased, shown, links),
    )


@router.post("/{batch_id}/leases/{token}:heartbeat", summary="Hold on to tasks", responses=errors(404))
def renew_batch_lease(
    batch_id: BatchPath, token: TokenPath, body: HeartbeatIn, caller: AnyWorker, system: SystemPart
) -> HeldOut:
    """For another `ttl_s` seconds; answers with the tasks that are still held under this lease."""
    with system.database.transaction() as tx:
        _mine(tx, caller, batch_id)
    return HeldOut(task_ids=list(system.vendors.renew(BatchId(batch_id), token, ttl_s=body.ttl_s)))


@router.post("/{batch_id}/leases/{token}:release", summary="Give tasks back", responses=errors(404))
def release_batch_lease(batch_id: BatchPath, token: TokenPath, caller: AnyWorker, system: SystemPart) -> HeldOut:
    """Those of the lease that are not answered; answers with which these were."""
    with system.database.transaction() as tx:
        _mine(tx, caller, batch_id)
    return HeldOut(task_ids=list(system.vendors.release(BatchId(batch_id), token)))


@router.post("/{batch_id}/annotations", summary="Answer tasks", responses=errors(404))
def submit_batch_annotations(batch_id: BatchPath, body: AnswersIn, caller: AnyWorker, system: SystemPart) -> AnswersOut:
    """Up to 1,000, each for itself: one that is refused leaves the others. Sent again, what is on record is `replayed`,
    so after a lost reply send the whole request once more."""
    with system.database.transaction() as tx:
        _mine(tx, caller, batch_id)
    ends = system.vendors.answer(BatchId(batch_id), [_answer(one) for one in body.annotations])
    with system.database.transaction() as tx:
        state = rows.get(tx, BatchId(batch_id)).state
    return AnswersOut(
        results=[AnswerOut.whole(one, end) for one, end in zip(body.annotations, ends, strict=True)],
        recorded=sum(end.status in _RECORDED for end in ends),
        state=state,
    )


@router.get("/{batch_id}/annotations", summary="Your answers", responses=errors(404))
def list_vendor_annotations(
    batch_id: BatchPath,
    caller: AnyWorker,
    system: SystemPart,
    verdict: VerdictQuery = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> AnnotationPage:
    """The newest first, with what was made of each; of those that were rejected, why."""
    with system.database.transaction() as tx:
        return annotation_page(tx, _mine(tx, caller, batch_id), verdict, cursor, limit)


@router.get(
    "/{batch_id}/images/{image_id}",
    summary="An image's bytes",
    response_class=StreamingResponse,
    responses={200: {"content": {"image/*": {}}, "description": "The file."}, **errors(404)},
)
def get_batch_image(batch_id: BatchPath, image_id: ImagePath, caller: AnyWorker, system: SystemPart) -> Response:
    """Of an image that a task of this batch which was handed out is about; in a form that every browser shows."""
    with system.database.transaction() as tx:
        batch = _mine(tx, caller, batch_id)
        if not rows.shows_image(tx, batch.id, ImageId(image_id)):
            raise NotFound(f"no task that you were given in batch {batch_id} is about an image {image_id}")
        image = images.get(tx, batch.project_id, ImageId(image_id))
    key = _shown_key(system.store, image)
    first, chunks = streamed(system.store, key)
    headers = {"Cache-Control": "private, max-age=86400", "Content-Security-Policy": "default-src 'none'; sandbox"}
    return StreamingResponse(chunks, media_type=_media_type(image, key, first), headers=headers)


class _Links:
    """Where images are fetched: from the store under signed links good for ``link_s`` seconds; None: from here."""

    def __init__(self, store: Store, batch: Batch, link_s: int | None) -> None:
        self._store = store
        self._batch = batch
        self._link_s = link_s

    def of(self, image: Image) -> str:
        signed = None
        if self._link_s is not None:
            signed = self._store.presigned_get(_shown_key(self._store, image), self._link_s)
        return signed or f"/v1/batches/{self._batch.id}/images/{image.id}"


def _shown(leased: Leased, shown: dict[ImageId, Image], links: _Links) -> list[TaskOut]:
    return [
        TaskOut(
            task_id=task.id,
            image_id=task.image_id,
            filename=image.filename,
            width=image.width,
            height=image.height,
            image_url=links.of(image),
        )
        for task in leased.tasks
        if (image := shown[task.image_id])
    ]


def _shown_key(store: Store, image: Image) -> str:
    """The file itself where browsers can show it, else the rendition that its ingest left."""
    view = view_key(image.project_id, image.sha256)
    if image.browser_safe or not store.exists(view):
        return image_key(image.project_id, image.sha256)
    return view


def _media_type(image: Image, key: str, first: bytes) -> str:
    if key == image_key(image.project_id, image.sha256):
        return CONTENT_TYPES[image.format]
    return "image/png" if first.startswith(b"\x89PNG") else "image/jpeg"


def _mine(tx: Tx, caller: Caller, batch_id: int) -> Batch:
    """Raises ``NotFound``."""
    return caller.owns(rows.get(tx, BatchId(batch_id)))


def _waiting(tx: Tx, batch: Batch) -> Literal["ended", "paused", "all_leased", "not_for_you", "not_filled"]:
    if batch.state in batches.ENDED or batch.state is BatchState.CANCELLING:
        return "ended"
    if batch.state is BatchState.PAUSED:
        return "paused"
    now = rows.counts(tx, batch.id)
    if now.open:
        return "paused" if projects.get(tx, batch.project_id).state is ProjectState.PAUSED else "not_for_you"
    return "all_leased" if now.leased else "not_filled"


def _answer(given: AnswerIn) -> Answer:
    return Answer(
        task_id=TaskId(given.task_id),
        token=given.lease,
        class_name=given.class_,
        reason=given.reason,
        external_id=given.external_id,
        duration_ms=given.duration_ms,
    )
