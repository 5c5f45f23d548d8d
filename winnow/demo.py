"""``winnow demo``: the whole loop on real images, over the four real services, next to a random baseline.

Two projects on the same images run side by side, one with the strategy to show and one that selects at random; the
test images are their holdout. An oracle answers over the HTTP interface that annotators use. The services are those
of a local stack, started for the demo, or those of a deployment that runs already.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from shared.errors import Invalid, Permanent
from winnow.client import Client
from winnow.datasets import Dataset, Item, open_dataset, write_digits
from winnow.oracle import Oracle

_UPLOAD_AT_ONCE = 200
_POLL_S = 1.0
_STALLED_S = 600.0
_MARK = ".winnow-demo"  # only a folder that a demo made is ever emptied


@dataclass(frozen=True, kw_only=True)
class Services:
    """Where the services are, and what opens them. The key needs the scope ``manage``."""

    ui_url: str
    api_url: str
    api_key: str
    username: str
    password: str


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """``data`` None: scikit-learn's bundled handwritten digits. ``folder`` is emptied first, if a demo made it.

    ``at``: the services to use; None: those of a stack made in ``folder``.
    """

    folder: Path
    at: Services | None = None
    data: Path | None = None
    strategy: str = "hybrid"
    initial: int = 50
    batch: int = 50
    rounds: int = 6
    seed: int = 0

    @property
    def budget(self) -> int:
        return self.initial + self.batch * (self.rounds - 1)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One of the two projects, its oracle, and how far it got."""

    project_id: int
    oracle: Oracle


def demo(options: DemoOptions, console: Console) -> None:
    """Run it, printing a row per round. Raises ``Permanent`` if the loop did not do what it should."""
    _fresh_folder(options.folder)
    source = options.data or write_digits(options.folder / "digits", seed=options.seed)
    with (
        open_dataset(source) as dataset,
        _services(options) as (services, tend),
        Client(services.api_url, services.api_key) as client,
    ):
        password = "" if options.at else f", password {services.password}"
        console.print(f"Watch it at [bold]{services.ui_url}[/] (user {services.username}{password})", soft_wrap=True)
        started = time.monotonic()
        truth = _truth(dataset)
        stamp = f"-{time.strftime('%H%M%S')}" if options.at else ""  # a deployment may have had a demo before
        names = {options.strategy: f"demo-{options.strategy}{stamp}", "random": f"demo-random{stamp}"}
        runs = {
            strategy: _begin(client, services, dataset, truth, name, strategy, options, console)
            for strategy, name in names.items()
        }
        _follow(client, tend, runs, options, console)
        _verify(client, runs, options)
        _conclude(client, runs, options, time.monotonic() - started, console)


@contextmanager
def _services(options: DemoOptions) -> Iterator[tuple[Services, Callable[[], None]]]:
    """The services, and what to call now and then while they work. Raises ``Permanent`` if one of them dies."""
    if options.at is not None:
        yield options.at, lambda: None
        return
    from winnow.local import free_port, local_stack

    died: list[str] = []

    with local_stack(options.folder / "stack", free_port(), lambda name, code: died.append(name)) as (stack, processes):

        def tend() -> None:
            processes.tend()
            if died:
                raise Permanent(f"services died on the way: {', '.join(died)}; see {options.folder / 'stack' / 'logs'}")

        services = Services(
            ui_url=stack.ui_url,
            api_url=stack.api_url,
            api_key=stack.api_key,
            username=stack.username,
            password=stack.password,
        )
        yield services, tend


