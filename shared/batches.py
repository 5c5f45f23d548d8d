"""Batches for vendors: the one place where a batch moves on, and how it gets its questions.

    draft -> open -> in_progress -> completed                completed -> in_progress: work was rejected
             open, in_progress -> paused -> in_progress      failed -> open: tried again
             all but completed -> cancelling -> cancelled    open, in_progress, paused -> failed

A batch filled by ``selection`` takes from the project's own queue until it has its size, now and at each selection
from then on, which also replaces by better questions those that nobody holds yet. Filled at ``random`` or by a strategy
of its own it gets all its questions once and keeps them. Nothing here asks who may do it: the doors do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from shared import gold, overlap
from shared.db import batches as rows
from shared.db import events, jobs, projects, rounds, tasks
from shared.db.batches import Counts, Terms
from shared.db.pool import Tx
from shared.domain import (
    Batch,
    BatchId,
    BatchState,
    Job,
    JobKind,
    JobState,
    NewJob,
    NewTask,
    Overlap,
    Project,
    ProjectId,
    ProjectState,
    RoundId,
    UserId,
)
from shared.errors import Conflict, Invalid, NotFound
from shared.jobs import Ledger
from shared.selection import catalog
from shared.telemetry import logger
from shared.webhooks import EventType, emit

log = logger(__name__)
SELECTION, RANDOM = "selection", "random"
SYSTEM = "system"
REVOKED_AT_ONCE = 1000
_S = BatchState
NEXT: Mapping[BatchState, frozenset[BatchState]] = {
    _S.DRAFT: frozenset({_S.OPEN, _S.CANCELLING}),
    _S.OPEN: frozenset({_S.IN_PROGRESS, _S.PAUSED, _S.COMPLETED, _S.CANCELLING, _S.FAILED}),
    _S.IN_PROGRESS: frozenset({_S.PAUSED, _S.COMPLETED, _S.CANCELLING, _S.FAILED}),
    _S.PAUSED: frozenset({_S.IN_PROGRESS, _S.COMPLETED, _S.CANCELLING, _S.FAILED}),
    _S.COMPLETED: frozenset({_S.IN_PROGRESS}),
    _S.CANCELLING: frozenset({_S.CANCELLED}),
    _S.CANCELLED: frozenset(),
    _S.FAILED: frozenset({_S.OPEN, _S.CANCELLING}),
}
"""What may follow each state. Whatever else is asked for is a ``Conflict``."""
LIVE = frozenset({_S.OPEN, _S.IN_PROGRESS, _S.PAUSED})
"""States in which a batch has, or gets, questions that are not answered."""
ENDED = frozenset({_S.COMPLETED, _S.CANCELLED, _S.FAILED})
_FIXED = ("size", "fill", "overlap")
"""Terms that hold from the opening on."""
_NAMES = {
    _S.OPEN: "batch.opened",
    _S.IN_PROGRESS: "batch.in_progress",
    _S.PAUSED: "batch.paused",
    _S.COMPLETED: "batch.completed",
    _S.CANCELLING: "batch.cancel_asked",
    _S.CANCELLED: "batch.cancelled",
    _S.FAILED: "batch.failed",
}
_TOLD = {
    _S.OPEN: EventType.BATCH_OPENED,
    _S.COMPLETED: EventType.BATCH_COMPLETED,
    _S.CANCELLED: EventType.BATCH_CANCELLED,
}


def move(
    tx: Tx, batch: Batch, to: BatchState, actor: str, *, error: str | None = None, data: Mapping[str, Any] | None = None
) -> Batch:
    """The batch in its new state, on record. The caller holds its lock. Raises ``Conflict`` if that can't follow."""
    if to not in NEXT[batch.state]:
        raise Conflict(f"the batch is {batch.state.value}: it can't become {to.value}")
    moved = rows.set_state(tx, batch.id, to, error)
    told = {"name": batch.name, "state": to.value, **(data or {}), **({"error": error} if error else {})}
    events.record(tx, batch.project_id, actor, _NAMES[to], {"batch": batch.id, **told})
    if to in _TOLD:
        emit(tx, batch.project_id, _TOLD[to], {"batch_id": batch.id, "external_id": batch.external_id, **told})
    log.info("batch.moved", batch_id=batch.id, project_id=batch.project_id, before=batch.state.value, state=to.value)
    return moved


# What managers ask for


def create(tx: Tx, project_id: ProjectId, vendor_id: UserId, terms: Terms, actor: str) -> Batch:
    """A draft, which its vendor doesn't see. Raises ``Conflict`` for a name taken, ``Invalid`` for unknown terms."""
    _check(terms)
    try:
        batch = rows.add(tx, project_id, vendor_id, terms)
    except Conflict:
        raise Conflict(f"the project has a batch named '{terms.name}' already") from None
    events.record(tx, project_id, actor, "batch.created", {"batch": batch.id, "name": batch.name, "vendor": vendor_id})
    return batch


