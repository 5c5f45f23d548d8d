"""Rows of vendors' batches, their leases and verdicts. ``shared.batches`` decides what may become of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.db.tasks import task_of
from shared.domain import (
    AnnotationId,
    Batch,
    BatchId,
    BatchState,
    ImageId,
    JobId,
    NewTask,
    ProjectId,
    QuestionId,
    Task,
    TaskId,
    UserId,
)
from shared.errors import NotFound

_Q = queries("batches")
NEWEST = 2**62


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a manager and a vendor agree on; see ``Batch``."""

    name: str
    size: int
    fill: str = "selection"
    overlap: int = 1
    instructions: str = ""
    external_id: str | None = None
    deadline: datetime | None = None
    price: Decimal | None = None
    price_per: str | None = None
    currency: str | None = None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Tasks that wait, are held, were answered and still stand, were passed on for good; verdicts. ``images``: how many
    images all of these are about."""

    images: int
    open: int
    leased: int
    answered: int
    passed_on: int
    accepted: int
    rejected: int

    @property
    def live(self) -> int:
        return self.open + self.leased

    @property
    def ended(self) -> int:
        return self.answered + self.passed_on


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What one call leased: the fence of each task's lease, by task. ``annotator``: the vendor's name for who holds."""

    token: str
    holder: UserId
    annotator: str | None
    fences: Mapping[TaskId, int]


@dataclass(frozen=True, kw_only=True)
class BatchAnnotation:
    """``annotator`` None: the vendor itself. ``verdict`` None: nobody has judged it."""

    id: AnnotationId
    task_id: TaskId
    image_id: ImageId
    filename: str
    class_name: str
    external_id: str | None
    duration_ms: int | None
    created_at: datetime
    annotator: str | None
    verdict: str | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An annotation as it stands before another verdict."""

    id: AnnotationId
    task_id: TaskId
    image_id: ImageId
    external_id: str | None
    question_id: QuestionId | None
    gold: bool
    standing: bool
    verdict: str | None
    priority: float
    """Of the task that it answers."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one of a vendor's people did. ``seconds`` are those reported with ``timed`` of the standing answers."""

    annotator: str | None
    answered: int
    accepted: int
    rejected: int
    seconds: float
    timed: int
    last_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Median seconds of standing answers, where their time was reported: by person, with the vendor's own name for them
    (None: the vendor itself), and of all."""

    people: Sequence[tuple[UserId, str | None, float | None]]
    median_s: float | None


def _batch(row: Row) -> Batch:
    return Batch(**{**row, "state": BatchState(row["state"])})


def _found(row: Row | None, batch_id: BatchId) -> Batch:
    if row is None:
        raise NotFound(f"there is no batch {batch_id}")
    return _batch(row)


def add(tx: Tx, project_id: ProjectId, vendor_id: UserId, terms: Terms) -> Batch:
    """A draft. Raises ``Conflict`` if the project has a batch of that name."""
    row = tx.one(_Q["insert_batch"], {"project_id": project_id, "vendor_id": vendor_id, **asdict(terms)})
    assert row is not None  # INSERT ... RETURNING
    return _batch(row)


def get(tx: Tx, batch_id: BatchId) -> Batch:
    """Raises ``NotFound``."""
    return _found(tx.one(_Q["get"], {"id": batch_id}), batch_id)


def lock(tx: Tx, batch_id: BatchId) -> Batch:
    """As ``get``, and nobody else changes the batch until this transaction ends. Lock the project first, if at all."""
    return _found(tx.one(_Q["lock"], {"id": batch_id}), batch_id)


def lock_if_free(tx: Tx, batch_id: BatchId) -> Batch | None:
    """As ``lock``; None instead of waiting."""
    row = tx.one(_Q["lock_if_free"], {"id": batch_id})
    return None if row is None else _batch(row)


def page(
    tx: Tx,
    *,
    project_id: ProjectId | None = None,
    vendor_id: UserId | None = None,
    after: int = 0,
    limit: int = 50,
) -> list[Batch]:
    """Batches with an id above ``after``, in order of id; of a vendor those that are no drafts."""
    params = {"project_id": project_id, "vendor_id": vendor_id, "after": after, "limit": limit}
    return [_batch(row) for row in tx.all(_Q["page"], params)]


def moving(tx: Tx) -> list[BatchId]:
    """Those that are neither drafts nor ended."""
    return [BatchId(row["id"]) for row in tx.all(_Q["moving"])]


def set_state(tx: Tx, batch_id: BatchId, state: BatchState, error: str | None = None) -> Batch:
    return _found(tx.one(_Q["set_state"], {"id": batch_id, "state": state.value, "error": error}), batch_id)


def set_terms(tx: Tx, batch_id: BatchId, terms: Terms) -> Batch:
    """Raises ``Conflict`` if the project has another batch of that name."""
    return _found(tx.one(_Q["set_terms"], {"id": batch_id, **asdict(terms)}), batch_id)


def set_fill_job(tx: Tx, batch_id: BatchId, job_id: JobId) -> None:
    tx.run(_Q["set_fill_job"], {"id": batch_id, "job_id": job_id})


def set_filled(tx: Tx, batch_id: BatchId) -> None:
    """All that it was to be filled with is chosen."""
    tx.run(_Q["set_filled"], {"id": batch_id})


def kept_full(tx: Tx, project_id: ProjectId) -> list[Batch]:
    """Those that a selection fills, locked, in order of id."""
    return [_batch(row) for row in tx.all(_Q["kept_full"], {"project_id": project_id})]


def counts(tx: Tx, batch_id: BatchId) -> Counts:
    row = tx.one(_Q["counts"], {"id": batch_id})
    assert row is not None  # an aggregate always answers
    return Counts(**row)


def any_live(tx: Tx, batch_id: BatchId) -> bool:
    """Whether any of its tasks waits or is held."""
    row = tx.one(_Q["any_live"], {"id": batch_id})
    return bool(row and row["live"])


def next_open(tx: Tx, project_id: ProjectId, count: int) -> list[NewTask]:
    """The first ``count`` questions of the project's own queue, as they were asked."""
    return [_new(row) for row in tx.all(_Q["next_open"], {"project_id": project_id, "count": count})]


