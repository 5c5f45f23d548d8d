"""``winnow models``: which there are, which is in use, how two compare, what one says, and taking one along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from shared.errors import Invalid
from winnow.target import DEFAULT_DATA, DataOption, KeyOption, UrlOption, client_of

if TYPE_CHECKING:
    from winnow.client import Client

app = typer.Typer(no_args_is_help=True, help="Models: list, compare, promote, roll back, ask, export.")
console = Console(highlight=False)
ProjectArgument = Annotated[str, typer.Argument(help="Name or id of the project.")]
ModelArgument = Annotated[int, typer.Argument(help="Number of the model, as `winnow models list` shows it.")]
FORMATS = ("onnx", "torchscript", "safetensors")
AT_ONCE = 25
"""Files in memory together, in one request."""


@app.command("list")
def list_(
    project: ProjectArgument, data: DataOption = DEFAULT_DATA, url: UrlOption = None, key: KeyOption = None
) -> None:
    """Every model in order of rounds, with its accuracy on the holdout."""
    with client_of(url, key, data) as client:
        models = client.models(client.project(project)["id"])
    used = _in_use(models)
    table = Table("model", "round", "labels", "accuracy", "95% interval", "macro F1", "ECE", "in use")
    for model in models:
        metrics = model["metrics"]
        measured = metrics.get("accuracy") is not None
        figures = (
            (
                f"{metrics['accuracy']:.4f}",
                f"{metrics['accuracy_low']:.3f} to {metrics['accuracy_high']:.3f}",
                f"{metrics['macro_f1']:.4f}",
                f"{metrics['ece']:.3f}",
            )
            if measured
            else ("", "", "", "")
        )
        mark = "yes" if used is not None and model["checkpoint_id"] == used["checkpoint_id"] else ""
        table.add_row(str(model["checkpoint_id"]), str(model["round"]), str(model["labels"]), *figures, mark)
    console.print(table if models else "no model yet")


@app.command()
def promote(
    project: ProjectArgument,
    model: ModelArgument,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Put a model to use: it is exported unless another is named, and kept for good."""
    with client_of(url, key, data) as client:
        client.promote(client.project(project)["id"], model)
    console.print(f"model {model} is in use")


@app.command()
def rollback(
    project: ProjectArgument, data: DataOption = DEFAULT_DATA, url: UrlOption = None, key: KeyOption = None
) -> None:
    """Take the last promotion back."""
    with client_of(url, key, data) as client:
        now = client.roll_back(client.project(project)["id"])["checkpoint_id"]
    console.print("no model is promoted now: the newest one counts" if now is None else f"model {now} is in use")


@app.command()
def compare(
    project: ProjectArgument,
    a: ModelArgument,
    b: ModelArgument,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """What the second model gains over the first on the holdout."""
    with client_of(url, key, data) as client:
        found = client.compare_models(client.project(project)["id"], a, b)
    console.print(found["verdict"])
    if found["accuracy"] is not None:
        console.print(f"accuracy {found['accuracy']:+.4f} ({found['low']:+.3f} to {found['high']:+.3f})")
    table = Table("class", f"model {a}", f"model {b}", "difference")
    for one in found["classes"]:
        table.add_row(
            one["name"], *(("" if v is None else f"{v:.3f}") for v in (one["a"], one["b"], one["difference"]))
        )
    console.print(table)


@app.command()
def predict(
    project: ProjectArgument,
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Pictures; they don't join it.")],
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Ask the model in use about pictures: a line each with the file, its class and the confidence, between tabs.

    A file that can't be read has the reason there, and the command ends with 1.
    """
    failed = 0
    with client_of(url, key, data) as client:
        found = client.project(project)["id"]
        for first in range(0, len(files), AT_ONCE):
            some = files[first : first + AT_ONCE]
            answer = client.predict(found, [(path.name, path.read_bytes()) for path in some])
            failed += answer["failed"]
            for path, said in zip(some, answer["results"], strict=True):
                confidence = said["error"] if said["class"] is None else f"{said['confidence']:.4f}"
                typer.echo(f"{path}\t{said['class'] or ''}\t{confidence}")
    if failed:
        raise typer.Exit(1)


@app.command()
def export(
    project: ProjectArgument,
    out: Annotated[Path, typer.Option(help="File to write.")],
    model: Annotated[
        int | None, typer.Option(help="Number of the model; none: the one in use, else the newest.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}.")] = "onnx",
    weights: Annotated[Path | None, typer.Option(help="File of the weights under a head.")] = None,
    weights_dir: Annotated[Path | None, typer.Option(envvar="WINNOW_WEIGHTS_DIR")] = None,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Write a model for use elsewhere, from pixels to calibrated probabilities. Needs PyTorch here, but no GPU."""
    if form not in FORMATS:
        raise Invalid(f"there is no format {form!r}; there are {', '.join(FORMATS)}")
    with client_of(url, key, data) as client:
        found = client.project(project)["id"]
        number = model if model is not None else _chosen(client, found)
        manifest = json.loads(client.model_file(found, number, "checkpoint.json"))
        body = client.model_file(found, number, "model.safetensors")
    written = body if form == "safetensors" else _converted(body, manifest, form, weights, weights_dir)
    out.write_bytes(written)
    console.print(f"{out}: model {number} as {form}, {len(written):,} bytes")
    if form == "safetensors":
        beside = out.with_suffix(".json")
        beside.write_text(json.dumps(manifest, indent=1))
        console.print(f"{beside}: what its tensors mean")


def _in_use(models: list[dict[str, Any]]) -> dict[str, Any] | None:
    promoted = [model for model in models if model["promoted_at"]]
    return max(promoted, key=lambda model: str(model["promoted_at"])) if promoted else None


def _chosen(client: Client, project: int) -> int:
    models = client.models(project)
    if not models:
        raise Invalid("the project has no model yet: it comes with the first round of training")
    return int((_in_use(models) or models[-1])["checkpoint_id"])


def _converted(
    body: bytes, manifest: dict[str, Any], form: str, weights: Path | None, weights_dir: Path | None
) -> bytes:
    from shared.learning import archs, backbones
    from shared.learning.checkpoints import from_bytes
    from shared.learning.export import export as write
    from shared.weights import find_weights

    backbone = None
    if manifest["backbone"] is not None:
        arch = manifest["arch"]
        found = find_weights(arch, url=archs.info(arch).weights_url, weights_dir=weights_dir, explicit=weights)
        backbone = backbones.load(arch, found)
    model = from_bytes(body, manifest, expected_sha256=manifest["sha256"], backbone=backbone)
    return write(model, form, [one["name"] for one in manifest["classes"]])
