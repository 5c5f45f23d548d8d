"""What one image, one label and one round cost: a local stack takes a pool of photographs through two rounds.

The limits are the bare work on the same files with the same number of threads: decoding every image for the
ingest, decoding and resizing for embed, the network alone for score. docs/scaling.md reckons with the figures.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import SecretStr

from benchmarks.report import Row
from shared import imaging
from shared.db.pool import Database
from shared.learning.config import LearnConfig
from shared.learning.networks import Cnn, CnnConfig
from shared.settings import DatabaseSettings
from winnow.client import Annotator, Client
from winnow.local import Stack, free_port, local_stack, tend_until

IMAGES, SIDE, AT_ONCE, SENDERS = 6_000, 256, 100, 4
INITIAL, BATCH, HOLDOUT = 400, 100, 100
CLASSES = ("dark", "light")


def run() -> list[Row]:
    files = [_photograph(number) for number in range(IMAGES)]
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        folder = Path(name)
        with local_stack(folder, free_port()) as (stack, processes):
            with Client(stack.api_url, stack.api_key) as client:
                project = client.create_project("costs", CLASSES, _settings())["id"]
                ingest_s = _timed(lambda: _upload(stack, project, files))
                client.start(project)
                answered = _answer(stack, project)
                tend_until(processes, lambda: client.state(project)["project"]["state"] == "finished")
            database = Database(DatabaseSettings(url=SecretStr(stack.database_url), pool_size=1))
            try:
                seconds = _job_seconds(database)
                sizes = _relation_bytes(database)
            finally:
                database.close()
        stored = {part: _bytes_under(folder / "objects" / "projects" / str(project) / part) for part in _PARTS}
    return _rows(files, ingest_s, answered, seconds, sizes, stored)


_PARTS = ("images", "shards", "scores", "checkpoints")


def _rows(
    files: list[bytes],
    ingest_s: float,
    answered: int,
    seconds: dict[str, list[float]],
    sizes: dict[str, int],
    stored: dict[str, int],
) -> list[Row]:
    case = f"{IMAGES:,} photographs of {SIDE} x {SIDE}, {sum(map(len, files)) / IMAGES / 1000:.0f} kB each"
    config = LearnConfig()

    def rate(metric: str, taken: float, limit_s: float | None) -> Row:
        limit = IMAGES / limit_s if limit_s else None
        return Row(case=case, metric=metric, value=IMAGES / taken, unit="images/s", better="higher", limit=limit)

    def cost(metric: str, value: float, unit: str) -> Row:
        return Row(case=case, metric=metric, value=value, unit=unit, better="lower")

    passes = len(seconds["score"]) / len(seconds["embed"])
    labels = sum(sizes[table] for table in ("tasks", "annotations", "labels"))
    return [
        rate("ingest", ingest_s, _timed(lambda: _spread(lambda data: imaging.decode(data), files))),
        rate(
            "embed",
            sum(seconds["embed"]),
            _timed(
                lambda: _spread(
                    lambda data: imaging.to_pixels(data, size=config.image_size, channels=config.channels), files
                )
            ),
        ),
        rate("score", sum(seconds["score"]) / passes, _forward_s(config)),
        cost("train", max(seconds["train"]), f"s for {INITIAL + BATCH} labels"),
        cost("select", max(seconds["select"]), "s"),
        cost("database per image", sizes["images"] / IMAGES, "bytes"),
        cost("database per answer", labels / answered, "bytes"),
        cost("packs and features per image, once", stored["shards"] / IMAGES, "bytes"),
        cost("scores per image and round", stored["scores"] / IMAGES / passes, "bytes"),
        cost("checkpoint per round", stored["checkpoints"] / 2, "bytes"),
    ]


def _settings() -> dict[str, object]:
    return {
        "mode": "strict",
        "initial": INITIAL,
        "batch_size": BATCH,
        "label_budget": INITIAL + BATCH,
        "holdout_size": HOLDOUT,
    }


def _photograph(number: int) -> bytes:
    """A JPEG with the size and the smoothness of a photograph; its class is its brightness."""
    rng = np.random.default_rng(number)
    base = 70 if number % 2 else 180
    coarse = rng.integers(base - 60, base + 60, (SIDE // 8, SIDE // 8, 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    noisy = np.asarray(image, np.int16) + rng.integers(-6, 7, (SIDE, SIDE, 3))
    out = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


def _upload(stack: Stack, project: int, files: list[bytes]) -> None:
    def send(first: int) -> None:
        with Client(stack.api_url, stack.api_key) as client:
            part = files[first : first + AT_ONCE]
            client.upload(project, [(f"{number}.jpg", data) for number, data in enumerate(part, first)])

    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, range(0, len(files), AT_ONCE)))


def _answer(stack: Stack, project: int) -> int:
    """Answer everything that is asked, by brightness, until the project is finished; returns the number of answers."""
    answered = 0
    with Annotator(stack.ui_url) as annotator:
        annotator.sign_in(stack.username, stack.password)
        classes = {c["name"]: c["id"] for c in annotator.classes(project)}
        while annotator.state(project)["project"]["state"] == "running":
            leased, _ = annotator.lease(project, 20)
            if not leased:
                time.sleep(0.2)
            for task in leased:
                pixels = np.asarray(Image.open(io.BytesIO(annotator.image(task))))
                annotator.submit(project, task, classes[CLASSES[int(pixels.mean() > 125)]])
                answered += 1
    return answered


def _job_seconds(database: Database) -> dict[str, list[float]]:
    with database.transaction() as tx:
        rows = tx.all(
            "SELECT kind, extract(epoch FROM finished_at - started_at)::float8 AS seconds FROM jobs "
            "WHERE state = 'done' ORDER BY id"
        )
    by_kind: dict[str, list[float]] = {}
    for row in rows:
        by_kind.setdefault(row["kind"], []).append(row["seconds"])
    return by_kind


def _relation_bytes(database: Database) -> dict[str, int]:
    """With indexes."""
    with database.transaction() as tx:
        rows = tx.all(
            "SELECT relname, pg_total_relation_size(oid) AS bytes FROM pg_class "
            "WHERE relname IN ('images', 'tasks', 'annotations', 'labels')"
        )
    return {row["relname"]: int(row["bytes"]) for row in rows}


def _bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _forward_s(config: LearnConfig) -> float:
    """The network alone over as many images."""
    import torch

    shape = CnnConfig(n_classes=len(CLASSES), image_size=config.image_size, channels=config.channels)
    network = Cnn(shape).eval()
    x = torch.rand(256, config.channels, config.image_size, config.image_size)

    def forward() -> None:
        with torch.inference_mode():
            for _ in range(IMAGES // 256):
                network(x)

    return _timed(forward)


def _spread(call: Callable[[bytes], object], files: Iterable[bytes]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(call, files):
            pass


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
