"""What annotators do: take tasks, answer, pass on, flag, look back, change an answer or take it back.

Used by every door through which people label. An answer carries the fence of the lease under which it was given and
an idempotency key of its own: sent twice it is recorded once, and given under a lost lease it is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from shared import overlap, trust
from shared.db import events, flags, labels, projects, questions, tasks
from shared.db.pool import Tx
from shared.db.tasks import Lease
from shared.domain import (
    Annotation,
    AnnotationId,
    ClassId,
    FlagId,
    ImageId,
    PassOn,
    ProjectId,
    Task,
    TaskId,
    TaskKind,
    TaskState,
    UserId,
)
from shared.errors import Conflict, Invalid, NotFound, Retryable, StaleFence, WinnowError
from shared.jobs import Ledger
from shared.metrics import TASK_ANSWER_SECONDS, TASK_HELD_SECONDS, TASKS_ANSWERED, TASKS_LEASED
from shared.rounds import Rounds
from shared.telemetry import logger
from shared.webhooks import EventType, emit

log = logger(__name__)
UNDO_DEPTH = 10
"""How many of their newest answers annotators may take back one by one."""
UNDO_TOGETHER = 300
"""How many answers back one may lie that is taken back with others, as they were given: a page of the grid."""
TOGETHER = 50
"""How many answers are committed at once. Each has a savepoint, and Postgres keeps 64 of a transaction at hand."""
_NUDGE_EVERY_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """``replayed``: the same answer had been recorded before, and nothing changed now."""

    annotation: Annotation
    replayed: bool


@dataclass(frozen=True, kw_only=True)
class Given:
    """One answer of many that are given together."""

    lease: Lease
    class_id: ClassId
    key: str
    duration_ms: int | None = None
    external_id: str | None = None
    """The caller's own name for the answer."""