def change(tx: Tx, batch: Batch, terms: Terms, actor: str) -> Batch:
    """Other terms, under the batch's lock. Raises ``Conflict`` for one that is fixed since the batch was opened."""
    _check(terms)
    now = terms_of(batch)
    changed = [name for name, value in asdict(terms).items() if value != getattr(now, name)]
    if not changed:
        return batch
    if batch.state in (_S.CANCELLING, _S.CANCELLED):
        raise Conflict(f"the batch is {batch.state.value}: its terms can't change any more")
    fixed = [name for name in changed if name in _FIXED]
    if fixed and batch.state is not _S.DRAFT:
        raise Conflict(f"{' and '.join(fixed)} can't change once the batch was opened")
    try:
        done = rows.set_terms(tx, batch.id, terms)
    except Conflict:
        raise Conflict(f"the project has a batch named '{terms.name}' already") from None
    events.record(tx, batch.project_id, actor, "batch.changed", {"batch": batch.id, "terms": changed})
    return done


def terms_of(batch: Batch) -> Terms:
    return Terms(**{name: getattr(batch, name) for name in Terms.__dataclass_fields__})


def _check(terms: Terms) -> None:
    if terms.fill not in (SELECTION, *catalog.names()):
        raise Invalid(f"a batch is filled by 'selection', or once by one of {', '.join(sorted(catalog.names()))}")
    if len({value is None for value in (terms.price, terms.price_per, terms.currency)}) > 1:
        raise Invalid("a price has an amount, what it is per ('label' or 'hour') and a currency; give all or none")


def open_(tx: Tx, ledger: Ledger, batch_id: BatchId, actor: str) -> Batch:
    """Let the vendor begin, and fill the batch; by a strategy of its own in a job.

    Raises ``Conflict`` in a state from which it can't be opened, for a project that was never started, where nothing is
    left to ask, and for a strategy that needs a model where there is none.
    """
    project = projects.lock(tx, rows.get(tx, batch_id).project_id)
    batch = rows.lock(tx, batch_id)
    if batch.state not in (_S.DRAFT, _S.FAILED):
        raise Conflict(f"the batch is {batch.state.value}: only a draft, or one that failed, can be opened")
    if project.state is ProjectState.DRAFT:
        raise Conflict("start the project first: its images are not prepared yet")
    batch = move(tx, batch, _S.OPEN, actor)
    if batch.fill == SELECTION:
        top_up(tx, project)
    elif batch.fill == RANDOM:
        _fill_at_random(tx, project, batch)
    else:
        _ask_fill(tx, ledger, project, batch)
    return rows.get(tx, batch.id)


def pause(tx: Tx, batch_id: BatchId, actor: str) -> Batch:
    """Hand out nothing more. Answers to what is held are still taken."""
    batch = rows.lock(tx, batch_id)
    return batch if batch.state is _S.PAUSED else move(tx, batch, _S.PAUSED, actor)


def resume(tx: Tx, batch_id: BatchId, actor: str) -> Batch:
    """Go on after a pause."""
    batch = rows.lock(tx, batch_id)
    if batch.state is not _S.PAUSED:
        raise Conflict(f"the batch is {batch.state.value}: only a paused batch can go on")
    return move(tx, batch, _S.IN_PROGRESS, actor)


def cancel(tx: Tx, batch_id: BatchId, actor: str) -> Batch:
    """End it: ``tend`` takes away what is not answered, and what is answered stays."""
    batch = rows.lock(tx, batch_id)
    if batch.state in (_S.CANCELLING, _S.CANCELLED):
        return batch
    return move(tx, batch, _S.CANCELLING, actor)


# How a batch gets its questions


def _fill_at_random(tx: Tx, project: Project, batch: Batch) -> None:
    drawn = tasks.draw_random(tx, project.id, count=batch.size, seed=batch.id)
    if not drawn:
        raise Conflict("nothing is left to ask: every image of the pool has a label, is being asked or was skipped")
    _ask(tx, project, batch, None, [NewTask(image_id=one, priority=float(n)) for n, one in enumerate(drawn, start=1)])
    rows.set_filled(tx, batch.id)


def _ask(tx: Tx, project: Project, batch: Batch, round_id: RoundId | None, new: Sequence[NewTask]) -> int:
    """Open questions of a batch, with gold among them as among the project's own; how many tasks."""
    mixed = gold.mix(tx, project, new, seed=project.settings.seed * 100_003 + batch.id * 101 + len(new))
    asked_of = Overlap(copies=batch.overlap, most=batch.overlap)
    return tasks.add(tx, project.id, round_id, mixed, asked_of=asked_of, batch_id=batch.id)


