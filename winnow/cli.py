"""The ``winnow`` command."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress, TaskID

from shared import telemetry
from shared.domain import ProjectSettings
from shared.errors import Invalid, WinnowError
from shared.settings import TelemetrySettings
from winnow import (
    arch_commands,
    care_commands,
    dead_commands,
    keys_commands,
    model_commands,
    simulate_commands,
    users_commands,
)
from winnow.target import (
    DEFAULT_DATA,
    DatabaseOption,
    DataOption,
    KeyOption,
    UrlOption,
    client_of,
    database_url,
    opened,
)

if TYPE_CHECKING:
    from winnow.client import Client

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Label large image pools with active learning.",
)
app.add_typer(keys_commands.app, name="keys")
app.add_typer(users_commands.app, name="users")
app.add_typer(dead_commands.app, name="dead")
app.add_typer(model_commands.app, name="models")
care_commands.register(app)
arch_commands.register(app)
simulate_commands.register(app)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

DEFAULTS = ProjectSettings()
_COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


def main() -> None:
    """Entry point: errors meant for people are printed as such, without a traceback."""
    telemetry.configure("winnow", TelemetrySettings(format="console", level="warning"))
    try:
        app()
    except WinnowError as error:
        _fail(str(error))
    except ValidationError as error:  # of settings: the environment is wrong
        _fail("; ".join(f"{'_'.join(map(str, e['loc'])) or error.title}: {e['msg']}" for e in error.errors()))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("shared", "services", "winnow", "benchmarks"):
            raise
        _fail(f"this command needs {error.name}, which is not installed here: see pyproject.toml's extras")


def _fail(message: str) -> NoReturn:
    errors.print(f"winnow: {message}", style="red", markup=False, soft_wrap=True)
    sys.exit(1)


@app.command()
def up(
    data: DataOption = DEFAULT_DATA,
    port: Annotated[int, typer.Option(help="Port of the ui; the api takes the next one.")] = 8080,
) -> None:
    """Run the local stack until Ctrl-C. Nothing else is needed, and nothing is lost when it stops."""
    from winnow.up import run_up

    run_up(data, port, console)


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder or .zip of train/<class>/* and test/<class>/*.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its stack; emptied first.")] = Path("winnow-demo"),
    strategy: Annotated[str, typer.Option(help="The strategy to show beside random.")] = "hybrid",
    initial: Annotated[int, typer.Option(help="Labels of the cold start.")] = 50,
    batch: Annotated[int, typer.Option(help="Labels per round.")] = 50,
    rounds: Annotated[int, typer.Option(help="Trainings.")] = 6,
    seed: int = 0,
    url: Annotated[
        str | None, typer.Option(help="Use the deployment at this address, not a local stack.", envvar="WINNOW_URL")
    ] = None,
    key: Annotated[str | None, typer.Option(help="With --url: a key that may manage.", envvar="WINNOW_API_KEY")] = None,
    user: Annotated[str, typer.Option(help="With --url: who answers; password in WINNOW_ADMIN_PASSWORD.")] = "admin",
) -> None:
    """Run the whole loop on real images, an oracle answering, beside a random baseline."""
    from shared.settings import AdminSettings
    from winnow.demo import DemoOptions, Services
    from winnow.demo import demo as run_demo

    at = None
    if url is not None:
        password = AdminSettings().password
        if key is None or password is None:
            raise Invalid("with --url the demo needs --key and the user's password in WINNOW_ADMIN_PASSWORD(_FILE)")
        at = Services(ui_url=url, api_url=url, api_key=key, username=user, password=password.get_secret_value())
    options = DemoOptions(
        folder=folder, at=at, data=data, strategy=strategy, initial=initial, batch=batch, rounds=rounds, seed=seed
    )
    run_demo(options, console)


@app.command()
def migrate(
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Bring the database to the schema of this version; in a deployment, the services' accounts and first user too."""
    from winnow.installing import install

    for line in install(database_url(database, data)):
        console.print(line, markup=False)


@app.command()
def preflight(folder: Annotated[Path, typer.Argument(help="Folder of secrets, a file each.")]) -> None:
    """Refuse secrets that are missing, weak, or known to everybody."""
    from winnow.preflight import problems

    found = list(problems(folder))
    for problem in found:
        errors.print(f"winnow: {problem}", style="red", markup=False, soft_wrap=True)
    if found:
        raise Invalid("nothing starts: run deploy/make-secrets, which makes what is missing and keeps what is there")
    console.print("every secret will do")


