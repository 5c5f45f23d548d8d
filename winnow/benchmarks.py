"""``winnow bench``: runs a benchmark and prints its figures as ratios to their limit and their peer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path

from rich.console import Console

from benchmarks import annotators, costs, crowd, heads, labelling, map, score, select, tasks, train
from benchmarks.report import Row, report
from shared.errors import Invalid

BENCHMARKS: Mapping[str, Callable[..., list[Row]]] = {
    "annotators": annotators.run,
    "costs": costs.run,
    "crowd": crowd.run,
    "heads": heads.run,
    "labelling": labelling.run,
    "map": map.run,
    "score": score.run,
    "select": select.run,
    "tasks": tasks.run,
    "train": train.run,
}


def run_benchmark(
    name: str, json_file: Path | None, console: Console, options: Mapping[str, int | Path] | None = None
) -> None:
    """``options`` are the benchmark's own. Raises ``Invalid`` for one that it hasn't, or for a name that isn't there;
    ``list`` prints those that are."""
    if name == "list":
        console.print("benchmarks: " + ", ".join(BENCHMARKS))
        return
    if name not in BENCHMARKS:
        raise Invalid(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    strange = set(options or {}) - set(signature(BENCHMARKS[name]).parameters)
    if strange:
        raise Invalid(f"the benchmark {name!r} has no option {', '.join(sorted(strange))}")
    with console.status(f"running {name}"):
        rows = BENCHMARKS[name](**(options or {}))
    report(name, rows, json_file, console)
