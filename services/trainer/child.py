"""The training itself, in a process of its own: whatever it does, the worker beside it keeps its lease alive.

Arrays come in and bytes go out through a folder; progress and the outcome go through a pipe. The process ends when
its parent does, however that ends.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.domain import ClassId
from shared.errors import Diverged, Permanent
from shared.learning.checkpoints import manifest, to_bytes
from shared.learning.config import LearnConfig
from shared.learning.metrics import evaluate
from shared.learning.model import Model
from shared.learning.predict import pick_device, predict
from shared.learning.train import EpochReport, fit


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to train. The folder holds ``x.npy`` and ``y.npy``, and ``holdout_x.npy``, ``holdout_y.npy`` if measured."""

    folder: Path
    config: Mapping[str, Any]
    classes: Sequence[tuple[ClassId, str]]
    data_version: str
    backbone_id: str | None
    device: str | None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """After each epoch."""

    report: EpochReport


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The folder now holds ``model.safetensors`` and ``checkpoint.json``; ``sha256`` is that of the former."""

    sha256: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """``permanent``: trying again can't help."""

    message: str
    permanent: bool
    diverged: bool


def main(order: Order, pipe: Connection, lifeline: Connection) -> None:
    """Entry point of the process. Sends ``Progress`` any number of times, then ``Trained`` or ``Failed``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process itself
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    try:
        pipe.send(_train(order, pipe))
    except Exception as error:
        pipe.send(
            Failed(
                message=f"{type(error).__name__}: {error}",
                permanent=isinstance(error, Permanent),
                diverged=isinstance(error, Diverged),
            )
        )


def _die_with_parent(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def _train(order: Order, pipe: Connection) -> Trained:
    config = LearnConfig.from_dict(order.config)
    device = pick_device(order.device)
    x, y = _load(order.folder, "x"), _load(order.folder, "y")
    holdout = None
    if (order.folder / "holdout_x.npy").exists():
        holdout = (_load(order.folder, "holdout_x"), _load(order.folder, "holdout_y"))
    fitted = fit(
        x,
        y,
        n_classes=len(order.classes),
        config=config,
        holdout=holdout,
        device=device,
        backbone_id=order.backbone_id,
        on_epoch=lambda report: pipe.send(Progress(report=report)),
    )
    metrics: dict[str, Any] = {"labels": len(y), "history": [report.to_dict() for report in fitted.history]}
    if holdout is not None:
        probabilities, _ = predict(fitted.model, holdout[0], device=device)
        metrics |= evaluate(probabilities, holdout[1])
    return _write(order, fitted.model, metrics)


def _write(order: Order, model: Model, metrics: Mapping[str, Any]) -> Trained:
    body = to_bytes(model)
    described = manifest(model, body, classes=order.classes, data_version=order.data_version, metrics=metrics)
    (order.folder / "model.safetensors").write_bytes(body)
    (order.folder / "checkpoint.json").write_text(json.dumps(described, indent=1))
    return Trained(sha256=described["sha256"], metrics=metrics)


def _load(folder: Path, name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
    return array
