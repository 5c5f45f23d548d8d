"""Maps of 10,000 and 50,000 images by 128 and 1,280 features: seconds, and memory of a process that does only that.

The features imitate a network's: ten overlapping kinds, most of the variance in few directions. Reading them is not in
it. ``points`` and ``features`` measure a single size.
"""

from __future__ import annotations

import multiprocessing
import resource
import time

import numpy as np

from benchmarks.report import Row

SIZES = ((10_000, 128), (10_000, 1_280), (50_000, 128), (50_000, 1_280))


def run(points: int = 0, features: int = 0) -> list[Row]:
    sizes = [(points, features)] if points and features else SIZES
    context = multiprocessing.get_context("spawn")
    rows = []
    for size in sizes:
        for again in (False, True):
            with context.Pool(1) as pool:
                seconds, megabytes = pool.apply(_drawn, (*size, again))
            case = f"{size[0]:,} x {size[1]:,}, {'from the map before' if again else 'first map'}"
            rows.append(Row(case=case, metric="time", value=seconds, unit="s", better="lower"))
            rows.append(Row(case=case, metric="peak memory", value=megabytes, unit="MiB", better="lower"))
    return rows


def _drawn(points: int, width: int, again: bool) -> tuple[float, float]:
    """Seconds, and the most memory that this process has held, in MiB."""
    from services.scorer.layout import layout

    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 10, points)
    hidden = rng.normal(size=(10, 32))[kinds] + rng.normal(size=(points, 32)) * np.linspace(2, 0.3, 32)
    x = (hidden.astype(np.float32) @ rng.normal(size=(32, width)).astype(np.float32)) / np.float32(6)
    x += np.float32(0.3) * rng.standard_normal((points, width), np.float32)
    before = 20 * hidden[:, :2] if again else None
    started = time.perf_counter()
    layout(x, seed=0, before=before, on_step=lambda share: None)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