def _fresh_folder(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise Invalid(f"{folder} is not empty and no demo made it; choose another folder with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()


def _image_settings(dataset: Dataset) -> dict[str, int]:
    """What the model should see of such images: their size up to 64 pixels, and colour where there is any."""
    sample = [Image.open(io.BytesIO(dataset.read(item))) for item in dataset.train[:: max(1, len(dataset.train) // 20)]]
    side = statistics.median(max(image.size) for image in sample)
    size = next((s for s in (16, 32) if side <= s), 64)
    return {"image_size": size, "channels": 1 if all(image.mode == "L" for image in sample) else 3}


def _truth(dataset: Dataset) -> dict[str, str]:
    """Class name by digest of the image. Raises ``Invalid`` for an image that is in two classes."""
    truth: dict[str, str] = {}
    for item in (*dataset.train, *dataset.test):
        digest = hashlib.sha256(dataset.read(item)).hexdigest()
        name = dataset.classes[item.label]
        if truth.setdefault(digest, name) != name:
            raise Invalid(f"{item.path} is in two classes, {truth[digest]} and {name}")
    return truth


def _begin(
    client: Client,
    services: Services,
    dataset: Dataset,
    truth: Mapping[str, str],
    name: str,
    strategy: str,
    options: DemoOptions,
    console: Console,
) -> _Run:
    """A project with the images uploaded, the holdout's labels known, started, and its oracle at work."""
    settings = {
        "strategy": strategy,
        "mode": "strict",
        "initial": options.initial,
        "batch_size": options.batch,
        "label_budget": options.budget,
        "seed": options.seed,
        **_image_settings(dataset),
    }
    project = client.create_project(name, dataset.classes, settings)["id"]
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task(f"{name}: uploading", total=len(dataset.train) + len(dataset.test))
        for split, items in (("holdout", dataset.test), ("pool", dataset.train)):
            for batch in _batches(items):
                files = [(item.path, dataset.read(item)) for item in batch]
                results = client.upload(project, files, split)["results"]
                if split == "holdout":
                    client.import_labels(
                        project, [{"sha256": r["sha256"], "class": truth[r["sha256"]]} for r in results]
                    )
                progress.advance(bar, len(batch))
    client.start(project)
    oracle = Oracle(services.ui_url, services.username, services.password, project, truth)
    oracle.in_thread(lambda: False)
    return _Run(project_id=project, oracle=oracle)


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for first in range(0, len(items), _UPLOAD_AT_ONCE):
        yield items[first : first + _UPLOAD_AT_ONCE]


def _follow(
    client: Client, tend: Callable[[], None], runs: Mapping[str, _Run], options: DemoOptions, console: Console
) -> None:
    """Print each round when both projects have its model; return when both are finished."""
    console.print(f"{'round':>5}  {'labels':>6}  {options.strategy:>10}  {'random':>10}   accuracy on the holdout")
    shown, last_change = 0, time.monotonic()
    while True:
        tend()
        states = {name: client.state(run.project_id) for name, run in runs.items()}
        for name, state in states.items():
            if state["dead_jobs"]:
                raise Permanent(f"{name}: {state['dead_jobs'][0]['error']}")
        curves = {name: state["curve"] for name, state in states.items()}
        ready = min(len(curve) for curve in curves.values())
        for at in range(shown, ready):
            ours, base = curves[options.strategy][at], curves["random"][at]
            console.print(
                f"{ours['round']:>5}  {ours['labels']:>6}  {ours['metrics']['accuracy']:>10.3f}  "
                f"{base['metrics']['accuracy']:>10.3f}"
            )
            shown, last_change = at + 1, time.monotonic()
        if all(state["project"]["state"] == "finished" for state in states.values()):
            return
        if time.monotonic() - last_change > _STALLED_S:
            logs = "of the services" if options.at else f"in {options.folder / 'stack' / 'logs'}"
            raise Permanent(f"nothing happened for {_STALLED_S:.0f} s; see the logs {logs}")
        time.sleep(_POLL_S)


def _verify(client: Client, runs: Mapping[str, _Run], options: DemoOptions) -> None:
    """Every answer that the server confirmed is a label, and there is a model for every round."""
    for name, run in runs.items():
        state = client.state(run.project_id)
        if state["labels"]["human"] != run.oracle.answered:
            raise Permanent(f"{name}: {run.oracle.answered} answers but {state['labels']['human']} labels")
        if len(state["curve"]) != options.rounds:
            raise Permanent(f"{name}: {len(state['curve'])} rounds instead of {options.rounds}")
        first, last = (state["curve"][at]["metrics"]["accuracy"] for at in (0, -1))
        if not last > first:
            raise Permanent(f"{name}: nothing was learnt, accuracy went from {first:.3f} to {last:.3f}")


def _conclude(client: Client, runs: Mapping[str, _Run], options: DemoOptions, seconds: float, console: Console) -> None:
    finals: dict[str, Mapping[str, Any]] = {}
    for name, run in runs.items():
        finals[name] = client.state(run.project_id)["curve"][-1]["metrics"]
    table = Table(title="At the end, on the holdout")
    for column in ("strategy", "labels", "accuracy", "95% interval", "macro F1"):
        table.add_column(column, justify="left" if column == "strategy" else "right")
    for name, metrics in finals.items():
        interval = f"{metrics['accuracy_low']:.3f} to {metrics['accuracy_high']:.3f}"
        table.add_row(
            name, str(metrics["labels"]), f"{metrics['accuracy']:.3f}", interval, f"{metrics['macro_f1']:.3f}"
        )
    console.print(table)
    if options.at is None:
        console.print(f"Look at it again: [bold]winnow up --data {options.folder / 'stack'}[/]")
    ours, base = finals[options.strategy]["accuracy"], finals["random"]["accuracy"]
    console.print(
        f"demo ok: accuracy {ours:.3f} with {options.strategy}, {base:.3f} at random, "
        f"{options.budget} labels, {options.rounds} rounds, {seconds:.0f} s",
        soft_wrap=True,
    )