@app.command()
def doctor(
    url: Annotated[
        str | None, typer.Option(help="Where people reach the deployment, to be tried too.", envvar="WINNOW_URL")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Check every connection, version, migration, clock, disk and GPU, and say what to do. Exit code 1 if one fails."""
    from winnow.doctor import examine

    failed = False
    found = []
    with opened(database, data) as system:
        for finding in examine(system, url):
            failed = failed or finding.verdict == "FAIL"
            found.append(asdict(finding))
            if not as_json:
                line = f"{finding.verdict:<5} {finding.about:<9} {finding.found}"
                console.print(line, markup=False, soft_wrap=True, style=_COLOURS[finding.verdict])
                if finding.advice:
                    console.print(f"{'':<15} -> {finding.advice}", markup=False, soft_wrap=True)
    if as_json:
        console.print_json(json.dumps(found))
    if failed:
        sys.exit(1)


@app.command(name="import")
def import_(
    source: Annotated[Path, typer.Argument(help="Folder or .zip: train/<class>/*, test/<class>/*, or just images.")],
    project: Annotated[str, typer.Option(help="Name of the project; made if it isn't there and classes are known.")],
    classes: Annotated[str | None, typer.Option(help="Comma-separated, for a new project.")] = None,
    with_labels: Annotated[bool, typer.Option(help="Import the class folders of train/ as known labels too.")] = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Upload images; test/ becomes the labelled holdout."""
    from winnow.transfer import import_images

    with client_of(url, key, data) as client, Progress(console=console) as progress:
        names = [name.strip() for name in classes.split(",")] if classes else None
        summary = import_images(client, source, project, names, with_labels, progress)
    console.print(
        f"{summary.stored} stored, {summary.duplicates} already there, {len(summary.rejected)} rejected, "
        f"{summary.labels} labels"
    )
    for name, reason in summary.rejected[:20]:
        console.print(f"  rejected {name}: {reason}", markup=False)
    if len(summary.rejected) > 20:
        console.print(f"  and {len(summary.rejected) - 20} more")


@app.command()
def export(
    project: Annotated[str, typer.Argument(help="Name or id of the project.")],
    out: Annotated[Path, typer.Option(help="Folder to write labels.csv and images.zip to.")] = Path(),
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Have the files prepared first: for large pools, as a download that breaks off goes on."
        ),
    ] = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Write the labels with their provenance (CSV) and the labelled images by class (zip)."""
    out.mkdir(parents=True, exist_ok=True)
    with client_of(url, key, data) as client:
        found = client.project(project)
        for form, name in (("csv", "labels.csv"), ("zip", "images.zip")):
            path = out / f"{found['name']}-{name}".replace("/", "_")
            if wait:
                size = _prepared(client, found["id"], form, path)
            else:
                with console.status(f"writing {path}"):
                    size = client.export(found["id"], form, path)
            console.print(f"{path}: {size:,} bytes")


def _prepared(client: Client, project_id: int, form: str, path: Path) -> int:
    """Have an export made, wait for it and download it; returns its bytes."""
    with Progress(console=console) as progress:
        bar = progress.add_task(f"preparing {path}", total=1.0)
        asked = client.prepare_export(project_id, form)
        watch = partial(_advance, progress, bar)
        ready = client.await_export(project_id, asked["id"], watch=watch)
        progress.update(bar, description=f"writing {path}")
        return client.download_export(project_id, ready, path, watch=watch)


def _advance(progress: Progress, bar: TaskID, share: float) -> None:
    progress.update(bar, completed=share)


@app.command()
def requeue(
    project: Annotated[str, typer.Argument(help="Name or id of the project.")],
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Give a project's dead jobs another life."""
    with client_of(url, key, data) as client:
        jobs = client.requeue(client.project(project)["id"])
    console.print(f"{len(jobs)} job(s) queued again")


@app.command()
def cancel(
    project: Annotated[str, typer.Argument(help="Name or id of the project.")],
    job: Annotated[int, typer.Argument(help="Number of the job.")],
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """End a job that waits or runs, such as a training; `winnow requeue` begins it again where it was (not a map)."""
    with client_of(url, key, data) as client:
        ended = client.cancel_job(client.project(project)["id"], job)
    console.print(f"{ended['kind']} job {ended['id']} ended")


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="Which one; `list` shows them.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file.")] = None,
    annotators: Annotated[int | None, typer.Option(help="Of `tasks` and `crowd`: how many label at once.")] = None,
    pool: Annotated[int | None, typer.Option(help="Of `tasks` and `crowd`: how many questions wait.")] = None,
    seconds: Annotated[int | None, typer.Option(help="Of `crowd`: for how long, at each overlap.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Of `annotators`: how many simulations.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Of `annotators`: whose labels, a folder or .zip of train/<class>/*.")
    ] = None,
) -> None:
    """Run a benchmark: its figure beside its limit and its peer, measured in the same run."""
    from winnow.benchmarks import run_benchmark

    given = {"annotators": annotators, "pool": pool, "seconds": seconds, "seeds": seeds, "data": data}
    run_benchmark(name, json_file, console, {key: value for key, value in given.items() if value is not None})


if __name__ == "__main__":
    main()
