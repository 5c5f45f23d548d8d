"""``winnow dead``: work that was given up, and messages that nobody could read."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from shared.errors import Invalid
from winnow.target import DEFAULT_DATA, DatabaseOption, DataOption, opened, transaction

app = typer.Typer(no_args_is_help=True, help="Dead jobs and dead-lettered messages: look, try again, drop.")
console = Console(highlight=False)
JobArgument = Annotated[int, typer.Argument(help="As `winnow dead list` shows it.")]


@app.command("list")
def list_(database: DatabaseOption = None, data: DataOption = DEFAULT_DATA) -> None:
    """Jobs that failed for good. Their project stands still until they are tried again."""
    from shared.db import jobs
    from shared.domain import JobState

    with transaction(database, data) as tx:
        dead = jobs.newest(tx, state=JobState.DEAD, limit=200)
    table = Table("job", "kind", "project", "attempts", "asked for", "error")
    for job in dead:
        error = (job.error or "").splitlines()[0][:120] if job.error else ""
        asked = f"{job.created_at:%Y-%m-%d %H:%M}"
        table.add_row(str(job.id), job.kind.value, str(job.project_id), str(job.attempts), asked, error)
    console.print(table if dead else "no dead jobs")


@app.command()
def show(job: JobArgument, database: DatabaseOption = None, data: DataOption = DEFAULT_DATA) -> None:
    """All that is known of a job, its whole error last."""
    from shared.db import jobs
    from shared.domain import JobId

    with transaction(database, data) as tx:
        found = jobs.get(tx, JobId(job))
    for name in (
        "id",
        "kind",
        "project_id",
        "round_id",
        "state",
        "attempts",
        "worker",
        "trace_id",
        "payload",
        "detail",
    ):
        console.print(f"{name:>10}  {getattr(found, name)}", markup=False)
    console.print(found.error or "no error", markup=False)


@app.command()
def requeue(
    job: Annotated[int | None, typer.Argument(help="One job; or say --project or --all.")] = None,
    project: Annotated[int | None, typer.Option(help="Id of the project whose dead jobs to try again.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those of all projects.")] = False,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Try dead jobs again, with all their attempts before them."""
    from shared.db import events
    from shared.domain import JobId, ProjectId

    if (job is not None) + (project is not None) + every != 1:
        raise Invalid("say which: the number of a job, or --project N, or --all")
    with opened(database, data) as system:
        jobs = system.ledger.requeue(
            job_id=None if job is None else JobId(job), project_id=None if project is None else ProjectId(project)
        )
        with system.database.transaction() as tx:
            for each in jobs:
                events.record(tx, each.project_id, "system", "jobs.requeued", {"jobs": [each.id]})
    console.print(f"{len(jobs)} job(s) queued again")


@app.command()
def messages(
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Messages that no worker could read, or that went round too often. The ledger needs none of them."""
    with opened(database, data) as system:
        bodies = system.bus.dead(limit)
    for body in bodies:
        console.print(repr(body[:500]), markup=False)
    console.print(f"{len(bodies)} message(s)" + (", and there may be more" if len(bodies) == limit else ""))


@app.command("purge-messages")
def purge_messages(database: DatabaseOption = None, data: DataOption = DEFAULT_DATA) -> None:
    """Drop them. No work is lost: a wake-up that is still needed is sent again."""
    with opened(database, data) as system:
        console.print(f"{system.bus.purge_dead()} message(s) dropped")
