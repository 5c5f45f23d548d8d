"""Select: run the project's strategy over all shards and open tasks for what it picks.

Shards are read one after the other, so memory is bounded by a shard and the strategy's candidates. The candidates are
listed once, so that every pass of a strategy sees the same pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared import arrays
from shared.db import images, projects
from shared.db.pool import Tx
from shared.domain import CheckpointId, ImageId, Job, JobKind, ProjectId, ProjectSettings, ShardId, ShardState
from shared.errors import NotFound, PoolEmpty
from shared.jobs import Ledger
from shared.rounds import Pick, Rounds
from shared.selection.base import Needs, ShardScores
from shared.selection.registry import COLD_START, from_settings, make
from shared.store.base import Store, features_key, scores_prefix
from shared.telemetry import logger
from shared.worker import JobContext, Publish

log = logger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Candidates:
    """What may be asked of a shard: image ids int64 ``(n,)`` and their rows int64 ``(n,)``."""

    shard_id: ShardId
    ids: NDArray[np.int64]
    rows: NDArray[np.int64]


class SelectHandler:
    """Payload: ``checkpoint_id`` (None for the cold start), ``count``, ``seed``; ``strategy``, if not the project's."""

    kind = JobKind.SELECT
    long = False

    def __init__(self, ledger: Ledger, rounds: Rounds, store: Store) -> None:
        self._ledger = ledger
        self._rounds = rounds
        self._store = store

    def run(self, job: Job, context: JobContext) -> Publish:
        with self._ledger.transaction() as tx:
            settings = projects.get(tx, job.project_id).settings
            pool = _candidates(tx, job.project_id)
        checkpoint_id: CheckpointId | None = job.payload["checkpoint_id"]
        named: str | None = job.payload.get("strategy")
        strategy = make(COLD_START) if checkpoint_id is None else make(named) if named else from_settings(settings)
        reader = _Reader(self._store, job.project_id, checkpoint_id, settings, strategy.needs)

        def shards() -> Iterator[ShardScores]:
            for candidates in pool:
                context.check()
                scores = reader.read(candidates)
                if scores is not None:
                    yield scores

        try:
            chosen = strategy.select(shards, int(job.payload["count"]), np.random.default_rng(job.payload["seed"]))
            picks = [
                Pick(image_id=ImageId(int(i)), score=float(s)) for i, s in zip(chosen.ids, chosen.scores, strict=True)
            ]
        except PoolEmpty:
            picks = []

        def publish(tx: Tx) -> None:
            self._rounds.selected(tx, job, strategy.name, picks)

        return publish


def _candidates(tx: Tx, project_id: ProjectId) -> Sequence[_Candidates]:
    found = []
    for shard in images.shards(tx, project_id, ShardState.EMBEDDED):
        pairs = np.asarray(images.candidates(tx, shard.id), np.int64).reshape(-1, 2)
        if len(pairs):
            found.append(_Candidates(shard_id=shard.id, ids=pairs[:, 0], rows=pairs[:, 1]))
    return found


class _Reader:
    """Reads of a shard only what the strategy needs."""

    def __init__(
        self,
        store: Store,
        project_id: ProjectId,
        checkpoint_id: CheckpointId | None,
        settings: ProjectSettings,
        needs: Needs,
    ) -> None:
        self._store = store
        self._project_id = project_id
        self._checkpoint_id = checkpoint_id
        self._settings = settings
        self._needs = needs

    def read(self, candidates: _Candidates) -> ShardScores | None:
        """None for a shard that was embedded after the checkpoint's scoring began: the next round has it."""
        probabilities = features = None
        try:
            if self._needs.probabilities:
                probabilities = self._array(candidates.shard_id, "probabilities.npy")[candidates.rows]
            if self._needs.features:
                features = self._array(candidates.shard_id, "features.npy")[candidates.rows]
        except NotFound:
            log.info("shard.not_scored", shard_id=candidates.shard_id, checkpoint_id=self._checkpoint_id)
            return None
        return ShardScores(ids=candidates.ids, probabilities=probabilities, features=features)

    def _array(self, shard_id: ShardId, name: str) -> NDArray[np.float32]:
        if name == "features.npy" and self._settings.on_features:
            return arrays.load(self._store, features_key(self._project_id, shard_id, self._settings.features_variant))
        assert self._checkpoint_id is not None  # the cold start needs neither
        return arrays.load(self._store, scores_prefix(self._project_id, self._checkpoint_id, shard_id) + name)
