"""Select: run the project's strategy over all shards and open tasks for what it picks.

Shards are read one after the other, so memory is bounded by a shard and the strategy's candidates. The candidates are
listed once, so that every pass of a strategy sees the same pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from shared import arrays
from shared.db import images, labels, projects
from shared.db.labels import Example
from shared.db.pool import Tx
from shared.domain import CheckpointId, ImageId, Job, JobKind, ProjectId, ProjectSettings, ShardId, ShardState, Split
from shared.errors import NotFound, Permanent, PoolEmpty
from shared.jobs import Ledger
from shared.rounds import Pick, Rounds
from shared.selection.base import Labelled, Needs, ShardScores
from shared.selection.registry import make, scheduled
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
            known = labels.examples(tx, job.project_id, Split.POOL)
            n_classes = len(projects.classes(tx, job.project_id))
        checkpoint_id: CheckpointId | None = job.payload["checkpoint_id"]
        named: str | None = job.payload.get("strategy")
        strategy = (
            make(named)
            if named and checkpoint_id is not None
            else scheduled(settings, len(known), n_classes, has_model=checkpoint_id is not None)
        )
        reader = _Reader(self._store, job.project_id, checkpoint_id, settings, strategy.needs)
        labelled = reader.labelled(known, n_classes)

        def shards() -> Iterator[ShardScores]:
            for candidates in pool:
                context.check()
                scores = reader.read(candidates)
                if scores is not None:
                    yield scores

        try:
            rng = np.random.default_rng(job.payload["seed"])
            chosen = strategy.select(shards, int(job.payload["count"]), rng, labelled)
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
        try:
            columns = {
                name: arrays.load(self._store, self._key(candidates.shard_id, name))[candidates.rows]
                for name in ("probabilities", "features", "members")
                if getattr(self._needs, name)
            }
        except NotFound:
            self._not_scored(candidates.shard_id)
            return None
        return ShardScores(ids=candidates.ids, **columns)

    def labelled(self, known: Sequence[Example], n_classes: int) -> Labelled:
        """What is labelled; where the strategy reads the features too, only what has been scored."""
        if not self._needs.labelled_features:
            return _labelled(known, n_classes, None)
        found: list[Example] = []
        features: list[NDArray[np.float32]] = []
        for shard_id, group in groupby(
            sorted(known, key=lambda e: (e.shard_id, e.shard_row)), key=lambda e: e.shard_id
        ):
            examples = list(group)
            try:
                rows = arrays.load_rows(self._store, self._key(shard_id, "features"), [e.shard_row for e in examples])
            except NotFound:
                self._not_scored(shard_id)
                continue
            found += examples
            features.append(rows)
        return _labelled(found, n_classes, np.concatenate(features) if features else None)

    def _not_scored(self, shard_id: ShardId) -> None:
        log.info("shard.not_scored", shard_id=shard_id, checkpoint_id=self._checkpoint_id)

    def _key(self, shard_id: ShardId, name: str) -> str:
        if name == "features" and self._settings.on_features:
            return features_key(self._project_id, shard_id, self._settings.features_variant)
        if self._checkpoint_id is None:
            raise Permanent(f"a strategy that reads {name} can't choose before there is a model")
        return scores_prefix(self._project_id, self._checkpoint_id, shard_id) + f"{name}.npy"


def _labelled(examples: Sequence[Example], n_classes: int, features: NDArray[np.float32] | None) -> Labelled:
    ids = np.asarray([e.image_id for e in examples], np.int64)
    order = np.argsort(ids)
    classes = np.asarray([e.position for e in examples], np.int64)
    return Labelled(ids[order], classes[order], n_classes, None if features is None else features[order])
