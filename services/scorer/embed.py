"""Embed: decode every image of a shard once, ever, and write them as one array; with a frozen backbone, features too.

One unreadable image never stops a shard: its row stays zero, and it is marked and skipped from then on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from services.scorer.models import Models
from shared import arrays, imaging
from shared.db import images, projects
from shared.db.pool import Tx
from shared.domain import Image, ImageId, Job, JobKind, ShardId
from shared.errors import Invalid, NotFound
from shared.jobs import Ledger
from shared.learning.backbones import Backbone
from shared.learning.config import LearnConfig
from shared.learning.predict import embed
from shared.metrics import IMAGES_EMBEDDED
from shared.rounds import Rounds
from shared.store.base import Store, features_info_key, features_key, image_key, pixels_key
from shared.worker import JobContext, Publish

_ROWS_AT_ONCE = 256  # between two looks at whether to stop


class EmbedHandler:
    """Payload: ``shard_id``."""

    kind = JobKind.EMBED
    long = False

    def __init__(self, ledger: Ledger, rounds: Rounds, store: Store, models: Models) -> None:
        self._ledger = ledger
        self._rounds = rounds
        self._store = store
        self._models = models

    def run(self, job: Job, context: JobContext) -> Publish:
        shard_id = ShardId(job.payload["shard_id"])
        with self._ledger.transaction() as tx:
            settings = projects.get(tx, job.project_id).settings
            rows = images.in_shard(tx, shard_id)
        config = LearnConfig.from_settings(settings)
        pixels, unreadable = self._decode(rows, config, context)
        arrays.save(self._store, pixels_key(job.project_id, shard_id, settings.pixels_variant), pixels)
        if settings.on_features:
            backbone = self._models.backbone(config.arch)
            features = self._features(backbone, pixels, context)
            place = (job.project_id, shard_id, settings.features_variant)
            arrays.save(self._store, features_key(*place), features)
            info = json.dumps({"backbone": backbone.id}).encode()
            self._store.put_bytes(features_info_key(*place), info, "application/json")

        IMAGES_EMBEDDED.labels("ready").inc(len(rows) - len(unreadable))
        IMAGES_EMBEDDED.labels("unreadable").inc(len(unreadable))

        def publish(tx: Tx) -> None:
            self._rounds.embedded(tx, job, shard_id, unreadable)

        return publish

    def _decode(
        self, rows: Sequence[Image], config: LearnConfig, context: JobContext
    ) -> tuple[NDArray[np.uint8], dict[ImageId, str]]:
        """Pixels ``(n, S, S, C)`` uint8, and the reasons why some images can't be read."""
        side, channels = config.image_size, config.channels
        pixels = np.zeros((len(rows), side, side, channels), np.uint8)
        unreadable: dict[ImageId, str] = {}

        def fill(row: int) -> None:
            image = rows[row]
            try:
                data = self._store.get(image_key(image.project_id, image.sha256))
                pixels[row] = imaging.to_pixels(data, size=side, channels=channels)
            except (Invalid, NotFound) as error:
                unreadable[image.id] = str(error)[:500]

        with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
            for first in range(0, len(rows), _ROWS_AT_ONCE):
                context.check()
                context.report(first / len(rows), images=first, of=len(rows))
                for _ in pool.map(fill, range(first, min(first + _ROWS_AT_ONCE, len(rows)))):
                    pass  # raises what fill raised
        return pixels, unreadable

    def _features(self, backbone: Backbone, pixels: NDArray[np.uint8], context: JobContext) -> NDArray[np.float32]:
        """Features ``(n, D)`` float32 of the frozen backbone."""
        parts = []
        for first in range(0, len(pixels), _ROWS_AT_ONCE):
            context.check()
            context.report(first / len(pixels), features=first, of=len(pixels))
            parts.append(embed(backbone, pixels[first : first + _ROWS_AT_ONCE], device=self._models.device))
        return np.concatenate(parts)
