"""The form in which every benchmark reports, and how that is printed."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure. ``limit`` is what the machine could do at best at the same task, ``peer`` what another way does."""

    case: str
    metric: str
    value: float
    unit: str
    better: Literal["lower", "higher"]
    goal: float | None = None
    limit: float | None = None
    peer: float | None = None
    peer_name: str | None = None


def machine() -> str:
    """What the figures were measured on."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def best_of(call: Callable[[], object], times: int = 3) -> float:
    """The shortest wall-clock time of ``call`` in seconds: what is longer is somebody else's doing."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


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