def give_up_open(tx: Tx, project_id: ProjectId) -> dict[BatchId, list[NewTask]]:
    """Retire what nobody holds in batches that a selection fills; what that was, by batch, in order of priority."""
    found: dict[BatchId, list[NewTask]] = {}
    for row in tx.all(_Q["give_up_open"], {"project_id": project_id}):
        found.setdefault(BatchId(row.pop("batch_id")), []).append(_new(row))
    return found


def unasked(tx: Tx, given: Sequence[NewTask]) -> list[NewTask]:
    """Those about images without a label that nobody is asked about."""
    rows = tx.all(_Q["unasked"], {"image_ids": [one.image_id for one in given]})
    free = {row["image_id"] for row in rows}
    return [one for one in given if one.image_id in free]


def _new(row: Row) -> NewTask:
    return NewTask(**row)


def release_open(tx: Tx, project_id: ProjectId, image_ids: Sequence[ImageId]) -> None:
    """Retire the project's own open queries about these images, so that a batch may ask about them."""
    tx.run(_Q["release_open"], {"project_id": project_id, "image_ids": list(image_ids)})


def revoke(tx: Tx, batch_id: BatchId, limit: int) -> tuple[int, list[QuestionId]]:
    """Take up to ``limit`` live tasks away, whoever holds them, and count them; the project itself goes on with
    copies of what was answered in part.

    Returns how many there were, and the questions that some of them were copies of.
    """
    gone = tx.all(_Q["revoke"], {"id": batch_id, "limit": limit})
    was = [row["was"] for row in gone]
    params = {"id": batch_id, "revoked": was.count("leased"), "dropped": was.count("open")}
    tx.run(_Q["count_revoked"], params)
    return len(was), sorted({row["question_id"] for row in gone if row["question_id"] is not None})


def annotator(tx: Tx, vendor_id: UserId, external_id: str) -> UserId:
    """The user that stands for one of a vendor's people, made on first use. Raises ``Invalid`` for no vendor."""
    row = tx.one(_Q["add_annotator"], {"vendor_id": vendor_id, "external_id": external_id})
    assert row is not None  # SELECT without FROM
    return UserId(row["id"])


def lease(tx: Tx, batch: Batch, holder: UserId, *, count: int, ttl_s: float) -> list[Task]:
    """Up to ``count`` of the next open tasks, held by ``holder`` for ``ttl_s``, in order asked."""
    params = {"id": batch.id, "vendor_id": batch.vendor_id, "holder": holder, "count": count, "ttl_s": ttl_s}
    return sorted((task_of(row) for row in tx.all(_Q["lease"], params)), key=lambda t: (t.priority, t.id))


def add_lease(tx: Tx, batch_id: BatchId, holder: UserId, token: str, leased: Sequence[Task]) -> None:
    params = {"batch_id": batch_id, "holder": holder, "token": token}
    tx.run(_Q["insert_lease"], {**params, "task_ids": [t.id for t in leased], "fences": [t.fence for t in leased]})


