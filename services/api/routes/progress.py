"""Where a project stands: rounds, models, jobs, and what was done by whom."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from services.api.auth import Auditor, Manager, Reader
from services.api.parts import CursorQuery, JobPath, LimitQuery, ProjectPath, SystemPart, decode_cursor, encode_cursor
from services.api.problems import errors
from services.api.schemas.progress import (
    Curve,
    EventOut,
    EventPage,
    EvidenceList,
    EvidenceOut,
    JobList,
    JobOut,
    RoundList,
    StateOut,
)
from shared.db import events, jobs, projects
from shared.db import rounds as round_rows
from shared.domain import JobId, JobState, ProjectId
from shared.overview import overview

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["progress"])
JobStateQuery = Annotated[JobState | None, Query(description="Only jobs in this state.")]


@router.get("/state", summary="Where the project stands", responses=errors(404))
def get_state(project_id: ProjectPath, caller: Reader, system: SystemPart) -> StateOut:
    """Counts, the present round, the learning curve and the work under way, all of one moment."""
    with system.database.transaction() as tx:
        return StateOut.whole(overview(tx, ProjectId(project_id)))


@router.get("/rounds", summary="List rounds", responses=errors(404))
def list_rounds(project_id: ProjectPath, caller: Reader, system: SystemPart) -> RoundList:
    """In order. Round 0 is the cold start, before there is a model."""
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        return RoundList.of({"items": round_rows.history(tx, project.id)})


@router.get("/evidence", summary="The evidence of the stopping rules", responses=errors(404))
def list_evidence(project_id: ProjectPath, caller: Reader, system: SystemPart) -> EvidenceList:
    """What was known once the model of each round had scored the pool, in order of rounds: every stopping rule, met or
    not, the confidences, the threshold for automatic labels and the forecast."""
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        found = round_rows.evidence(tx, project.id)
    return EvidenceList(items=[EvidenceOut.whole(one) for one in found])


@router.get("/checkpoints", summary="The learning curve", responses=errors(404))
def list_checkpoints(project_id: ProjectPath, caller: Reader, system: SystemPart) -> Curve:
    """Every model in order of rounds, with its metrics on the holdout."""
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        return Curve.of({"items": round_rows.curve(tx, project.id)})


@router.get("/jobs", summary="List jobs", responses=errors(404))
def list_jobs(
    project_id: ProjectPath, caller: Reader, system: SystemPart, state: JobStateQuery = None, limit: LimitQuery = 50
) -> JobList:
    """The newest first."""
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        return JobList.of({"items": jobs.newest(tx, project_id=project.id, state=state, limit=limit)})


@router.post("/jobs/requeue", summary="Try dead jobs again", responses=errors(404))
def requeue_jobs(project_id: ProjectPath, caller: Manager, system: SystemPart) -> JobList:
    """Gives every dead job of the project another life, and lists them."""
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
    requeued = system.ledger.requeue(project_id=project.id)
    if requeued:
        with system.database.transaction() as tx:
            events.record(tx, project.id, caller.actor, "jobs.requeued", {"jobs": [job.id for job in requeued]})
    return JobList.of({"items": requeued})


@router.post("/jobs/{job_id}/cancel", summary="Cancel a job", responses=errors(404, 409))
def cancel_job(project_id: ProjectPath, job_id: JobPath, caller: Manager, system: SystemPart) -> JobOut:
    """Ends a job that waits or runs, within seconds. It counts as dead, so that requeueing begins it again; a training
    that is requeued goes on from its last written epoch. A map is `cancelled` for good: nothing waits for it."""
    with system.ledger.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        job = system.ledger.cancel(tx, JobId(job_id), project.id, caller.actor)
        events.record(tx, project.id, caller.actor, "job.cancelled", {"job": job.id, "kind": job.kind.value})
    return JobOut.of(job)


@router.get("/events", summary="Who did what", responses=errors(404))
def list_events(
    project_id: ProjectPath, caller: Auditor, system: SystemPart, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> EventPage:
    """The project's audit log, the newest first."""
    before = decode_cursor(cursor)
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        place = {} if before is None else {"before": before}
        found = events.newest(tx, project.id, limit=limit + 1, **place)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return EventPage(items=[EventOut.of(event) for event in found[:limit]], next_cursor=more)
