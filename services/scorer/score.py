"""Score: probabilities and features of every image of a shard, with a checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.scorer.models import Models
from shared import arrays
from shared.arriving import Arrivals
from shared.autolabelling import Predictions
from shared.db import images, projects, rounds
from shared.db.pool import Tx
from shared.domain import CheckpointId, Job, JobKind, ProjectId, ProjectSettings, ShardId
from shared.errors import NotFound, Permanent
from shared.jobs import Ledger
from shared.learning.model import Model
from shared.learning.predict import predict_members
from shared.metrics import IMAGES_SCORED
from shared.rounds import Rounds, Scored
from shared.selection.summary import map_summary
from shared.store.base import Store, features_info_key, features_key, pixels_key, scores_prefix
from shared.worker import JobContext, Publish

_ROWS_AT_ONCE = 1024  # between two looks at whether to stop


class ScoreHandler:
    """Payload: ``checkpoint_id``, ``shard_id``."""

    kind = JobKind.SCORE
    long = False

    def __init__(self, ledger: Ledger, rounds: Rounds, store: Store, models: Models) -> None:
        self._ledger = ledger
        self._rounds = rounds
        self._store = store
        self._models = models

    def run(self, job: Job, context: JobContext) -> Publish:
        shard_id = ShardId(job.payload["shard_id"])
        with self._ledger.transaction() as tx:
            checkpoint = rounds.usable_checkpoint(tx, CheckpointId(job.payload["checkpoint_id"]))
            settings = projects.get(tx, job.project_id).settings
            before = rounds.scored_before(tx, job.project_id, checkpoint.id)
            unanswered = images.unanswered(tx, shard_id)
        model = self._models.checkpoint(checkpoint)
        x = self._inputs(job.project_id, shard_id, settings, model)
        probabilities, features, members = [], [], []
        for first in range(0, len(x), _ROWS_AT_ONCE):
            context.check()
            context.report(first / len(x), images=first, of=len(x))
            scores = predict_members(model, x[first : first + _ROWS_AT_ONCE], device=self._models.device, seed=first)
            probabilities.append(scores.probabilities)
            features.append(scores.features)
            if scores.members is not None:
                members.append(scores.members.astype(np.float16))
        prefix = scores_prefix(job.project_id, checkpoint.id, shard_id)
        if members:
            arrays.save(self._store, prefix + "members.npy", np.concatenate(members))
        if not model.spec.reads_features:  # a frozen backbone's features lie with the shard, once for all rounds
            arrays.save(self._store, prefix + "features.npy", np.concatenate(features))
        whole = np.concatenate(probabilities)
        arrays.save(self._store, prefix + "probabilities.npy", whole)
        IMAGES_SCORED.inc(len(x))
        ids, places = np.asarray(unanswered, np.int64).reshape(-1, 2).T
        previous = None if before is None else self._said_before(job.project_id, before.id, shard_id)
        found = _found(shard_id, ids, whole[places], None if previous is None else previous[places], settings)
        if settings.stream_rate and job.payload.get("arrived"):
            found = replace(found, arrivals=Arrivals.of(ids, whole[places], settings.measure))

        def publish(tx: Tx) -> None:
            self._rounds.scored(tx, job, found)

        return publish

    def _said_before(
        self, project_id: ProjectId, checkpoint_id: CheckpointId, shard_id: ShardId
    ) -> NDArray[np.float32] | None:
        """Probabilities of an older model, float32 (n, classes); None for a shard that came after it."""
        try:
            return arrays.load(self._store, scores_prefix(project_id, checkpoint_id, shard_id) + "probabilities.npy")
        except NotFound:
            return None

    def _inputs(
        self, project_id: ProjectId, shard_id: ShardId, settings: ProjectSettings, model: Model
    ) -> NDArray[Any]:
        """What the model is fed: the backbone's features ``(n, D)``, or pixels ``(n, S, S, C)``."""
        if not model.spec.reads_features:
            return arrays.load(self._store, pixels_key(project_id, shard_id, settings.pixels_variant))
        place = (project_id, shard_id, settings.features_variant)
        made_by = json.loads(self._store.get(features_info_key(*place)))["backbone"]
        if made_by != model.backbone_id:
            raise Permanent(f"shard {shard_id} has features of {made_by}; the model needs those of {model.backbone_id}")
        return arrays.load(self._store, features_key(*place))


def _found(
    shard_id: ShardId,
    ids: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    previous: NDArray[np.float32] | None,
    settings: ProjectSettings,
) -> Scored:
    """Of the images ``ids`` that no person has labelled, by their probabilities (n, classes) now and before."""
    return Scored(
        summary=map_summary(probabilities, previous, unsure_below=settings.unsure_below),
        predictions=Predictions(
            shard_id=shard_id,
            ids=ids,
            columns=probabilities.argmax(axis=1),
            confidences=probabilities.max(axis=1),
        ),
    )
