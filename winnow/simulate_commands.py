"""``winnow simulate``, ``compare`` and ``tune``: strategies measured on labelled images, before people label any."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from shared.domain import ProjectSettings
from shared.errors import Invalid, Permanent

if TYPE_CHECKING:
    from winnow.compare import Compared, Progress
    from winnow.runs import Failed
    from winnow.tune import Tuned

_FIGURES, _OTHER_COLUMNS = 12, 40
"""Widths in characters: a column of figures, and all that is beside those."""
Number = TypeVar("Number", int, float)
console = Console(highlight=False)
_DEFAULTS = ProjectSettings()
DataArgument = Annotated[Path, typer.Argument(help="Folder or .zip of train/<class>/* and test/<class>/*.")]
OutFolder = Annotated[Path, typer.Option(help="Folder for the results; what is finished in it is not run again.")]
Jobs = Annotated[int | None, typer.Option(help="Runs at a time, in processes that share the cores; none: the cores.")]
Fresh = Annotated[bool, typer.Option(help="Run everything again.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``winnow``."""
    app.command()(with_simulation(simulate))
    app.command()(with_simulation(compare))
    app.command()(with_simulation(tune))


def _simulation(
    arch: str = _DEFAULTS.arch,
    mode: Annotated[str, typer.Option(help="scratch, finetune, head or ridge.")] = _DEFAULTS.train_mode,
    initial: Annotated[int, typer.Option(help="Random labels to begin with.")] = _DEFAULTS.initial,
    batch: Annotated[int, typer.Option(help="Labels per round.")] = _DEFAULTS.batch_size,
    rounds: Annotated[int, typer.Option(help="Trainings.")] = 6,
    budgets: Annotated[
        str | None, typer.Option(help="Labels at which to train, as in 50,100,400; instead of the three above.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The first one, where there are several.")] = 0,
    cold_start: Annotated[str, typer.Option(help="The strategy for the first labels.")] = "random",
    image_size: Annotated[int | None, typer.Option(help="Side in pixels.")] = None,
    channels: Annotated[int, typer.Option(help="1 grey, 3 colour.")] = _DEFAULTS.channels,
    epochs: Annotated[int | None, typer.Option(help="Chosen by the data if not given.")] = None,
    recipe: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of what to train with, as in docs/learning.md; repeatable.")
    ] = None,
    pool: Annotated[int | None, typer.Option(help="Images to choose from; all if not given.")] = None,
    imbalance: Annotated[
        float, typer.Option(help="Make classes rare: the commonest has so many times the images of the rarest.")
    ] = 1.0,
    duplicates: Annotated[int, typer.Option(help="Put so many near-duplicates of each image into the pool.")] = 1,
    data_seed: Annotated[int, typer.Option(help="Draws the pool, the same for all seeds.")] = 0,
    validation: Annotated[
        float, typer.Option(help="Measure on this share of the training images, not on the test set.")
    ] = 0.0,
    weights: Annotated[Path | None, typer.Option(help="File of pretrained weights.")] = None,
    weights_dir: Annotated[Path | None, typer.Option(envvar="WINNOW_WEIGHTS_DIR")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
) -> dict[str, Any]:
    """What the three commands have in common, as fields of ``SimulateOptions``."""
    given = dict(locals())
    from winnow.compare import parse_setting

    return given | {
        "budgets": None if budgets is None else tuple(numbers(budgets, int)),
        "recipe": dict(parse_setting(one) for one in recipe or []),
    }