class Labelling:
    """Thread-safe."""

    def __init__(self, ledger: Ledger, rounds: Rounds) -> None:
        self._ledger = ledger
        self._rounds = rounds
        self._nudged: dict[ProjectId, float] = {}
        self._nudging = threading.Lock()

    def lease(
        self,
        project_id: ProjectId,
        user_id: UserId,
        *,
        count: int,
        only_queries: bool = False,
        without: Sequence[TaskId] = (),
    ) -> list[Task]:
        """Up to ``count`` tasks: those this annotator already holds first, then the next ones, in order asked.

        ``only_queries`` leaves the holdout's out, ``without`` those named.
        """
        with self._ledger.one_by_one() as tx:
            settings = projects.get(tx, project_id).settings
            leased = tasks.lease(
                tx,
                project_id,
                user_id,
                count=count,
                lease_s=settings.lease_seconds,
                only_queries=only_queries,
                without=without,
                plain=settings.overlap == 1 and not settings.gold_rate,
            )
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
        given = Given(lease=lease, class_id=class_id, key=key, duration_ms=duration_ms)
        with self._ledger.transaction() as tx:
            submitted, task = _record(tx, project_id, user_id, given)
        if task is not None:
            self._follow_up(project_id, [task])
        return submitted

    def submit_many(
        self, project_id: ProjectId, user_id: UserId, given: Sequence[Given]
    ) -> list[Submitted | WinnowError]:
        """Answer many tasks, each for itself: what became of each, in order. One that is refused leaves the others.

        Raises ``Retryable`` if the database is lost on the way: sent again, those recorded are told by their keys.
        """
        done: dict[int, Submitted | WinnowError] = {}
        # In order of the tasks: two requests about the same ones wait for each other, and never in a circle.
        order = sorted(range(len(given)), key=lambda at: given[at].lease.task_id)
        for start in range(0, len(order), TOGETHER):
            part, ended = order[start : start + TOGETHER], list[Task]()
            with self._ledger.transaction() as tx:
                for at in part:
                    try:
                        with tx.savepoint():
                            done[at], task = _record(tx, project_id, user_id, given[at])
                    except (Conflict, Invalid, NotFound, StaleFence) as refusal:
                        done[at] = refusal
                    else:
                        ended += [] if task is None else [task]
            self._follow_up(project_id, ended)
        return [done[at] for at in range(len(given))]

    def skip(
        self, project_id: ProjectId, user_id: UserId, lease: Lease, reason: str = "", *, way: PassOn = PassOn.LATER
    ) -> Task:
        """Pass on a task: it goes to the end of the queue, for whom ``way`` says.

        It is given up after ``MAX_TASK_SKIPS``, or when everybody has handed it on. Raises ``StaleFence`` if the lease
        was lost.
        """
        with self._ledger.transaction() as tx:
            task = tasks.skip(tx, project_id, user_id, lease, way)
            if task is None:
                raise _lost(tx, project_id, lease)
            if way in (PassOn.OTHERS, PassOn.CANNOT_TELL):
                task = tasks.hand_on(tx, task, user_id, way, reason[:200])
            if task.question_id is not None and task.state is TaskState.SKIPPED:
                overlap.settle(tx, task.question_id)
            data = {"task": task.id, "reason": reason[:200], "state": task.state.value, "way": way.value}
            events.record(tx, project_id, f"user:{user_id}", "task.skipped", data)
        TASKS_ANSWERED.labels("skipped").inc()
        self._nudge(project_id)
        return task

    def undo(self, project_id: ProjectId, user_id: UserId, annotation_id: AnnotationId | None = None) -> Task:
        """Take an answer back, the newest if none is named: its label goes and its task is held again.

        Raises ``Conflict`` if it isn't among this annotator's newest ``UNDO_DEPTH`` standing answers, or if the image
        is being asked again already.
        """
        return self._take_back(project_id, user_id, annotation_id, UNDO_DEPTH)

    def undo_many(self, project_id: ProjectId, user_id: UserId, chosen: Sequence[AnnotationId]) -> list[Task]:
        """Take back answers that were given together, those that still can be; their tasks are held again."""
        taken = []
        for annotation_id in chosen:
            try:
                taken.append(self._take_back(project_id, user_id, annotation_id, UNDO_TOGETHER))
            except Conflict as refusal:
                log.info("annotation.kept", annotation_id=annotation_id, reason=str(refusal))
        return taken

    def _take_back(
        self, project_id: ProjectId, user_id: UserId, annotation_id: AnnotationId | None, depth: int
    ) -> Task:
        with self._ledger.transaction() as tx:
            recent = tasks.last_annotations(tx, project_id, user_id, depth)
            chosen = next((a for a in recent if annotation_id in (None, a.id)), None)
            if chosen is None:
                raise Conflict(f"only your last {depth} answers can be taken back")
            if tasks.undo_annotation(tx, project_id, user_id, chosen.id) is None:
                raise Conflict("this answer was taken back already")
            lease_s = projects.get(tx, project_id).settings.lease_seconds
            task = tasks.take_back(tx, user_id, chosen.task_id, lease_s=lease_s)
            if task is None:
                raise Conflict("this answer can't be taken back any more")
            if task.question_id is None:
                labels.withdraw(tx, chosen.id)
            else:
                overlap.settle(tx, task.question_id)
            data = {"task": task.id, "annotation": chosen.id}
            events.record(tx, project_id, f"user:{user_id}", "annotation.undone", data)
        return task

    def change(
        self, project_id: ProjectId, user_id: UserId, annotation_id: AnnotationId, class_id: ClassId, *, key: str
    ) -> Submitted:
        """Give another answer in place of one of one's own, however long ago. Both stay on record.

        Raises ``Conflict`` if the answer no longer stands or no longer counts for the image's label, ``Invalid`` for a
        class of another project.
        """
        with self._ledger.transaction() as tx:
            if not projects.has_class(tx, project_id, class_id):
                raise Invalid(f"class {class_id} is not one of this project's")
            before = tasks.annotation_by_key(tx, user_id, key)
            if before is not None:
                return Submitted(annotation=before, replayed=True)
            old = tasks.undo_annotation(tx, project_id, user_id, annotation_id)
            task = None if old is None else tasks.get(tx, project_id, old.task_id)
            if old is None or task is None or not _counts(tx, task, annotation_id):
                raise Conflict("this answer is no longer what gives the image its label")
            new = tasks.add_annotation(tx, task, user_id, class_id, key=key, duration_ms=None)
            _resolve(tx, task, new)
            _tell(tx, new)
            data = {"task": task.id, "annotation": new.id, "before": old.id}
            events.record(tx, project_id, f"user:{user_id}", "annotation.changed", data)
        return Submitted(annotation=new, replayed=False)

    def history(
        self, project_id: ProjectId, user_id: UserId, *, before: int | None = None, limit: int
    ) -> list[Annotation]:
        """One's own standing answers with an id below ``before``, the newest first."""
        place = {} if before is None else {"before": before}
        with self._ledger.transaction() as tx:
            return tasks.last_annotations(tx, project_id, user_id, limit, **place)

    def flag(self, project_id: ProjectId, user_id: UserId, image_id: ImageId, note: str, *, key: str) -> FlagId:
        """Let a lead see an image; ``key`` makes it once. Raises ``NotFound`` for an image of another project."""
        with self._ledger.transaction() as tx:
            flag_id, new = flags.add(tx, project_id, image_id, user_id, note, key=key)
            if new:
                data = {"flag": flag_id, "image": image_id, "note": note[:200]}
                events.record(tx, project_id, f"user:{user_id}", "image.flagged", data)
        return flag_id

    def show_suggestions(self, user_id: UserId, shown: Sequence[tuple[Lease, ClassId]]) -> None:
        """Note that the holder is being shown what the model suggests: their answers will say so."""
        with self._ledger.transaction() as tx:
            tasks.note_suggested(tx, user_id, shown)

    def _follow_up(self, project_id: ProjectId, answered: Sequence[Task]) -> None:
        """What answers set off. They themselves are committed: if this fails, the next scoring does it."""
        if any(task.kind is TaskKind.AUDIT for task in answered):
            try:
                self._rounds.audited(project_id)
            except (Retryable, Conflict) as error:
                log.warning("autolabel.judge_failed", project_id=project_id, error=str(error))
        if answered:
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


