"""``winnow bench``: runs a benchmark and prints its figures as ratios to their limit and their peer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from inspect import signature
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import annotators, costs, crowd, heads, labelling, map, score, select, tasks, train
from benchmarks.report import Row, machine
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


def report(name: str, rows: Sequence[Row], json_file: Path | None, console: Console) -> None:
    """Print the rows, and write them to the file if there is one."""
    table = Table(title=f"{name} ({machine()})")
    for column in ("case", "what", "figure", "goal", "of the limit", "peer"):
        table.add_column(column)
    for row in rows:
        table.add_row(row.case, row.metric, f"{row.value:,.4g} {row.unit}", _goal(row), _to_limit(row), _to_peer(row))
    console.print(table)
    if json_file is not None:
        content = {"name": name, "machine": machine(), "rows": [asdict(row) for row in rows]}
        json_file.write_text(json.dumps(content, indent=1))
        console.print(f"written to {json_file}")


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    met = row.value <= row.goal if row.better == "lower" else row.value >= row.goal
    return f"{row.goal:,.4g} {row.unit}: {'met' if met else 'missed'}"


def _to_limit(row: Row) -> str:
    return "" if row.limit is None else f"{row.value / row.limit:.2f} x {row.limit:,.4g} {row.unit}"


def _to_peer(row: Row) -> str:
    if row.peer is None:
        return ""
    gain = row.peer / row.value if row.better == "lower" else row.value / row.peer
    much = "times as fast as" if row.unit.endswith("s") else "times that of"
    return f"{gain:.2f} {much} {row.peer_name} ({row.peer:,.4g} {row.unit})"
