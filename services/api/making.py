"""Making exports: the one kind of job that an api does.

It is here because the api may read all that goes into an export (images, labels, the names of those who answered) and
needs no torch for it. It waits for the database and the store most of the time, and makes one export at once.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared import exports
from shared.db import exports as rows
from shared.db.exports import Contents
from shared.db.pool import Database, Tx
from shared.domain import Job, JobKind
from shared.errors import NotFound, Permanent
from shared.exporting import Exporter, Taken
from shared.store.base import Store, export_prefix
from shared.store.pieces import PIECE, save
from shared.worker import JobContext, Publish


class ExportHandler:
    """Writes an export in pieces under a prefix of its attempt's own, then offers it. ``keep_s``: for how long."""

    kind = JobKind.EXPORT
    long = True

    def __init__(self, database: Database, store: Store, *, keep_s: float) -> None:
        self._database = database
        self._store = store
        self._keep_s = keep_s

    def run(self, job: Job, context: JobContext) -> Publish:
        with self._database.transaction() as tx:
            asked = rows.of_job(tx, job)

        def watch(read: int) -> None:
            context.check()
            context.report(0.0, images=read)

        prefix = export_prefix(job.project_id, job.id, job.fence)
        try:
            taken = Exporter(self._database, self._store).take(job.project_id, asked.form, watch=watch)
            stored = save(self._store, prefix, _watched(taken, context), PIECE)
        except NotFound as error:  # it won't come back by itself: half an export would pass for a whole one
            raise Permanent(f"something that belongs in the export is lost: {error}") from error
        contents = Contents(
            moment=taken.moment,
            images=taken.images,
            labels=taken.labels,
            key=prefix,
            piece_bytes=PIECE,
            bytes=stored.bytes,
            sha256=stored.sha256,
        )

        def publish(tx: Tx) -> None:
            exports.finish(tx, job, contents, keep_s=self._keep_s)

        return publish


def _watched(taken: Taken, context: JobContext) -> Iterator[bytes]:
    written = 0
    for chunk in taken.body:
        context.check()
        written += len(chunk)
        context.report(min(written / max(taken.size, 1), 1.0), images=taken.images, bytes=written)
        yield chunk
