"""Where a project stands, kept for a moment.

Dozens of open pages ask every two seconds, and every lease asks too, while counting a large project takes a while: so
one count serves all who ask within ``FRESH_S``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from shared.db import images, jobs, labels, rounds, tasks
from shared.db.pool import Database, Tx
from shared.domain import Job, JobKind, JobState, ProjectId, ProjectSettings, Round, RoundMode, RoundState, ShardState
from shared.overview import Overview, overview

FRESH_S = 1.0
_SLOW_S, _TIMES = 0.2, 5
"""A count that took longer is kept for so many times what it took: of a million images it takes a second."""
_TOLD_FROM, _TOLD_AFTER_S = 0.05, 3.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the present step of the round is: ``done`` of ``total`` in ``unit``, or a share where that is all."""

    share: float
    """0 to 1."""
    done: int | None = None
    total: int | None = None
    unit: str | None = None
    left_s: float | None = None
    """Seconds that it will take at the pace so far; None where that can't be told yet."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """``progress`` is None where there is nothing to measure. ``queued`` jobs wait for a worker."""

    overview: Overview
    history: Sequence[Round]
    progress: Progress | None
    queued: int


class Standings:
    """Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[ProjectId, tuple[float, Standing]] = {}
        self._locks: dict[ProjectId, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, project_id: ProjectId) -> Standing:
        """At most ``FRESH_S`` old, or five times what a slow count took. Raises ``NotFound``."""
        with self._guard:
            lock = self._locks.setdefault(project_id, threading.Lock())
        with lock:  # who asks meanwhile waits for the one count
            until, standing = self._kept.get(project_id, (0.0, None))
            began = time.monotonic()
            if standing is None or began >= until:
                with self._database.transaction() as tx:
                    standing = _read(tx, project_id)
                ended = time.monotonic()
                took = ended - began
                self._kept[project_id] = (ended + (_TIMES * took if took > _SLOW_S else FRESH_S), standing)
            return standing

    def forget(self, project_id: ProjectId) -> None:
        """Something was changed here just now: the next to ask sees it."""
        self._kept.pop(project_id, None)


def _read(tx: Tx, project_id: ProjectId) -> Standing:
    now = overview(tx, project_id)
    waiting = jobs.count_by_state(tx, project_id)
    return Standing(
        overview=now,
        history=rounds.history(tx, project_id),
        progress=_progress(tx, now),
        queued=sum(count for (_, state), count in waiting.items() if state is JobState.QUEUED),
    )


def _progress(tx: Tx, now: Overview) -> Progress | None:
    current = now.round
    if current is None:
        total = len(images.shards(tx, now.project.id))
        return _counted(total - now.shards_waiting, total, "shards")
    if current.state is RoundState.TRAINING or current.state is RoundState.SELECTING:
        kind = JobKind.TRAIN if current.state is RoundState.TRAINING else JobKind.SELECT
        return next((_under_way(tx, job) for job in now.active_jobs if job.kind is kind), None)
    if current.state is RoundState.SCORING:
        total = len(images.shards(tx, now.project.id, ShardState.EMBEDDED))
        return _counted(total - jobs.unfinished(tx, current.id, JobKind.SCORE), total, "shards")
    if current.state is RoundState.LABELLING:
        return _labelled(tx, now, current)
    return None


def _under_way(tx: Tx, job: Job) -> Progress:
    ran = jobs.running_s(tx, job.id) or 0.0
    told = job.progress >= _TOLD_FROM and ran >= _TOLD_AFTER_S
    return Progress(share=job.progress, left_s=ran * (1 / job.progress - 1) if told else None)


def _labelled(tx: Tx, now: Overview, current: Round) -> Progress | None:
    """Answers of this round. Round 0 asks for the holdout, too, and what is asked for must not show which is which."""
    settings, first = now.project.settings, current.number == 0
    live = now.tasks.open + now.tasks.leased
    if counted_by_answers(settings):
        answered = tasks.answered_since(tx, now.project.id, current.labels_at)
        return _counted(answered, answered + live, "labels")
    wanted = settings.initial if first else settings.batch_size
    new = labels.count_new(tx, now.project.id, current.labels_at, wanted + live)
    done = now.labels.human if first else new
    if settings.mode is RoundMode.STRICT or now.project.labelling_rest:
        return _counted(done, done + live, "labels")
    unmeasured = now.images.holdout - now.labels.holdout if first else 0
    return _counted(done, done + min(max(0, wanted - new) + unmeasured, live), "labels")


def counted_by_answers(settings: ProjectSettings) -> bool:
    """Whether annotators are shown a count of answers: where some give no label, one of labels would tell which."""
    return settings.gold_rate > 0 or settings.overlap > 1


def _counted(done: int, total: int, unit: str) -> Progress | None:
    if total <= 0:
        return None
    done = max(0, min(done, total))
    return Progress(share=done / total, done=done, total=total, unit=unit)
