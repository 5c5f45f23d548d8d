"""The models that a scorer has in memory: the checkpoints used last and the backbones, loaded once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from shared.domain import Checkpoint, CheckpointId
from shared.errors import Permanent
from shared.learning import archs, backbones
from shared.learning.backbones import Backbone
from shared.learning.checkpoints import from_bytes
from shared.learning.model import Model
from shared.store.base import Store
from shared.weights import find_weights

if TYPE_CHECKING:
    import torch

KEPT = 2
"""Checkpoints in memory: shards are scored with the newest one while callers ask the promoted one."""


class Models:
    """Not thread-safe: a worker runs one job at a time."""

    def __init__(self, store: Store, device: torch.device, weights_dir: Path | None) -> None:
        self.device = device
        self._store = store
        self._weights_dir = weights_dir
        self._backbones: dict[str, Backbone] = {}
        self._loaded: dict[CheckpointId, Model] = {}
        """The one used last comes last."""

    def backbone(self, arch: str) -> Backbone:
        """A pretrained, frozen backbone. Raises ``Permanent`` if its weights can't be had."""
        if arch not in self._backbones:
            data = find_weights(arch, url=archs.info(arch).weights_url, weights_dir=self._weights_dir)
            self._backbones[arch] = backbones.load(arch, data, device=self.device)
        return self._backbones[arch]

    def checkpoint(self, checkpoint: Checkpoint) -> Model:
        """The model of a checkpoint. Raises ``Permanent`` unless its bytes have the digest that the database says."""
        model = self._loaded.pop(checkpoint.id, None)
        if model is None:
            while len(self._loaded) >= KEPT:
                del self._loaded[next(iter(self._loaded))]
            data = self._store.get(checkpoint.key + "model.safetensors")
            try:
                manifest = json.loads(self._store.get(checkpoint.key + "checkpoint.json"))
            except ValueError as error:
                raise Permanent(f"{checkpoint.key}checkpoint.json can't be read: {error}") from error
            model = from_bytes(data, manifest, expected_sha256=checkpoint.sha256, device=self.device)
        self._loaded[checkpoint.id] = model
        return model
