"""Deletes what was computed and is of no more use: old scores and models, trainings that came to nothing, packs in a
form that the project has left, predictions that callers have long had, files of old exports, the log of old webhooks.
Never an image, a view of one, or a label.

The order makes a crash harmless. First the row is marked, so that nobody begins to use what is about to go; then the
objects go; then the row says that they are gone. A process that dies between leaves a marked row, and the next run goes
on there. Each batch is deleted under the lock that backups hold, so a run does nothing while a backup is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

from shared.db import exports, locks, projects, webhooks
from shared.db import retention as rows
from shared.db.pool import Database, Tx
from shared.db.retention import Part, Spent
from shared.domain import JobId, Project, ProjectId
from shared.settings import RetentionSettings
from shared.store.base import Entry, Store, attempts_of, exports_of, predictions_of, scores_of, shards_of, trainings_of
from shared.telemetry import logger

log = logger(__name__)
BATCH = 200
"""Objects deleted while the lock is held once: some seconds of a slow store."""
_PAGE = 200
_MOST_ROWS = 10_000
"""Rows that a run deletes, of predictions and of webhooks each."""
_DERIVED = re.compile(
    r"projects/\d+/(scores/\d+/\d+/[^/]+|checkpoints/\d+-\d+/[^/]+|shards/\d+/(pixels|features)-[^/]+"
    r"|trainings/\d+/[^/]+|predictions/[0-9a-f]{32}/[^/]+|exports/\d+-\d+/\d+)"
)
"""Whatever else goes wrong, a key of another form is never deleted."""
_ATTEMPT = re.compile(r"(projects/\d+/checkpoints/(\d+)-\d+/)[^/]+")
_EXPORT = re.compile(r"(projects/\d+/exports/(\d+)-(\d+)/)\d+")
_TRAINING = re.compile(r"(projects/\d+/trainings/(\d+)/)[^/]+")


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """Objects that were deleted, or would be: ``what`` for people, ``size`` in bytes."""

    project_id: ProjectId
    what: str
    objects: int
    size: int


@dataclass(frozen=True, kw_only=True)
class _Heap:
    """Surplus of one kind. ``surplus`` finds its objects anew for every batch; ``done`` is told that none is left."""

    project_id: ProjectId
    what: str
    surplus: Callable[[Tx], Iterator[Entry]]
    done: Callable[[Tx], None] | None = None


class Retention:
    """See the module. Thread-safe: the lock in the database lets one at a time delete."""

    def __init__(self, database: Database, store: Store, settings: RetentionSettings) -> None:
        self._database = database
        self._store = store
        self._keep = {Part.SCORES: settings.scores, Part.WEIGHTS: settings.weights}
        self._keep_predictions_s = settings.predictions_s
        self._keep_webhooks_s = settings.webhooks_s
        self._keep_exports_s = settings.exports_s
        self.every_s = settings.every_s
        """Seconds between two runs of a sweeper."""

    def prune(self) -> Iterator[Pruned]:
        """Delete what is surplus, batch by batch; each step of the iterator deletes at most ``BATCH`` objects.

        Ends at once if a backup is being made. Raises what the database and the store raise.
        """
        if not self._retire():
            log.info("retention.waits", reason="a backup is being made, or another process is deleting")
            return
        for heap in self._heaps(dry_run=False):
            yield from self._delete(heap)

    def surplus(self) -> Iterator[Pruned]:
        """What ``prune`` would delete now. Changes nothing."""
        for heap in self._heaps(dry_run=True):
            with self._database.transaction() as tx:
                entries = list(heap.surplus(tx))
            if entries:
                yield _pruned(heap, entries)

    def _retire(self) -> bool:
        """Mark what is surplus; False if that has to wait."""
        with self._database.transaction() as tx:
            if not locks.may_delete(tx):
                return False
            for part, keep in self._keep.items():
                rows.retire(tx, part, [spent.id for spent in rows.surplus(tx, part, keep)])
            rows.delete_predictions(tx, keep_s=self._keep_predictions_s, most=_MOST_ROWS)
            exports.retire_old(tx, keep_s=self._keep_exports_s)
            webhooks.delete_old(tx, keep_s=self._keep_webhooks_s, most=_MOST_ROWS)
        return True

    def _delete(self, heap: _Heap) -> Iterator[Pruned]:
        more = True
        while more:
            with self._database.transaction() as tx:
                if not locks.may_delete(tx):
                    return
                batch = list(islice(heap.surplus(tx), BATCH))
                for entry in batch:
                    self._store.delete(entry.key)
                more = len(batch) == BATCH
                if heap.done is not None and not more:
                    heap.done(tx)
            if batch:
                pruned = _pruned(heap, batch)
                log.info(
                    "retention.pruned",
                    project_id=heap.project_id,
                    what=heap.what,
                    objects=pruned.objects,
                    bytes=pruned.size,
                )
                yield pruned

    def _heaps(self, *, dry_run: bool) -> Iterator[_Heap]:
        for part, keep in self._keep.items():
            with self._database.transaction() as tx:
                spent = rows.retired(tx, part) + (rows.surplus(tx, part, keep) if dry_run else [])
            yield from (self._checkpoint_heap(part, one) for one in spent)
        for project in self._projects():
            for what, prefix, form in (
                ("trainings without a checkpoint", attempts_of(project.id), _ATTEMPT),
                ("notes of trainings that ended", trainings_of(project.id), _TRAINING),
            ):
                surplus = partial(self._ended_attempts, prefix=prefix, form=form)
                yield _Heap(project_id=project.id, what=what, surplus=surplus)
            yield _Heap(
                project_id=project.id,
                what="packs of another form",
                surplus=partial(self._other_packs, project_id=project.id),
            )
            yield _Heap(
                project_id=project.id,
                what="predictions of long ago",
                surplus=partial(self._old_predictions, project_id=project.id),
            )
            yield _Heap(
                project_id=project.id,
                what="files of exports",
                surplus=partial(self._old_exports, project_id=project.id),
            )

    def _checkpoint_heap(self, part: Part, spent: Spent) -> _Heap:
        prefix = spent.key if part is Part.WEIGHTS else scores_of(spent.project_id, spent.id)
        return _Heap(
            project_id=spent.project_id,
            what=f"{part.value} of checkpoint {spent.id}",
            surplus=lambda tx: self._derived(prefix),
            done=partial(rows.mark_deleted, part=part, checkpoint=spent.id),
        )

    def _ended_attempts(self, tx: Tx, prefix: str, form: re.Pattern[str]) -> Iterator[Entry]:
        """Objects of trainings that ended: lost to another worker, or moved on without by the round, or done."""
        entries = list(self._derived(prefix))
        attempts: Mapping[str, JobId] = {
            match[1]: JobId(int(match[2])) for entry in entries if (match := form.fullmatch(entry.key))
        }
        ended = rows.ended_attempts(tx, attempts) if attempts else set()
        return (entry for entry in entries if entry.key.rpartition("/")[0] + "/" in ended)

    def _other_packs(self, tx: Tx, project_id: ProjectId) -> Iterator[Entry]:
        """Pixels and features in a form that the settings don't name; none while anything is at work."""
        settings = projects.get(tx, project_id).settings
        if not rows.at_rest(tx, project_id):
            return
        features = f"features-{settings.features_variant}"
        named = {f"pixels-{settings.pixels_variant}.npy", f"{features}.npy", f"{features}.json"}
        for entry in self._derived(shards_of(project_id)):
            if entry.key.rpartition("/")[2] not in named:
                yield entry

    def _old_predictions(self, tx: Tx, project_id: ProjectId) -> Iterator[Entry]:
        """Results, and pictures that were left: of requests that nobody got to ask, or whose job failed."""
        before, under_way = rows.old_predictions(tx, project_id, keep_s=self._keep_predictions_s)
        for entry in self._derived(predictions_of(project_id)):
            if entry.modified < before and entry.key.split("/")[3] not in under_way:
                yield entry

    def _old_exports(self, tx: Tx, project_id: ProjectId) -> Iterator[Entry]:
        """Pieces of exports that were deleted or whose time is over, and of attempts that nothing came of."""
        entries = list(self._derived(exports_of(project_id)))
        matches = [match for entry in entries if (match := _EXPORT.fullmatch(entry.key))]
        attempts = {match[1]: (JobId(int(match[2])), int(match[3])) for match in matches}
        spent = exports.surplus(tx, [(key, *attempt) for key, attempt in attempts.items()])
        return (entry for entry in entries if entry.key.rpartition("/")[0] + "/" in spent)

    def _derived(self, prefix: str) -> Iterator[Entry]:
        return (entry for entry in self._store.entries(prefix) if _DERIVED.fullmatch(entry.key))

    def _projects(self) -> Iterator[Project]:
        last = 0
        while True:
            with self._database.transaction() as tx:
                found = projects.page(tx, after=last, limit=_PAGE)
            yield from found
            if len(found) < _PAGE:
                return
            last = found[-1].id


def _pruned(heap: _Heap, entries: list[Entry]) -> Pruned:
    return Pruned(
        project_id=heap.project_id,
        what=heap.what,
        objects=len(entries),
        size=sum(entry.size for entry in entries),
    )