def with_simulation(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with the options of ``_simulation`` behind its own; it is handed what that returns as ``common``."""
    own = inspect.signature(command, eval_str=True)
    shared = inspect.signature(_simulation, eval_str=True)

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        common = _simulation(**{name: given.pop(name) for name in shared.parameters})
        command(common=common, **given)

    mine = [one for name, one in own.parameters.items() if name != "common"]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*mine, *shared.parameters.values())]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    hints = get_type_hints(command, include_extras=True) | get_type_hints(_simulation, include_extras=True)
    wrapped.__annotations__ = {one.name: hints[one.name] for one in parameters}
    del wrapped.__wrapped__
    return wrapped


def numbers(text: str, kind: Callable[[str], Number]) -> list[Number]:
    """``50,100``. Raises ``Invalid``."""
    try:
        return [kind(one) for one in text.split(",")]
    except ValueError:
        raise Invalid(f"{text!r} is no list of numbers such as 50,100,400") from None


def simulate(
    data: DataArgument,
    common: dict[str, Any],
    strategy: Annotated[
        str, typer.Option(help="docs/strategies.md describes each; `default`: as a project's.")
    ] = _DEFAULTS.strategy,
    measure: Annotated[str | None, typer.Option(help="The uncertainty measure of strategies that have one.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Hybrid's share of the batch by uncertainty alone.")] = None,
    clusters: Annotated[int | None, typer.Option(help="Hybrid's number of clusters.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the strategy's options; repeatable.")] = None,
    until_unsure: Annotated[
        float | None, typer.Option(help="End once less than this share of the unlabelled has a confidence below 0.6.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this file, as JSON.")] = None,
) -> None:
    """Run the loop in one process, the data set's own labels answering, and measure it on its test images."""
    from winnow.options import SimulateOptions
    from winnow.simulate import simulate as run_simulate

    options = SimulateOptions(
        data=data,
        strategy=strategy,
        strategy_options=_of_strategy(strategy, _given(measure, alpha, clusters, None))
        | _given(None, None, None, option),
        until_unsure=until_unsure,
        **common,
    )
    seen = 0

    def show(row: dict[str, float]) -> None:
        nonlocal seen
        if not seen:
            names = f"{'labels':>6}  {'accuracy':>8}  {'macro F1':>8}  {'train s':>7}  {'score s':>7}  {'select s':>8}"
            console.print(names if until_unsure is None else f"{names}  {'unsure':>6}")
        seen += 1
        console.print(
            f"{row['labels']:>6}  {row['accuracy']:>8.4f}  {row['macro_f1']:>8.4f}  {row['train_s']:>7.2f}  "
            f"{row['score_s']:>7.2f}  {row['select_s']:>8.3f}  " + (f"{row['unsure']:>6.3f}" if "unsure" in row else "")
        )

    result = run_simulate(options, show)
    console.print(f"area under the learning curve: {result['aulc']:.4f}")
    if out is not None:
        out.write_text(json.dumps(result, indent=1))
        console.print(f"written to {out}")


def compare(
    data: DataArgument,
    common: dict[str, Any],
    out: OutFolder,
    strategies: Annotated[
        str, typer.Option(help="Comma-separated, each with settings if need be: margin,hybrid:alpha=0.5:clusters=20.")
    ] = "random,default,margin,entropy",
    seeds: Annotated[int, typer.Option(help="Runs of each strategy; 3 or more tell chance from gain.")] = 3,
    jobs: Jobs = None,
    measure: Annotated[str | None, typer.Option(help="The uncertainty measure of strategies that have one.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Hybrid's share of the batch by uncertainty alone.")] = None,
    clusters: Annotated[int | None, typer.Option(help="Hybrid's number of clusters.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for strategies that have it; repeatable.")
    ] = None,
    fresh: Fresh = False,
) -> None:
    """Run strategies beside random, several seeds each, and write curves.csv, summary.json, plots and report.html."""
    from winnow.compare import CompareOptions
    from winnow.compare import compare as run_compare
    from winnow.options import SimulateOptions
    from winnow.report import write_pictures, write_report

    names = tuple(strategies.split(","))
    asked = CompareOptions(
        strategies=names,
        seeds=seeds,
        out=out,
        options=SimulateOptions(data=data, **common),
        jobs=jobs,
        fresh=fresh,
        shared_options=_given(measure, alpha, clusters, option),
    )
    compared = run_compare(asked, show_progress, _say)
    if compared.summary["strategies"]:
        write_pictures(out, compared.summary)
        write_report(out / "report.html", compared.summary)
        console.print(_compared_table(compared))
        _say(f"written to {out}: report.html, curves.png, differences.png, classes.png, curves.csv, summary.json")
    _refuse_failures(compared.failed)


def tune(
    data: DataArgument,
    common: dict[str, Any],
    out: OutFolder,
    measures: Annotated[str, typer.Option(help="Comma-separated.")] = "margin,entropy,least_confidence",
    alphas: Annotated[str, typer.Option(help="Shares of the batch by uncertainty alone.")] = "0.5,0.75,0.9",
    clusters: Annotated[str, typer.Option(help="Numbers of k-means clusters.")] = "10,20,50",
    seeds: Annotated[int, typer.Option(help="Runs of each setting, 2 or more.")] = 3,
    jobs: Jobs = None,
    fresh: Fresh = False,
) -> None:
    """Find settings of the hybrid by simulation on a part of the training images; the test set is not touched."""
    from winnow import tune as tuning
    from winnow.compare import CompareOptions
    from winnow.options import SimulateOptions

    grid = tuning.Grid(
        measures=tuple(one.strip() for one in measures.split(",")),
        alphas=tuple(numbers(alphas, float)),
        clusters=tuple(numbers(clusters, int)),
    )
    asked = CompareOptions(
        strategies=(),
        seeds=seeds,
        out=out,
        options=SimulateOptions(data=data, **common),
        jobs=jobs,
        fresh=fresh,
        shared_options={},
    )
    tuned = tuning.tune(grid, tuning.with_validation(asked), show_progress, _say)
    tuning.write_picture(out / "heatmap.png", tuned)
    console.print(_tuned_table(tuned))
    _say(tuned.report["verdict"])
    _say(f"written to {out}: grid.csv, tune.json, heatmap.png")
    _refuse_failures(tuned.failed)


def _given(measure: str | None, alpha: float | None, clusters: int | None, option: list[str] | None) -> dict[str, Any]:
    from winnow.compare import parse_setting

    flat = {"measure": measure, "alpha": alpha, "clusters": clusters}
    return {name: value for name, value in flat.items() if value is not None} | dict(
        parse_setting(one) for one in option or []
    )


def _of_strategy(strategy: str, given: dict[str, Any]) -> dict[str, Any]:
    """Those that the strategy has: flags of one strategy do no harm to another."""
    from winnow.options import own_options

    return {name: value for name, value in given.items() if name in own_options(strategy)}


def show_progress(progress: Progress) -> None:
    """A line for each run as it ends."""
    from winnow.runs import Finished

    ended = progress.ended
    name = (
        f"[{progress.number:>{len(str(progress.of))}}/{progress.of}] {ended.run.label}, seed {ended.run.options.seed}: "
    )
    if isinstance(ended, Finished):
        last = ended.result["rounds"][-1]
        how = "kept from before" if progress.kept else f"{ended.seconds:,.0f} s"
        console.print(
            f"{name}accuracy {last['accuracy']:.4f} with {last['labels']:,} labels, {how}", markup=False, soft_wrap=True
        )
    else:
        console.print(f"{name}failed: {ended.reason}", style="red", markup=False, soft_wrap=True)


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _refuse_failures(failed: tuple[Failed, ...]) -> None:
    if failed:
        told = "; ".join(sorted(f"{one.run.label}, seed {one.run.options.seed}: {one.reason}" for one in failed))
        raise Permanent(f"{len(failed)} of the runs failed, the same command runs them again: {told}")


def _compared_table(compared: Compared) -> Table:
    """Accuracy at some budgets and over all; below each the points ahead of random, coloured beyond two errors."""
    summary = compared.summary
    number = len(next(iter(summary["strategies"].values()))["budgets"])
    shown = _some(number, most=max(2, (console.width - _OTHER_COLUMNS) // _FIGURES))
    budgets = [f"{summary['budgets'][at]:,}" for at in shown]
    heads = [Column(name, justify="right", no_wrap=True) for name in (*budgets, "AULC", "labels")]
    table = Table(Column("strategy", overflow="fold", min_width=16), *heads, box=SIMPLE_HEAD, pad_edge=False)
    for label, one in summary["strategies"].items():
        reach = one["labels_to_reach"]["of_mean_curve"]
        cells = [_cell(one["budgets"][at]["accuracy"]) for at in shown]
        table.add_row(label, *cells, _cell(one["aulc"]), "never" if reach is None else f"{reach:,.0f}")
    chance = summary["chance_beyond"]
    by_chance = "" if chance is None else f", as chance alone is in {100 * chance:.0f} of 100"
    table.caption = (
        f"accuracy, and points ahead of random ± standard error: coloured beyond two{by_chance}. "
        "labels: how many reach random's last accuracy"
    )
    return table


def _cell(record: dict[str, Any]) -> Text:
    text = Text(f"{record['mean']:.3f}")
    if record["diff"] is not None and record["diff_se"] != 0:
        error = "" if record["diff_se"] is None else f" ±{100 * record['diff_se']:.1f}"
        style = {1: "green", -1: "red"}.get(record["beyond"], "dim")
        text.append(f"\n{100 * record['diff']:+.1f}{error}", style=style)
    return text


def _some(number: int, most: int) -> list[int]:
    """At most so many of ``number`` places, the first and the last among them."""
    if number <= most:
        return list(range(number))
    return sorted({round(at * (number - 1) / (most - 1)) for at in range(most)})


def _tuned_table(tuned: Tuned) -> Table:
    right = [Column(name, justify="right") for name in ("alpha", "clusters", "AULC", "± se", "to random", "to measure")]
    table = Table("measure", *right, box=SIMPLE_HEAD, pad_edge=False)
    for row in tuned.rows:
        alone = row["ahead_of_measure"]
        table.add_row(
            row["measure"],
            f"{row['alpha']:g}",
            str(row["clusters"]),
            f"{row['aulc']:.4f}",
            f"{row['se']:.4f}",
            f"{100 * row['ahead_of_random']:+.2f}",
            "" if alone is None else f"{100 * alone:+.2f}",
        )
    table.caption = (
        f"on {tuned.report['measured_on']:,} validation images; points ahead of random and of the measure alone, of "
        f"which chance makes up to {100 * tuned.report['least_difference']:.2f}"
    )
    return table
