"""What managers make of a vendor's answers: accepted, or rejected with a reason.

What is rejected no longer stands: its label goes, and its image is asked again in the same batch, or by the project
itself where the batch was cancelled. That can't be taken back; an acceptance can, by rejecting later.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from shared import batches, overlap
from shared.db import batches as rows
from shared.db import events, projects, questions, tasks
from shared.db.batches import Judged
from shared.db.pool import Tx
from shared.domain import AnnotationId, Batch, BatchId, BatchState, NewTask, TaskKind
from shared.errors import Invalid
from shared.webhooks import EventType, emit_each

MOST = 1000
"""Annotations that one call may judge."""
_FIRST = -1.0
"""Priority of what is asked again: before all else."""
ASKED_AGAIN = "asked_again"


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"


_TOLD = {Verdict.ACCEPTED: EventType.ANNOTATION_ACCEPTED, Verdict.REJECTED: EventType.ANNOTATION_REJECTED}


class Outcome(StrEnum):
    """``replayed``: the same verdict was given before. ``not_standing``: the answer was rejected or withdrawn before.
    ``unknown``: the batch has no such annotation."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REPLAYED = "replayed"
    NOT_STANDING = "not_standing"
    UNKNOWN = "unknown"


def judge(
    tx: Tx, batch_id: BatchId, ids: Sequence[AnnotationId], verdict: Verdict, reason: str, actor: str
) -> list[Outcome]:
    """Give a verdict on each; what became of it, in order. Raises ``Invalid`` for more than ``MOST``, or for a
    rejection without a reason."""
    if len(ids) > MOST:
        raise Invalid(f"{MOST} annotations may be judged at once")
    if verdict is Verdict.REJECTED and not reason.strip():
        raise Invalid("say why: whoever labels next reads the reason")
    project_id = rows.get(tx, batch_id).project_id
    projects.lock(tx, project_id)
    batch = rows.lock(tx, batch_id)
    known = rows.judged(tx, batch_id, ids)
    outcomes = [_outcome(known.get(one), verdict) for one in ids]
    fresh = list(dict.fromkeys(i for i, o in zip(ids, outcomes, strict=True) if o.value == verdict.value))
    if fresh:
        rows.put_verdicts(tx, batch_id, fresh, verdict.value, reason, actor)
        data = {"batch": batch_id, "annotations": len(fresh), "annotation_ids": fresh}
        said = {"reason": reason[:200]} if reason else {}
        events.record(tx, project_id, actor, f"annotation.{verdict.value}", {**data, **said})
        emit_each(tx, project_id, _TOLD[verdict], [_told(batch, known[one], reason) for one in fresh])
        if verdict is Verdict.REJECTED:
            _ask_again(tx, batch, [known[one] for one in fresh], actor)
    return outcomes


def _told(batch: Batch, judged: Judged, reason: str) -> dict[str, Any]:
    return {
        "batch_id": batch.id,
        "annotation_id": judged.id,
        "task_id": judged.task_id,
        "image_id": judged.image_id,
        "external_id": judged.external_id,
        "reason": reason or None,
    }


def _outcome(found: Judged | None, verdict: Verdict) -> Outcome:
    if found is None:
        return Outcome.UNKNOWN
    if found.verdict == verdict.value:
        return Outcome.REPLAYED
    return Outcome(verdict.value) if found.standing else Outcome.NOT_STANDING


def _ask_again(tx: Tx, batch: Batch, rejected: Sequence[Judged], actor: str) -> None:
    """An image of one person's is asked anew, before all others; of several people's, one more of them is. One whose
    answer is known is asked as its neighbours are, one after another, so that none can be told from the others."""
    rows.withdraw(tx, [one.id for one in rejected])
    cancelled = batch.state in (BatchState.CANCELLING, BatchState.CANCELLED)
    for one in rejected:
        if one.question_id is not None:
            if questions.takes_answers(tx, one.question_id):
                questions.ask_one_more(tx, one.question_id)
            overlap.settle(tx, one.question_id)
        elif not (one.gold and cancelled):  # the vendor sees nothing of it any more
            tasks.add(tx, batch.project_id, None, [_anew(batch, one)], batch_id=None if cancelled else batch.id)
    if batch.state is BatchState.COMPLETED and rows.any_live(tx, batch.id):
        batches.move(tx, batch, BatchState.IN_PROGRESS, actor)


def _anew(batch: Batch, one: Judged) -> NewTask:
    kind, alone = TaskKind.GOLD if one.gold else TaskKind.QUERY, batch.overlap == 1
    return NewTask(image_id=one.image_id, kind=kind, priority=_FIRST if alone else one.priority, strategy=ASKED_AGAIN)