def _ask_fill(tx: Tx, ledger: Ledger, project: Project, batch: Batch) -> None:
    scored = rounds.latest_scored(tx, project.id)
    if scored is None:
        raise Conflict(f"'{batch.fill}' needs a model, and there is none yet: choose 'random' or 'selection'")
    new = NewJob(
        kind=JobKind.SELECT,
        project_id=project.id,
        unique_key=f"fill:{batch.id}:{batch.version}",
        payload={
            "checkpoint_id": scored.id,
            "count": batch.size,
            "seed": project.settings.seed * 100_003 + batch.id,
            "strategy": batch.fill,
            "batch_id": batch.id,
        },
    )
    job = ledger.enqueue(tx, new)
    assert job is not None  # every opening has a version of its own
    rows.set_fill_job(tx, batch.id, job.id)


def filled(tx: Tx, job: Job, chosen: Sequence[NewTask]) -> None:
    """The strategy has chosen: open its questions, in place of the project's own about the same images.

    Under the project's lock. Nothing happens if the batch has ended meanwhile.
    """
    batch = rows.lock(tx, BatchId(job.payload["batch_id"]))
    if batch.state not in LIVE or batch.fill_job != job.id:
        return
    rows.release_open(tx, batch.project_id, [task.image_id for task in chosen])
    opened = _ask(tx, projects.get(tx, batch.project_id), batch, None, chosen)
    log.info("batch.filled", batch_id=batch.id, project_id=batch.project_id, strategy=batch.fill, opened=opened)
    if opened:
        rows.set_filled(tx, batch.id)
    else:
        move(tx, batch, _S.FAILED, SYSTEM, error="nothing was left to ask")


def give_up_open(tx: Tx, project_id: ProjectId) -> dict[BatchId, list[NewTask]]:
    """Before a new selection: what nobody holds in batches that selections fill makes room for better questions."""
    return rows.give_up_open(tx, project_id)


def top_up(tx: Tx, project: Project, given_up: Mapping[BatchId, Sequence[NewTask]] = MappingProxyType({})) -> None:
    """Fill the batches that selections fill from the project's queue, the oldest first; under the project's lock.

    A question that moves is asked anew, of as many people as the batch says. What the queue doesn't hold is made up for
    by the best of what was ``given_up``, so that no batch shrinks.
    """
    current = rounds.latest(tx, project.id)
    for batch in rows.kept_full(tx, project.id):
        missing = batch.size - rows.counts(tx, batch.id).images
        if missing <= 0:
            continue
        found = rows.next_open(tx, project.id, missing)
        rows.release_open(tx, project.id, [one.image_id for one in found])
        if len(found) < missing:
            found += rows.unasked(tx, given_up.get(batch.id, ()))[: missing - len(found)]
        if found:
            _ask(tx, project, batch, None if current is None else current.id, found)


# What becomes of it


def begun(tx: Tx, batch_id: BatchId, actor: str) -> None:
    """Its first tasks were handed out."""
    batch = rows.lock(tx, batch_id)
    if batch.state is _S.OPEN:
        move(tx, batch, _S.IN_PROGRESS, actor)


def settle(tx: Tx, batch_id: BatchId) -> Batch:
    """Complete it if all is answered."""
    batch = rows.lock(tx, batch_id)
    if batch.state not in LIVE or rows.any_live(tx, batch.id):
        return batch
    now = rows.counts(tx, batch.id)
    if not _has_all(tx, batch, now):
        return batch
    return move(tx, batch, _S.COMPLETED, SYSTEM, data=asdict(now))


def _has_all(tx: Tx, batch: Batch, now: Counts) -> bool:
    """Whether no more questions will come."""
    if batch.fill != SELECTION:
        return batch.filled_at is not None
    if now.images >= batch.size:
        return True
    # What is left to a finished project is chosen by nobody any more.
    return now.ended > 0 and projects.get(tx, batch.project_id).state is ProjectState.FINISHED


def tend(tx: Tx, batch_id: BatchId) -> bool:
    """Take the next step that is due, as sweepers do: true if another may be. Another sweeper's batch is left to it."""
    batch = rows.lock_if_free(tx, batch_id)
    if batch is None:
        return False
    if batch.state is _S.CANCELLING:
        gone, questions = rows.revoke(tx, batch.id, REVOKED_AT_ONCE)
        for question_id in questions:
            overlap.settle(tx, question_id)
        if gone == REVOKED_AT_ONCE:
            return True
        now, done = rows.counts(tx, batch.id), rows.get(tx, batch.id)
        told = {"answered": now.answered, "revoked": done.revoked, "dropped": done.dropped}
        move(tx, batch, _S.CANCELLED, SYSTEM, data=told)
    elif batch.state in LIVE:
        lost = _lost_fill(tx, batch)
        if lost is not None:
            move(tx, batch, _S.FAILED, SYSTEM, error=lost)
        else:
            settle(tx, batch.id)
    return False


def _lost_fill(tx: Tx, batch: Batch) -> str | None:
    """Why its strategy will never choose; None if it may, or has."""
    if batch.fill_job is None or batch.filled_at is not None:
        return None
    try:
        job = jobs.get(tx, batch.fill_job)
    except NotFound:
        return "the job that was to fill it is gone"
    return (job.error or "the job that was to fill it failed") if job.state is JobState.DEAD else None
