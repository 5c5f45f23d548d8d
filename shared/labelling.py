"""What annotators do: take tasks, answer, skip, take an answer back.

Used by every door through which people label. An answer carries the fence of the lease under which it was given and
an idempotency key of its own: sent twice it is recorded once, and given under a lost lease it is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from shared.db import events, labels, projects, tasks
from shared.db.pool import Tx
from shared.db.tasks import Lease
from shared.domain import Annotation, AnnotationId, ClassId, ProjectId, Task, TaskId, TaskKind, UserId
from shared.errors import Conflict, Invalid, Retryable, StaleFence
from shared.jobs import Ledger
from shared.metrics import TASK_ANSWER_SECONDS, TASK_HELD_SECONDS, TASKS_ANSWERED, TASKS_LEASED
from shared.rounds import Rounds
from shared.telemetry import logger

log = logger(__name__)
UNDO_DEPTH = 10
"""How many of their newest answers annotators may take back."""
_NUDGE_EVERY_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """``replayed``: the same answer had been recorded before, and nothing changed now."""

    annotation: Annotation
    replayed: bool


class Labelling:
    """Thread-safe."""

    def __init__(self, ledger: Ledger, rounds: Rounds) -> None:
        self._ledger = ledger
        self._rounds = rounds
        self._nudged: dict[ProjectId, float] = {}
        self._nudging = threading.Lock()

    def lease(self, project_id: ProjectId, user_id: UserId, *, count: int) -> list[Task]:
        """Up to ``count`` tasks: those this annotator already holds first, then the next ones, in order asked."""
        with self._ledger.transaction() as tx:
            settings = projects.get(tx, project_id).settings
            leased = tasks.lease(tx, project_id, user_id, count=count, lease_s=settings.lease_seconds)
        TASKS_LEASED.inc(len(leased))
        return leased

    def renew(self, project_id: ProjectId, user_id: UserId, leases: Sequence[Lease]) -> list[TaskId]:
        """Hold on to tasks for another lease; returns those still held."""
        with self._ledger.transaction() as tx:
            settings = projects.get(tx, project_id).settings
            return tasks.renew(tx, project_id, user_id, leases, lease_s=settings.lease_seconds)

    def release(self, user_id: UserId, leases: Sequence[Lease]) -> list[TaskId]:
        """Give tasks back to the queue; returns those that were held."""
        with self._ledger.transaction() as tx:
            return tasks.release(tx, user_id, leases)

    def submit(
        self,
        project_id: ProjectId,
        user_id: UserId,
        lease: Lease,
        class_id: ClassId,
        *,
        key: str,
        duration_ms: int | None = None,
    ) -> Submitted:
        """Answer a task.

        Raises ``StaleFence`` if the lease was lost, ``Conflict`` if ``key`` was used for another answer, ``Invalid``
        for a class of another project, ``NotFound`` for a task of another project. In none of these is anything
        recorded.
        """
        with self._ledger.transaction() as tx:
            if not projects.has_class(tx, project_id, class_id):
                raise Invalid(f"class {class_id} is not one of this project's")
            task = tasks.finish(tx, project_id, user_id, lease)
            if task is None:
                before = _replay(tx, project_id, user_id, lease, class_id, key)
                TASKS_ANSWERED.labels("replayed").inc()
                return Submitted(annotation=before, replayed=True)
            annotation = tasks.add_annotation(tx, task, user_id, class_id, key=key, duration_ms=duration_ms)
            labels.put_human(tx, annotation)
        _measure(task, annotation)
        self._follow_up(project_id, task)
        return Submitted(annotation=annotation, replayed=False)

    def skip(self, project_id: ProjectId, user_id: UserId, lease: Lease, reason: str = "") -> Task:
        """Pass on a task: it goes to the end of the queue. Raises ``StaleFence`` if the lease was lost."""
        with self._ledger.transaction() as tx:
            task = tasks.skip(tx, project_id, user_id, lease)
            if task is None:
                raise _lost(tx, project_id, lease)
            data = {"task": task.id, "reason": reason[:200], "state": task.state.value}
            events.record(tx, project_id, f"user:{user_id}", "task.skipped", data)
        TASKS_ANSWERED.labels("skipped").inc()
        self._nudge(project_id)
        return task

    def undo(self, project_id: ProjectId, user_id: UserId, annotation_id: AnnotationId | None = None) -> Task:
        """Take an answer back, the newest if none is named: its label goes and its task is held again.

        Raises ``Conflict`` if it isn't among this annotator's newest ``UNDO_DEPTH`` standing answers, or if the image
        is being asked again already.
        """
        with self._ledger.transaction() as tx:
            recent = tasks.last_annotations(tx, project_id, user_id, UNDO_DEPTH)
            chosen = next((a for a in recent if annotation_id in (None, a.id)), None)
            if chosen is None:
                raise Conflict(f"only your last {UNDO_DEPTH} answers can be taken back")
            if tasks.undo_annotation(tx, project_id, user_id, chosen.id) is None:
                raise Conflict("this answer was taken back already")
            labels.withdraw(tx, chosen.id)
            lease_s = projects.get(tx, project_id).settings.lease_seconds
            task = tasks.take_back(tx, user_id, chosen.task_id, lease_s=lease_s)
            if task is None:
                raise Conflict("this answer can't be taken back any more")
            data = {"task": task.id, "annotation": chosen.id}
            events.record(tx, project_id, f"user:{user_id}", "annotation.undone", data)
        return task

    def _follow_up(self, project_id: ProjectId, task: Task) -> None:
        """What an answer sets off. The answer itself is committed: if this fails, the next scoring does it."""
        if task.kind is TaskKind.AUDIT:
            try:
                self._rounds.audited(project_id)
            except (Retryable, Conflict) as error:
                log.warning("autolabel.judge_failed", project_id=project_id, error=str(error))
        self._nudge(project_id)

    def _nudge(self, project_id: ProjectId) -> None:
        """Let the round move on if this answer made it due; at most a few times a second per project.

        Never fails the answer, which is committed: the sweeper moves the round on if this can't.
        """
        now = time.monotonic()
        with self._nudging:
            if now - self._nudged.get(project_id, -1e9) < _NUDGE_EVERY_S:
                return
            self._nudged[project_id] = now
        try:
            self._rounds.nudge(project_id)
        except (Retryable, Conflict) as error:
            log.warning("round.nudge_failed", project_id=project_id, error=str(error))


def _measure(task: Task, annotation: Annotation) -> None:
    TASKS_ANSWERED.labels("recorded").inc()
    if task.leased_at is not None:  # None: leased by an older version
        TASK_HELD_SECONDS.observe(max((annotation.created_at - task.leased_at).total_seconds(), 0.0))
    if annotation.duration_ms is not None:
        TASK_ANSWER_SECONDS.observe(annotation.duration_ms / 1000)


def _replay(tx: Tx, project_id: ProjectId, user_id: UserId, lease: Lease, class_id: ClassId, key: str) -> Annotation:
    """The annotation that this very answer made before. Raises if there is none."""
    before = tasks.annotation_by_key(tx, user_id, key)
    if before is None:
        raise _lost(tx, project_id, lease)
    if (before.task_id, before.class_id) != (lease.task_id, class_id):
        raise Conflict("this idempotency key was used for another answer")
    return before


def _lost(tx: Tx, project_id: ProjectId, lease: Lease) -> StaleFence:
    task = tasks.get(tx, project_id, lease.task_id)
    return StaleFence(f"task {task.id} is {task.state.value} and no longer held under this lease")