def leases(tx: Tx, batch_id: BatchId, tokens: Iterable[str]) -> dict[str, Handed]:
    """By token, of those that this batch's vendor was given."""
    rows = tx.all(_Q["get_leases"], {"batch_id": batch_id, "tokens": list(tokens)})
    return {
        row["token"]: Handed(
            token=row["token"],
            holder=row["holder"],
            annotator=row["annotator"],
            fences=dict(zip(row["task_ids"], row["fences"], strict=True)),
        )
        for row in rows
    }


def pass_on(tx: Tx, batch_id: BatchId, holder: UserId, task_id: TaskId, fence: int) -> tuple[bool, QuestionId | None]:
    """Give a task up because its holder can't tell: whether it was held under this lease, and its question."""
    params = {"id": batch_id, "holder": holder, "task_id": task_id, "fence": fence}
    row = tx.one(_Q["pass_on"], params)
    return row is not None, row["question_id"] if row is not None else None


def was_passed_on(tx: Tx, batch_id: BatchId, holder: UserId, task_id: TaskId, fence: int) -> bool:
    """Whether this very call was made before."""
    params = {"id": batch_id, "holder": holder, "task_id": task_id, "fence": fence}
    return tx.one(_Q["was_passed_on"], params) is not None


def shows_image(tx: Tx, batch_id: BatchId, image_id: ImageId) -> bool:
    """Whether its vendor was handed a task about this image."""
    row = tx.one(_Q["shows_image"], {"id": batch_id, "image_id": image_id})
    return bool(row and row["shown"])


def list_annotations(
    tx: Tx, batch_id: BatchId, *, verdict: str | None = None, before: int = NEWEST, limit: int = 50
) -> list[BatchAnnotation]:
    """With an id below ``before``, the newest first; ``verdict``: ``accepted``, ``rejected``, ``undecided`` or any."""
    params = {"id": batch_id, "verdict": verdict, "before": before, "limit": limit}
    rows = tx.all(_Q["list_annotations"], params)
    return [BatchAnnotation(class_name=row.pop("class"), **row) for row in rows]


def sample(tx: Tx, batch_id: BatchId, limit: int) -> list[BatchAnnotation]:
    """Some standing annotations without a verdict, spread over the batch."""
    rows = tx.all(_Q["sample"], {"id": batch_id, "limit": limit})
    return [BatchAnnotation(class_name=row.pop("class"), **row) for row in rows]


def judged(tx: Tx, batch_id: BatchId, ids: Sequence[AnnotationId]) -> dict[AnnotationId, Judged]:
    """Those of the batch among ``ids``, locked."""
    return {row["id"]: Judged(**row) for row in tx.all(_Q["judged"], {"id": batch_id, "ids": list(ids)})}


def put_verdicts(tx: Tx, batch_id: BatchId, ids: Sequence[AnnotationId], verdict: str, reason: str, actor: str) -> None:
    params = {"id": batch_id, "ids": list(ids), "verdict": verdict, "reason": reason, "actor": actor}
    tx.run(_Q["put_verdicts"], params)


def withdraw(tx: Tx, ids: Sequence[AnnotationId]) -> None:
    """These answers no longer stand, and the labels that they alone gave go; others may have their questions."""
    tx.run(_Q["withdraw"], {"ids": list(ids)})
    tx.run(_Q["free_copies"], {"ids": list(ids)})
    tx.run(_Q["withdraw_labels"], {"ids": list(ids)})


def work(tx: Tx, batch_id: BatchId) -> list[Work]:
    """By annotator."""
    return [Work(**row) for row in tx.all(_Q["work"], {"id": batch_id})]


def speeds(tx: Tx, project_id: ProjectId, vendor_id: UserId) -> Speeds:
    """Of all who answered in a vendor's batches of a project."""
    found = tx.all(_Q["speeds"], {"project_id": project_id, "vendor_id": vendor_id})
    return Speeds(
        people=[(UserId(r["user_id"]), r["annotator"], r["median_s"]) for r in found if r["user_id"] is not None],
        median_s=next(r["median_s"] for r in found if r["user_id"] is None),
    )


def vendors_of(tx: Tx, project_id: ProjectId) -> dict[UserId, str]:
    """Names, by id, of those that have or had batches in a project."""
    return {UserId(r["id"]): r["display_name"] for r in tx.all(_Q["vendors_of"], {"project_id": project_id})}


def places_of_vendors(tx: Tx) -> dict[UserId, list[tuple[ProjectId, str]]]:
    """The projects, with their names, in which each vendor has or had batches."""
    found: dict[UserId, list[tuple[ProjectId, str]]] = {}
    for row in tx.all(_Q["places_of_vendors"]):
        found.setdefault(UserId(row["vendor_id"]), []).append((ProjectId(row["id"]), row["name"]))
    return found
