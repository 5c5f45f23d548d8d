"""What passes between the trainer and the processes that train: an order, then reports, then the outcome."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.domain import ClassId
from shared.learning.train import EpochReport

JOURNAL = "journal"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to train. The folder holds ``x.npy``, ``y.npy``, ``at_random.npy`` and ``images.npy``, and where they are of
    use the same of the holdout, ``holdout_x.npy`` and so on, ``unlabelled.npy``, ``pretrained.pth``,
    ``previous.safetensors`` and ``previous.json``."""

    folder: Path
    config: Mapping[str, Any]
    classes: Sequence[tuple[ClassId, str]]
    data_version: str
    backbone_id: str | None
    device: str | None
    journal_s: float
    micro_batch: int | None = None

    def array(self, name: str) -> NDArray[Any] | None:
        """An array of the folder, mapped and not read; None if it isn't there."""
        path = self.folder / f"{name}.npy"
        if not path.exists():
            return None
        array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
        return array

    def file(self, name: str) -> bytes | None:
        path = self.folder / name
        return path.read_bytes() if path.exists() else None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """After each epoch."""

    report: EpochReport


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The folder now holds ``model.safetensors``, ``checkpoint.json`` and ``opinions.npy``, see
    ``shared.learning.opinions``; ``sha256`` is that of the first."""

    sha256: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """``permanent``: trying again can't help."""

    message: str
    permanent: bool
    diverged: bool


Message = Progress | Trained | Failed


@dataclass(kw_only=True)
class FolderJournal:
    """Keeps the newest state of each run of a training in a folder, at most every ``every_s`` seconds."""

    folder: Path
    every_s: float
    clock: Callable[[], float] = time.monotonic
    _saved_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self._saved_at = self.clock()

    def load(self, run: str) -> bytes | None:
        path = self.folder / f"{run}.pt"
        return path.read_bytes() if path.exists() else None

    def save(self, run: str, state: Callable[[], bytes]) -> None:
        if self.clock() - self._saved_at < self.every_s:
            return
        # Beside, then renamed: whoever reads meanwhile sees the state before.
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as part:
            part.write(state())
        Path(part.name).replace(self.folder / f"{run}.pt")
        self._saved_at = self.clock()


def write_outcome(folder: Path, body: bytes, described: Mapping[str, Any]) -> None:
    (folder / "model.safetensors").write_bytes(body)
    (folder / "checkpoint.json").write_text(json.dumps(described, indent=1))


def die_with(parent: int) -> Callable[[], None]:
    """A function for a thread: ends this process when ``parent`` is its parent no more."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    return watch