def _record(tx: Tx, project_id: ProjectId, user_id: UserId, given: Given) -> tuple[Submitted, Task | None]:
    """One answer within ``tx``, and the task that it ended; none if it was recorded before. Raises as ``submit``."""
    task = tasks.finish(tx, project_id, user_id, given.lease)
    if task is None:
        before = _replay(tx, project_id, user_id, given.lease, given.class_id, given.key)
        tx.after_commit(TASKS_ANSWERED.labels("replayed").inc)
        return Submitted(annotation=before, replayed=True), None
    annotation = tasks.add_annotation(
        tx,
        task,
        user_id,
        given.class_id,
        key=given.key,
        duration_ms=given.duration_ms,
        external_id=given.external_id,
    )
    _resolve(tx, task, annotation)
    _tell(tx, annotation)
    tx.after_commit(partial(_measure, task, annotation))
    return Submitted(annotation=annotation, replayed=False), task


def _resolve(tx: Tx, task: Task, annotation: Annotation) -> None:
    """What the image resolves to now."""
    if task.question_id is not None:
        overlap.settle(tx, task.question_id)
    elif task.kind is TaskKind.GOLD:
        trust.judge(tx, task.project_id, annotation.user_id)
    else:
        labels.put_human(tx, annotation)


def _counts(tx: Tx, task: Task, annotation_id: AnnotationId) -> bool:
    """Whether an answer still counts for something: a label, the consensus, or the record of who gave it."""
    if task.question_id is not None:
        return questions.takes_answers(tx, task.question_id)
    return task.kind is TaskKind.GOLD or labels.is_from(tx, annotation_id)


def _tell(tx: Tx, annotation: Annotation) -> None:
    """Who wants to hear of answers. What kind of question it was isn't said: it would tell which measure people."""
    data = {
        "annotation_id": annotation.id,
        "task_id": annotation.task_id,
        "image_id": annotation.image_id,
        "class_id": annotation.class_id,
        "user_id": annotation.user_id,
    }
    emit(tx, annotation.project_id, EventType.ANNOTATION_SUBMITTED, data)


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
