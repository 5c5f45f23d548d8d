"""The form in which every benchmark reports."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


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
