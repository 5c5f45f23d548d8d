"""Exports as work: asked for here, made by an api, and kept for a while to be downloaded by as many as like.

A download that is streamed while it is made ends with its connection. This one is a job on the ledger: its file lies in
the store in pieces, and is offered only once it is whole; who loses the connection goes on where it broke off. It is a
frozen version of the labels: its moment, counts and digest stay on record when the file is deleted.
"""

from __future__ import annotations

import uuid
from typing import Any

from shared.db import events, projects
from shared.db import exports as rows
from shared.db.exports import Contents, Export, ExportForm, ExportId, ExportState
from shared.db.pool import Tx
from shared.domain import Job, JobKind, NewJob, ProjectId
from shared.errors import Conflict, NotFound, StaleFence
from shared.jobs import Ledger
from shared.webhooks import EventType, emit

SYSTEM = "system"
MOST_KEPT = 50
"""Exports that a project has at once: each may be as large as its images."""


def ask(tx: Tx, ledger: Ledger, project_id: ProjectId, form: ExportForm, actor: str) -> Export:
    """Have an export made. Asking again before anybody has begun with it is asking once.

    Raises ``NotFound`` for a project that isn't there, ``Conflict`` if it has ``MOST_KEPT`` exports.
    """
    project = projects.lock(tx, project_id)
    waiting = rows.waiting(tx, project.id, form, actor)
    if waiting is not None:
        return waiting
    if rows.count_kept(tx, project.id) >= MOST_KEPT:
        raise Conflict(f"there are {MOST_KEPT} exports of this project: delete one that is not needed any more")
    new = NewJob(kind=JobKind.EXPORT, project_id=project.id, unique_key=f"export:{uuid.uuid4().hex}")
    job = ledger.enqueue(tx, new)
    assert job is not None  # the key is new
    made = rows.add(tx, project.id, job.id, form, actor)
    events.record(tx, project.id, actor, "export.asked", {"export": made.id, "form": form.value})
    return made


def finish(tx: Tx, job: Job, contents: Contents, *, keep_s: float) -> Export:
    """Offer the file that a job has made, and tell who wants to be told. Raises ``StaleFence`` if it was deleted."""
    made = rows.finish(tx, job, contents, keep_s=keep_s)
    if made is None:
        raise StaleFence(f"the export of job {job.id} was deleted")
    data = {"export": made.id, "form": made.form.value, "images": contents.images, "labels": contents.labels}
    events.record(tx, made.project_id, SYSTEM, "export.ready", data)
    emit(tx, made.project_id, EventType.EXPORT_READY, told(made))
    return made


def told(made: Export) -> dict[str, Any]:
    """A finished export, for those who want to be told. Its file is where ``file`` says until ``expires_at``."""
    held = made.contents
    assert held is not None and made.expires_at is not None  # it is finished
    return {
        "export_id": made.id,
        "format": made.form.value,
        "moment": held.moment.isoformat(),
        "images": held.images,
        "labels": held.labels,
        "bytes": held.bytes,
        "sha256": held.sha256,
        "expires_at": made.expires_at.isoformat(),
        "file": f"/v1/projects/{made.project_id}/exports/{made.id}/file",
    }


def delete(tx: Tx, ledger: Ledger, project_id: ProjectId, export_id: ExportId, actor: str) -> None:
    """Nobody downloads it any more; retention frees its space. One that is not made yet never will be.

    Raises ``NotFound`` for one that isn't the project's, or was deleted before.
    """
    one = offered(tx, project_id, export_id)
    ledger.withdraw(tx, one.job_id)  # the job's row before the export's, as its worker has them at the end
    if not rows.retire(tx, one.id):
        return  # somebody else, this very moment
    events.record(tx, project_id, actor, "export.deleted", {"export": one.id})


def offered(tx: Tx, project_id: ProjectId, export_id: ExportId) -> Export:
    """An export that is not deleted. Raises ``NotFound``."""
    one = rows.get(tx, export_id, project_id)
    if one.state is ExportState.DELETED:
        raise NotFound(f"the file of export {export_id} is deleted")
    return one


def downloadable(tx: Tx, project_id: ProjectId, export_id: ExportId) -> Export:
    """One whose file is there. Raises ``NotFound``, and ``Conflict`` while it is being made or if it failed."""
    one = offered(tx, project_id, export_id)
    if one.state is ExportState.FAILED:
        raise Conflict(f"export {export_id} failed: {one.error}")
    if one.state is not ExportState.READY:
        raise Conflict(f"export {export_id} is still being prepared")
    return one
