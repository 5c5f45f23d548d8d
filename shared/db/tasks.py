"""Tasks, their leases, and the annotations that answer them.

An annotator holds a task by (holder, fence, lease_until). Every lease raises the fence, so an answer given under a
lost lease can be told from one given under the present one. The database refuses a second standing answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import (
    MAX_TASK_SKIPS,
    Annotation,
    AnnotationId,
    BatchId,
    ClassId,
    ImageId,
    NewTask,
    Overlap,
    PassOn,
    ProjectId,
    QuestionId,
    RoundId,
    Task,
    TaskId,
    TaskKind,
    TaskState,
    UserId,
)
from shared.errors import Invalid, NotFound

_Q = queries("tasks")
RESERVED_S = 3600.0
"""How long a task waits for who wants it later."""
_NEWEST = 2**62
ONE = Overlap()
GOLD_WINDOW = 4.0
"""Places in the queue by which a question with a known answer may lag behind the others before it is passed over."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What an annotator shows to act on a task."""

    task_id: TaskId
    fence: int


@dataclass(frozen=True, kw_only=True)
class LiveCounts:
    open: int
    leased: int
    next_expiry: datetime | None


@dataclass(frozen=True, kw_only=True)
class CouldNotTell:
    """``state`` is the task's present one."""

    task_id: TaskId
    image_id: ImageId
    by_name: str
    reason: str
    created_at: datetime
    state: str


@dataclass(frozen=True, kw_only=True)
class Expired:
    task_id: TaskId
    project_id: ProjectId
    fence: int


def task_of(row: Row) -> Task:
    """Of a row of ``tasks``."""
    return Task(
        id=row["id"],
        project_id=row["project_id"],
        round_id=row["round_id"],
        image_id=row["image_id"],
        kind=TaskKind(row["kind"]),
        state=TaskState(row["state"]),
        priority=row["priority"],
        fence=row["fence"],
        lease_until=row["lease_until"],
        holder=row["holder"],
        skips=row["skips"],
        strategy=row["strategy"],
        score=row["score"],
        leased_at=row["leased_at"],
        suggested=row["suggested"],
        question_id=QuestionId(row["question_id"]) if row["question_id"] is not None else None,
        copy=row["copy"],
    )


def _annotation(row: Row) -> Annotation:
    return Annotation(
        id=row["id"],
        task_id=row["task_id"],
        image_id=row["image_id"],
        project_id=row["project_id"],
        user_id=row["user_id"],
        class_id=row["class_id"],
        duration_ms=row["duration_ms"],
        created_at=row["created_at"],
        undone_at=row["undone_at"],
        suggested=row["suggested"],
        external_id=row["external_id"],
    )


def add(
    tx: Tx,
    project_id: ProjectId,
    round_id: RoundId | None,
    new: Sequence[NewTask],
    *,
    asked_of: Overlap = ONE,
    batch_id: BatchId | None = None,
) -> int:
    """Open tasks, as many for each image as people are to be asked, in a vendor's batch if one is named; images
    labelled or asked about meanwhile are passed over. Call under the project's lock. Returns how many were opened."""
    rows = tx.all(
        _Q["insert_tasks"],
        {
            "project_id": project_id,
            "round_id": round_id,
            "image_ids": [t.image_id for t in new],
            "kinds": [t.kind.value for t in new],
            "priorities": [t.priority for t in new],
            "strategies": [t.strategy for t in new],
            "scores": [t.score for t in new],
            "copies": asked_of.copies,
            "most": asked_of.most,
            "batch_id": batch_id,
        },
    )
    return len(rows)


def draw_random(tx: Tx, project_id: ProjectId, *, count: int, seed: int) -> list[ImageId]:
    """Up to ``count`` random images that could be asked about and aren't."""
    rows = tx.all(_Q["draw_random"], {"project_id": project_id, "count": count, "seed": seed})
    return [ImageId(row["id"]) for row in rows]


def supersede_open(tx: Tx, project_id: ProjectId) -> int:
    """Retire the queries that nobody holds, nor has begun to answer with others. Returns how many."""
    row = tx.one(_Q["supersede_open"], {"project_id": project_id})
    return int(row["closed"]) if row else 0


def raise_live(tx: Tx, project_id: ProjectId, image_ids: Sequence[ImageId]) -> list[ImageId]:
    """Put what is being asked about these images ahead of everything else; returns those that are."""
    rows = tx.all(_Q["raise_live"], {"project_id": project_id, "ids": list(image_ids)})
    return sorted({ImageId(row["image_id"]) for row in rows})


