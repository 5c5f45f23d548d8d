"""What a vendor does in a batch: take tasks, hold on to them, answer them in bulk, give them back.

One call hands out many tasks under one token, which stands for the fence of each task's lease. An answer brings the
token; the same answer sent again is recorded once, so a vendor that lost a reply sends the whole request anew.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from shared import batches, overlap
from shared.db import batches as rows
from shared.db import events, projects, tasks
from shared.db.batches import Handed
from shared.db.pool import Tx
from shared.db.tasks import Lease
from shared.domain import AnnotationId, Batch, BatchId, BatchState, ClassId, Task, TaskId, UserId
from shared.errors import Conflict, Invalid, NotFound, StaleFence, WinnowError
from shared.jobs import Ledger
from shared.labelling import Given, Labelling, Submitted
from shared.metrics import TASKS_ANSWERED, TASKS_LEASED

MOST_ANSWERS = 1000
"""Of one request."""
MOST_TASKS = 1000
"""That one call may lease."""
_TOKEN_BYTES = 18
_HANDS_OUT = (BatchState.OPEN, BatchState.IN_PROGRESS)


@dataclass(frozen=True, kw_only=True)
class Leased:
    """``token`` None: there was nothing to hand out, and ``batch`` may say why."""

    batch: Batch
    token: str | None
    tasks: Sequence[Task]
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Answer:
    """``class_name`` None: nobody could tell, for ``reason``; the task ends without a label."""

    task_id: TaskId
    token: str
    class_name: str | None
    reason: str = ""
    external_id: str | None = None
    duration_ms: int | None = None


class Status(StrEnum):
    """What became of an answer. Only the first three are on record."""

    ACCEPTED = "accepted"
    PASSED_ON = "passed_on"
    REPLAYED = "replayed"
    """Sent before, and on record since."""
    STALE_LEASE = "stale_lease"
    """The lease ran out, or was revoked, and the task is somebody else's or nobody's: lease tasks anew."""
    UNKNOWN_LEASE = "unknown_lease"
    UNKNOWN_TASK = "unknown_task"
    """The lease is not for this task."""
    UNKNOWN_CLASS = "unknown_class"
    CONFLICT = "conflict"
    """The task was answered before under this lease, and otherwise."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    status: Status
    annotation_id: AnnotationId | None = None
    detail: str | None = None


