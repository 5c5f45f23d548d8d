"""What a simulation reads of every image, made once: decoded pixels, or a frozen backbone's features of them.

Kept in a folder as ``.npy`` files that processes map into memory, so that runs beside each other share one copy.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid
from shared.imaging import to_pixels
from shared.learning import archs, backbones
from shared.learning.config import ON_FEATURES, SCRATCH
from shared.learning.predict import embed, pick_device
from shared.weights import find_weights
from winnow import variants
from winnow.datasets import Dataset, Item
from winnow.options import SimulateOptions

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
_ARRAYS = ("x", "y", "test_x", "test_y", "original")
_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A pool and a test set, ready to learn from.

    x, test_x : uint8 (n, S, S, C) pixels, or float32 (n, D) features in the modes that are trained on these.
    y, test_y : int64 (n,), columns of ``classes``.
    original : int64 (n,), which picture each of the pool is one of; all different where there are no near-duplicates.
    pretrained : a weights file, for ``finetune``.
    prepare_s : seconds that the backbone took for its features.
    """

    dataset: str
    classes: tuple[str, ...]
    x: Array
    y: Ints
    test_x: Array
    test_y: Ints
    original: Ints
    pretrained: bytes | None = None
    backbone_id: str | None = None
    prepare_s: float = 0.0

    def save(self, folder: Path) -> None:
        """Write everything into ``folder``, for ``load``."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        if self.pretrained is not None:
            (folder / "pretrained").write_bytes(self.pretrained)
        about = {"dataset": self.dataset, "classes": self.classes, "backbone_id": self.backbone_id}
        (folder / "about.json").write_text(json.dumps(about))

    @classmethod
    def load(cls, folder: Path) -> Inputs:
        """What ``save`` wrote, mapped and not read; ``prepare_s`` is 0, as nothing was prepared here."""
        about = json.loads((folder / "about.json").read_text())
        pretrained = folder / "pretrained"
        return cls(
            dataset=about["dataset"],
            classes=tuple(about["classes"]),
            backbone_id=about["backbone_id"],
            pretrained=pretrained.read_bytes() if pretrained.exists() else None,
            **{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS},
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which images of a data set take part: items of the pool (before near-duplicates are made) and to measure on."""

    pool: tuple[Item, ...]
    measured: tuple[Item, ...]
    duplicates: int
    seed: int
    weights: bytes | None = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.pool) * self.duplicates

    def digest(self) -> str:
        """Names the images, their classes and the pretrained weights: 16 hex digits, other where anything is."""
        told = hashlib.sha256()
        for items in (self.pool, self.measured):
            told.update(repr([(item.path, item.label) for item in items]).encode())
        told.update(b"" if self.weights is None else hashlib.sha256(self.weights).digest())
        return told.hexdigest()[:16]


def plan(options: SimulateOptions, dataset: Dataset) -> Plan:
    """Choose the images, reading none. Where ``validation`` is set, those of the test set take no part."""
    train, measured = dataset.train, dataset.test
    if options.validation > 0:
        held = variants.validation_rows(_labels(train), options.validation, _rng(options, 0))
        train, measured = _where(train, ~held), _where(train, held)
    rows = variants.pool_rows(
        _labels(train),
        size=options.pool,
        imbalance=options.imbalance,
        duplicates=options.duplicates,
        rng=_rng(options, 1),
    )
    return Plan(
        pool=tuple(train[row] for row in rows),
        measured=measured,
        duplicates=options.duplicates,
        seed=options.data_seed,
        weights=_weights(options) if options.mode != SCRATCH else None,
    )


def prepare(options: SimulateOptions, dataset: Dataset, planned: Plan | None = None) -> Inputs:
    """Decode every image that takes part, and embed it where the mode wants features. Raises ``Invalid``."""
    planned = planned or plan(options, dataset)
    config = options.learn_config()
    device = pick_device(options.device)
    started = time.perf_counter()
    backbone = None
    if config.mode in ON_FEATURES:
        assert planned.weights is not None
        backbone = backbones.load(config.arch, planned.weights, device)

    def read(items: Sequence[Item], copies: int) -> Array:
        pixels = _pixels(dataset, items, config.image_size, config.channels, copies, _rng(options, 2))
        shape = (config.image_size, config.image_size, config.channels) if backbone is None else (backbone.dim,)
        made = np.empty((len(items) * copies, *shape), np.uint8 if backbone is None else np.float32)
        for first in range(0, len(made), _AT_ONCE):
            batch = np.stack([one for _, one in zip(range(min(_AT_ONCE, len(made) - first)), pixels, strict=False)])
            made[first : first + len(batch)] = batch if backbone is None else embed(backbone, batch, device=device)
        return made

    x, test_x = read(planned.pool, planned.duplicates), read(planned.measured, 1)
    return Inputs(
        dataset=dataset.name,
        classes=dataset.classes,
        x=x,
        y=np.repeat(_labels(planned.pool), planned.duplicates),
        test_x=test_x,
        test_y=_labels(planned.measured),
        original=np.repeat(np.arange(len(planned.pool)), planned.duplicates),
        pretrained=planned.weights if backbone is None else None,
        backbone_id=None if backbone is None else backbone.id,
        prepare_s=0.0 if backbone is None else time.perf_counter() - started,
    )


def _pixels(
    dataset: Dataset, items: Sequence[Item], size: int, channels: int, copies: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.uint8]]:
    for item in items:
        try:
            pixels = to_pixels(dataset.read(item), size=size, channels=channels)
        except Invalid as error:
            raise Invalid(f"{item.path}: {error}") from error
        yield from variants.near_duplicates(pixels, copies, rng)


def _weights(options: SimulateOptions) -> bytes:
    url = archs.info(options.arch).weights_url
    return find_weights(options.arch, url=url, weights_dir=options.weights_dir, explicit=options.weights)


def _rng(options: SimulateOptions, purpose: int) -> np.random.Generator:
    return np.random.default_rng([options.data_seed, purpose])


def _labels(items: Sequence[Item]) -> Ints:
    return np.array([item.label for item in items], dtype=np.int64)


def _where(items: tuple[Item, ...], rows: npt.NDArray[np.bool_]) -> tuple[Item, ...]:
    return tuple(items[row] for row in np.flatnonzero(rows))