def lease(
    tx: Tx,
    project_id: ProjectId,
    user_id: UserId,
    *,
    count: int,
    lease_s: float,
    only_queries: bool = False,
    without: Sequence[TaskId] = (),
    plain: bool = False,
) -> list[Task]:
    """Up to ``count`` tasks for this annotator: first those already held, then the next open ones, in order asked.

    Nothing new is handed out while the project isn't running. ``only_queries`` leaves the holdout's out, ``without``
    those named. ``plain`` changes nothing but how long it takes: copies and known answers aren't expected.
    """
    params = {
        "project_id": project_id,
        "user_id": user_id,
        "lease_s": lease_s,
        "only_queries": only_queries,
        "without": list(without),
        "window": GOLD_WINDOW,
    }
    held = [task_of(row) for row in tx.all(_Q["held"], {**params, "count": count})]
    if len(held) >= count:
        return held
    wanted = {**params, "count": count - len(held)}
    rows = tx.all(_Q["lease_plain"], wanted) if plain else []
    fresh = [task_of(row) for row in rows or tx.all(_Q["lease"], wanted)]
    return sorted(held + fresh, key=lambda t: (t.priority, t.id))


def _mine(user_id: UserId, leases: Sequence[Lease]) -> dict[str, object]:
    return {"user_id": user_id, "ids": [x.task_id for x in leases], "fences": [x.fence for x in leases]}


def renew(tx: Tx, project_id: ProjectId, user_id: UserId, leases: Sequence[Lease], *, lease_s: float) -> list[TaskId]:
    """Hold on to these for another ``lease_s``; returns those still held."""
    rows = tx.all(_Q["renew"], {**_mine(user_id, leases), "project_id": project_id, "lease_s": lease_s})
    return [TaskId(row["id"]) for row in rows]


def release(tx: Tx, user_id: UserId, leases: Sequence[Lease]) -> list[TaskId]:
    """Give these back to the queue; returns those that were held."""
    return [TaskId(row["id"]) for row in tx.all(_Q["release"], _mine(user_id, leases))]


def reopen_expired(tx: Tx) -> list[Expired]:
    """Open tasks whose lease ran out, a thousand at a time."""
    return [
        Expired(task_id=row["id"], project_id=row["project_id"], fence=row["fence"])
        for row in tx.all(_Q["reopen_expired"])
    ]


def get(tx: Tx, project_id: ProjectId, task_id: TaskId) -> Task:
    """Raises ``NotFound``, also for a task of another project."""
    row = tx.one(_Q["get"], {"project_id": project_id, "id": task_id})
    if row is None:
        raise NotFound(f"there is no task {task_id} in this project")
    return task_of(row)


def finish(tx: Tx, project_id: ProjectId, user_id: UserId, held: Lease) -> Task | None:
    """Close a task with an answer. None unless ``held`` is this annotator's and the newest lease of the task.

    A lease that ran out without anybody else taking the task is still good: the answer is not thrown away.
    """
    row = tx.one(_Q["finish"], {"project_id": project_id, "user_id": user_id, "id": held.task_id, "fence": held.fence})
    return None if row is None else task_of(row)


def skip(tx: Tx, project_id: ProjectId, user_id: UserId, held: Lease, way: PassOn = PassOn.LATER) -> Task | None:
    """Put a task at the end of the queue, or give it up after ``MAX_TASK_SKIPS``. None unless it is held."""
    row = tx.one(
        _Q["skip"],
        {
            "project_id": project_id,
            "user_id": user_id,
            "id": held.task_id,
            "fence": held.fence,
            "max_skips": MAX_TASK_SKIPS,
            "mine": way is PassOn.ME,
            "reserve_s": RESERVED_S,
        },
    )
    return None if row is None else task_of(row)


def hand_on(tx: Tx, task: Task, user_id: UserId, way: PassOn, reason: str) -> Task:
    """Never give this task to this person again; it is given up once everybody has handed it on."""
    tx.run(_Q["insert_pass"], {"task_id": task.id, "user_id": user_id, "way": way.value, "reason": reason})
    row = tx.one(_Q["give_up_if_all_passed"], {"id": task.id})
    return task if row is None else task_of(row)


def note_cannot_tell(tx: Tx, task_id: TaskId, user_id: UserId, reason: str) -> None:
    """Let leads see who could not tell, and why."""
    way = PassOn.CANNOT_TELL.value
    tx.run(_Q["insert_pass"], {"task_id": task_id, "user_id": user_id, "way": way, "reason": reason})