class Vendors:
    """Thread-safe."""

    def __init__(self, ledger: Ledger, labelling: Labelling) -> None:
        self._ledger = ledger
        self._labelling = labelling

    def lease(self, batch_id: BatchId, *, count: int, ttl_s: float, annotator: str | None, actor: str) -> Leased:
        """Up to ``count`` tasks that nobody holds, for ``ttl_s`` seconds, to one of the vendor's people or itself.

        Raises ``Invalid`` without an ``annotator`` where each image is asked of several.
        """
        with self._ledger.transaction() as tx:
            batch = rows.get(tx, batch_id)
            if batch.overlap > 1 and annotator is None:
                raise Invalid(f"each image is asked of {batch.overlap} people here: say who by 'annotator'")
            holder = batch.vendor_id if annotator is None else rows.annotator(tx, batch.vendor_id, annotator)
            found = rows.lease(tx, batch, holder, count=count, ttl_s=ttl_s) if batch.state in _HANDS_OUT else []
            token = secrets.token_urlsafe(_TOKEN_BYTES) if found else None
            if token is not None:
                rows.add_lease(tx, batch_id, holder, token, found)
                if batch.state is BatchState.OPEN:
                    batches.begun(tx, batch_id, actor)
                    batch = rows.get(tx, batch_id)
        TASKS_LEASED.inc(len(found))
        until = min((task.lease_until for task in found if task.lease_until), default=None)
        return Leased(
            batch=batch, token=token, tasks=found, expires_at=until or datetime.now(UTC) + timedelta(seconds=ttl_s)
        )

    def renew(self, batch_id: BatchId, token: str, *, ttl_s: float) -> list[TaskId]:
        """Hold on for another ``ttl_s`` seconds; returns what is still held. Raises ``NotFound``."""
        with self._ledger.transaction() as tx:
            batch, handed = _handed(tx, batch_id, token)
            return tasks.renew(tx, batch.project_id, handed.holder, _leases(handed), lease_s=ttl_s)

    def release(self, batch_id: BatchId, token: str) -> list[TaskId]:
        """Give back what isn't answered; returns what that was. Raises ``NotFound``."""
        with self._ledger.transaction() as tx:
            _, handed = _handed(tx, batch_id, token)
            return tasks.release(tx, handed.holder, _leases(handed))

    def answer(self, batch_id: BatchId, answers: Sequence[Answer]) -> list[Outcome]:
        """Record answers, each for itself: what became of each, in order. Completes the batch with its last answer.

        Raises ``Invalid`` for more than ``MOST_ANSWERS``, ``Retryable`` if the database is lost on the way: sent
        again, those recorded are told.
        """
        if len(answers) > MOST_ANSWERS:
            raise Invalid(f"a request may bring {MOST_ANSWERS} annotations at most; send the others in another")
        with self._ledger.transaction() as tx:
            batch = rows.get(tx, batch_id)
            classes = {one.name: one.id for one in projects.classes(tx, batch.project_id)}
            handed = rows.leases(tx, batch_id, {answer.token for answer in answers})
        outcomes: dict[int, Outcome] = {}
        given: dict[UserId, list[tuple[int, Given]]] = defaultdict(list)
        for at, answer in enumerate(answers):
            refused = _refused(answer, handed, classes)
            if refused is not None:
                outcomes[at] = refused
            elif answer.class_name is None:
                outcomes[at] = self._pass_on(batch, answer, handed[answer.token])
            else:
                lease = handed[answer.token]
                given[lease.holder].append((at, _given(answer, lease, classes[answer.class_name])))
        for holder, items in given.items():
            done = self._labelling.submit_many(batch.project_id, holder, [item for _, item in items])
            outcomes.update({at: _outcome(end) for (at, _), end in zip(items, done, strict=True)})
        if any(one.status in (Status.ACCEPTED, Status.PASSED_ON) for one in outcomes.values()):
            with self._ledger.transaction() as tx:
                batches.settle(tx, batch_id)
        return [outcomes[at] for at in range(len(answers))]

    def _pass_on(self, batch: Batch, answer: Answer, handed: Handed) -> Outcome:
        """Nobody can tell: the task ends, and is shown to leads with the others of its kind."""
        place = (batch.id, handed.holder, answer.task_id, handed.fences[answer.task_id])
        with self._ledger.transaction() as tx:
            passed, question_id = rows.pass_on(tx, *place)
            if not passed:
                if rows.was_passed_on(tx, *place):
                    return Outcome(status=Status.REPLAYED)
                return Outcome(status=Status.STALE_LEASE, detail="the task is no longer held under this lease")
            tasks.note_cannot_tell(tx, answer.task_id, handed.holder, answer.reason[:200])
            if question_id is not None:
                overlap.settle(tx, question_id)
            data = {"task": answer.task_id, "reason": answer.reason[:200], "state": "skipped", "way": "cannot_tell"}
            events.record(tx, batch.project_id, f"user:{handed.holder}", "task.skipped", data)
        TASKS_ANSWERED.labels("skipped").inc()
        return Outcome(status=Status.PASSED_ON)


def _handed(tx: Tx, batch_id: BatchId, token: str) -> tuple[Batch, Handed]:
    batch = rows.get(tx, batch_id)
    handed = rows.leases(tx, batch_id, [token]).get(token)
    if handed is None:
        raise NotFound(f"batch {batch_id} has no such lease")
    return batch, handed


def _leases(handed: Handed) -> list[Lease]:
    return [Lease(task_id=task_id, fence=fence) for task_id, fence in handed.fences.items()]


def _refused(answer: Answer, handed: Mapping[str, Handed], classes: Mapping[str, ClassId]) -> Outcome | None:
    """Why an answer can't be recorded whatever has happened meanwhile; None if it may be."""
    lease = handed.get(answer.token)
    if lease is None:
        return Outcome(status=Status.UNKNOWN_LEASE, detail="this batch gave no such lease")
    if answer.task_id not in lease.fences:
        return Outcome(status=Status.UNKNOWN_TASK, detail=f"task {answer.task_id} is not part of this lease")
    if answer.class_name is not None and answer.class_name not in classes:
        return Outcome(status=Status.UNKNOWN_CLASS, detail=f"the project has no class '{answer.class_name}'")
    return None


def _given(answer: Answer, handed: Handed, class_id: ClassId) -> Given:
    return Given(
        lease=Lease(task_id=answer.task_id, fence=handed.fences[answer.task_id]),
        class_id=class_id,
        # A task is answered once under a lease, however often that is sent.
        key=f"{answer.token}:{answer.task_id}",
        duration_ms=answer.duration_ms,
        external_id=answer.external_id,
    )


def _outcome(done: Submitted | WinnowError) -> Outcome:
    if isinstance(done, Submitted):
        status = Status.REPLAYED if done.replayed else Status.ACCEPTED
        return Outcome(status=status, annotation_id=done.annotation.id)
    if isinstance(done, StaleFence | NotFound):
        return Outcome(status=Status.STALE_LEASE, detail=str(done))
    if isinstance(done, Conflict):
        return Outcome(status=Status.CONFLICT, detail="this task was answered before under this lease, and otherwise")
    raise done
