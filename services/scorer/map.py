"""Map: where the images of a pool lie by how alike the newest model finds them, as one object beside that model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from services.scorer.layout import layout
from shared import arrays
from shared.db import jobs, maps, projects, rounds
from shared.db.maps import Spot
from shared.db.pool import Tx
from shared.domain import Checkpoint, Job, JobKind, ProjectSettings, ShardId
from shared.errors import NotFound, Permanent
from shared.jobs import Ledger
from shared.mapping import FEWEST, POINT, Points, Request
from shared.store.base import Store, features_key, scores_prefix
from shared.telemetry import logger
from shared.worker import JobContext, Publish

log = logger(__name__)
_READING = 0.2
"""The share of a map's progress that reading counts for."""


class MapHandler:
    """Payload: a ``shared.mapping.Request``. Memory: the features of the points, twice while they are put together."""

    kind = JobKind.MAP
    long = True

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    def run(self, job: Job, context: JobContext) -> Publish:
        request = Request.of(job)
        with self._ledger.transaction() as tx:
            checkpoint = rounds.usable_checkpoint(tx, request.checkpoint_id)
            settings = projects.get(tx, job.project_id).settings
            spots = maps.sample(tx, job.project_id, most=request.most, seed=request.seed)
            pool = maps.count_pool(tx, job.project_id)
        points, features = self._read(checkpoint, settings, spots, context)
        if len(points) < FEWEST:
            raise Permanent(f"a map needs {FEWEST} images that the model has looked at; there are {len(points)}")

        def on_step(share: float) -> None:
            context.check()
            context.report(_READING + (1 - _READING) * share, points=len(points))

        before = self._places_before(request.previous, points["id"])
        places = layout(features, seed=request.seed, before=before, on_step=on_step)
        points["x"], points["y"] = places.T
        arrays.save(self._store, maps.key_of(checkpoint.key, job.id, job.fence), points)
        log.info("map.drawn", points=len(points), pool=pool)

        def publish(tx: Tx) -> None:
            jobs.set_result(tx, job, {"points": len(points), "pool": pool})

        return publish

    def _read(
        self, checkpoint: Checkpoint, settings: ProjectSettings, spots: Sequence[Spot], context: JobContext
    ) -> tuple[Points, NDArray[np.float32]]:
        """The points, without their places yet, and their features (n, D)."""
        read: list[tuple[Points, NDArray[np.float32]]] = []
        done = 0
        for shard_id, group in _by_shard(spots):
            context.check()
            context.report(_READING * done / len(spots), images=done, of=len(spots))
            try:
                read.append(self._read_shard(checkpoint, settings, shard_id, group))
            except NotFound:
                log.info("shard.not_scored", shard_id=shard_id, checkpoint_id=checkpoint.id)
            done += len(group)
        if not read:
            return np.zeros(0, POINT), np.zeros((0, 1), np.float32)
        return np.concatenate([points for points, _ in read]), np.concatenate([features for _, features in read])

    def _read_shard(
        self, checkpoint: Checkpoint, settings: ProjectSettings, shard_id: ShardId, spots: Sequence[Spot]
    ) -> tuple[Points, NDArray[np.float32]]:
        """Raises ``NotFound`` for a shard that came after the model."""
        rows = [spot.shard_row for spot in spots]
        prefix = scores_prefix(checkpoint.project_id, checkpoint.id, shard_id)
        probabilities = arrays.load_rows(self._store, prefix + "probabilities.npy", rows)
        at = prefix + "features.npy"
        if settings.on_features:
            at = features_key(checkpoint.project_id, shard_id, settings.features_variant)
        points = np.zeros(len(spots), POINT)
        points["id"] = [spot.image_id for spot in spots]
        points["column"] = probabilities.argmax(axis=1)
        points["confidence"] = probabilities.max(axis=1)
        return points, arrays.load_rows(self._store, at, rows).astype(np.float32, copy=False)

    def _places_before(self, key: str | None, ids: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Where these images were on the map before, NaN for those that weren't; None if there is none any more."""
        if key is None:
            return None
        try:
            before = arrays.load(self._store, key)
        except NotFound:
            return None
        order = np.argsort(before["id"])
        at = np.searchsorted(before["id"], ids, sorter=order).clip(max=len(before) - 1)
        rows = order[at]
        there = before["id"][rows] == ids
        places = np.stack([before["x"][rows], before["y"][rows]], axis=1).astype(np.float64)
        places[~there] = np.nan
        return places


def _by_shard(spots: Sequence[Spot]) -> Iterator[tuple[ShardId, Sequence[Spot]]]:
    for shard_id, group in groupby(spots, key=lambda spot: spot.shard_id):
        yield shard_id, list(group)