def could_not_tell(tx: Tx, project_id: ProjectId, limit: int) -> list[CouldNotTell]:
    """What people handed on because they could not tell, the newest first."""
    return [CouldNotTell(**row) for row in tx.all(_Q["list_passes"], {"project_id": project_id, "limit": limit})]


def note_suggested(tx: Tx, user_id: UserId, shown: Sequence[tuple[Lease, ClassId]]) -> None:
    """The holder is being shown that the model suggests these classes."""
    leases = _mine(user_id, [held for held, _ in shown])
    tx.run(_Q["note_suggested"], {**leases, "class_ids": [class_id for _, class_id in shown]})


def take_back(tx: Tx, user_id: UserId, task_id: TaskId, *, lease_s: float) -> Task | None:
    """Lease an answered task to the annotator who answered it, under a new fence."""
    row = tx.one(_Q["take_back"], {"id": task_id, "user_id": user_id, "lease_s": lease_s})
    return None if row is None else task_of(row)


def add_annotation(
    tx: Tx,
    task: Task,
    user_id: UserId,
    class_id: ClassId,
    *,
    key: str,
    duration_ms: int | None,
    external_id: str | None = None,
) -> Annotation:
    """Raises ``Conflict`` if the task has a standing answer or the key was used before, ``Invalid`` for a class of
    another project."""
    row = tx.one(
        _Q["insert_annotation"],
        {
            "task_id": task.id,
            "image_id": task.image_id,
            "project_id": task.project_id,
            "user_id": user_id,
            "class_id": class_id,
            "key": key,
            "fence": task.fence,
            "duration_ms": duration_ms,
            "suggested": task.suggested,
            "external_id": external_id,
            "question_id": task.question_id,
        },
    )
    if row is None:
        raise Invalid(f"class {class_id} is not one of this project's")
    return _annotation(row)


def annotation_by_key(tx: Tx, user_id: UserId, key: str) -> Annotation | None:
    row = tx.one(_Q["annotation_by_key"], {"user_id": user_id, "key": key})
    return None if row is None else _annotation(row)


def last_annotations(
    tx: Tx, project_id: ProjectId, user_id: UserId, limit: int, *, before: int = _NEWEST
) -> list[Annotation]:
    """An annotator's standing answers with an id below ``before``, the newest first."""
    params = {"project_id": project_id, "user_id": user_id, "limit": limit, "before": before}
    return [_annotation(row) for row in tx.all(_Q["last_annotations"], params)]


def undo_annotation(tx: Tx, project_id: ProjectId, user_id: UserId, annotation_id: AnnotationId) -> Annotation | None:
    """Withdraw an answer; it stays on record. None if it isn't this annotator's or no longer stands."""
    row = tx.one(_Q["undo_annotation"], {"project_id": project_id, "user_id": user_id, "id": annotation_id})
    return None if row is None else _annotation(row)


def live_counts(tx: Tx, project_id: ProjectId) -> LiveCounts:
    row = tx.one(_Q["count_live"], {"project_id": project_id})
    assert row is not None  # an aggregate always answers
    return LiveCounts(**row)


def count_kept(tx: Tx, project_id: ProjectId) -> int:
    """Live tasks that a new selection would leave as they are: those held, the holdout's, audits."""
    row = tx.one(_Q["count_kept"], {"project_id": project_id})
    return int(row["kept"]) if row else 0


def was_asked(tx: Tx, image_id: ImageId) -> bool:
    """Whether people are asked about an image, or were."""
    row = tx.one(_Q["was_asked"], {"image_id": image_id})
    return bool(row and row["asked"])


def any_live(tx: Tx, project_id: ProjectId) -> bool:
    row = tx.one(_Q["any_live"], {"project_id": project_id})
    return bool(row and row["live"])


def any_live_in_batches(tx: Tx, project_id: ProjectId) -> bool:
    """Whether a vendor has anything to answer."""
    row = tx.one(_Q["any_live_in_batches"], {"project_id": project_id})
    return bool(row and row["live"])


def answered_by(tx: Tx, project_id: ProjectId, user_id: UserId) -> int:
    """How many of this annotator's answers stand."""
    row = tx.one(_Q["user_count"], {"project_id": project_id, "user_id": user_id})
    return int(row["answered"]) if row else 0


def answered_since(tx: Tx, project_id: ProjectId, since: datetime) -> int:
    """Everybody's answers since then that stand."""
    row = tx.one(_Q["answered_since"], {"project_id": project_id, "since": since})
    return int(row["answered"]) if row else 0
