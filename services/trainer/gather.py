"""Collects what a training reads into a folder: pixels or features, and what else its recipe asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared import arrays, consensus
from shared.db import images, labels, projects, rounds
from shared.db.labels import Example
from shared.db.pool import Database
from shared.domain import Class, ImageId, Job, ProjectId, ProjectSettings, ShardId, ShardState, Split
from shared.errors import NotFound, Permanent, Retryable
from shared.learning import archs
from shared.learning.config import FINETUNE, LearnConfig
from shared.store.base import Store, features_info_key, features_key, pixels_key, training_prefix
from shared.weights import find_weights

DAWID_SKENE = "dawid_skene"
_MOST_BYTES = 2 * 2**30
"""Of the unlabelled pool that a training reads, however many images that is: they lie in memory, for a moment twice."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a job is trained on. Fixed at its first attempt, so that a later one can go on where that ended."""

    settings: ProjectSettings
    classes: Sequence[Class]
    pool: Sequence[Example]
    holdout: Sequence[Example]
    labels_at: datetime
    weights: NDArray[np.float64] | None = None
    """How much each label of ``pool`` counts, (n,); None: all the same."""


class Gatherer:
    """Reads the database and the store; writes only into the folder it is given, and the job's own notes."""

    def __init__(self, database: Database, store: Store, weights_dir: Path | None, most_unlabelled: int) -> None:
        self._database = database
        self._store = store
        self._weights_dir = weights_dir
        self._most_unlabelled = most_unlabelled

    def material(self, job: Job) -> Material:
        """The labels of now, or those that an earlier attempt at this job was trained on.

        Where the project says so, labels by several answers are weighed anew before the first attempt.
        """
        with self._database.transaction() as tx:
            if job.fence == 1 and projects.get(tx, job.project_id).settings.consensus == DAWID_SKENE:
                consensus.renew(tx, job.project_id, actor="system")
        with self._database.transaction() as tx:
            settings = projects.get(tx, job.project_id).settings
            classes = projects.classes(tx, job.project_id)
            pool = labels.examples(tx, job.project_id, Split.POOL)
            holdout = labels.examples(tx, job.project_id, Split.HOLDOUT)
            labels_at = labels.read_at(tx)
        if not pool:
            raise Permanent("no labelled image of the pool is ready to train on")
        noted = self._noted(job, settings) if job.fence > 1 else None
        if noted is not None:
            pool, labels_at = noted
        weights = self._weights(job, settings, pool, noted=noted is not None)
        if noted is None:
            self._note(job, settings, pool, labels_at, weights)
        return Material(
            settings=settings, classes=classes, pool=pool, holdout=holdout, labels_at=labels_at, weights=weights
        )

    def _weights(
        self, job: Job, settings: ProjectSettings, pool: Sequence[Example], *, noted: bool
    ) -> NDArray[np.float64] | None:
        """How much each label counts, or did at an earlier attempt."""
        if not settings.weigh_labels:
            return None
        if noted:
            try:
                return arrays.load(self._store, training_prefix(job.project_id, job.id) + "weights.npy")
            except NotFound:  # they didn't count then
                return None
        with self._database.transaction() as tx:
            return consensus.label_weights(tx, job.project_id, [e.image_id for e in pool])

    def _note(
        self,
        job: Job,
        settings: ProjectSettings,
        pool: Sequence[Example],
        labels_at: datetime,
        weights: NDArray[np.float64] | None,
    ) -> None:
        prefix = training_prefix(job.project_id, job.id)
        rows = [(e.image_id, e.shard_id, e.shard_row, e.position, e.at_random) for e in pool]
        arrays.save(self._store, prefix + "examples.npy", np.asarray(rows, np.int64))
        if weights is not None:
            arrays.save(self._store, prefix + "weights.npy", weights)
        head = {"labels_at": labels_at.isoformat(), "config": LearnConfig.from_settings(settings).to_dict()}
        self._store.put_bytes(prefix + "order.json", json.dumps(head).encode(), "application/json")

    def _noted(self, job: Job, settings: ProjectSettings) -> tuple[list[Example], datetime] | None:
        """What an earlier attempt noted; None if there is nothing, or the settings have changed since."""
        prefix = training_prefix(job.project_id, job.id)
        try:
            head = json.loads(self._store.get(prefix + "order.json"))
            rows = arrays.load(self._store, prefix + "examples.npy")
        except (NotFound, ValueError):
            return None
        if head["config"] != json.loads(json.dumps(LearnConfig.from_settings(settings).to_dict())):
            self.forget(job)
            return None
        pool = [
            Example(
                image_id=ImageId(int(i)),
                shard_id=ShardId(int(s)),
                shard_row=int(r),
                position=int(p),
                at_random=any(more),
            )
            for i, s, r, p, *more in rows  # notes of an older version end with the position
        ]
        return pool, datetime.fromisoformat(head["labels_at"])

    def forget(self, job: Job) -> None:
        """Delete what was noted of a job, its journal included."""
        for key in list(self._store.list(training_prefix(job.project_id, job.id))):
            self._store.delete(key)

    def gather(self, job: Job, material: Material, folder: Path, *, gpu: bool) -> None:
        """Everything that the order's folder holds. ``gpu``: whether one trains, by which the recipe is chosen."""
        self._examples(job.project_id, material, material.pool, folder, "")
        if material.weights is not None:
            order = sorted(range(len(material.pool)), key=lambda n: _place(material.pool[n]))
            np.save(folder / "weights.npy", material.weights[order])
        if material.holdout:
            self._examples(job.project_id, material, material.holdout, folder, "holdout_")
        config = LearnConfig.from_settings(material.settings)
        names = [one.name for one in material.classes]
        wanted = config.recipe_for(len(material.pool), names, gpu=gpu)
        if wanted.reads_unlabelled and self._most_unlabelled:
            self._unlabelled(job.project_id, material, folder)
        if config.mode == FINETUNE:
            found = find_weights(config.arch, url=archs.info(config.arch).weights_url, weights_dir=self._weights_dir)
            (folder / "pretrained.pth").write_bytes(found)
        if wanted.start != "fresh":
            self._previous(job, folder)

    def backbone_id(self, project_id: ProjectId, material: Material) -> str | None:
        """What made the features that a head is trained on. Raises ``Permanent`` if shards differ in it."""
        if not material.settings.on_features:
            return None
        variant = material.settings.features_variant
        keys = {features_info_key(project_id, e.shard_id, variant) for e in material.pool}
        makers = {str(json.loads(self._store.get(key))["backbone"]) for key in keys}
        if len(makers) > 1:
            raise Permanent(f"shards have features of different weights: {', '.join(sorted(makers))}")
        return makers.pop()

    def _source(self, project_id: ProjectId, shard_id: ShardId, material: Material) -> str:
        if material.settings.on_features:
            return features_key(project_id, shard_id, material.settings.features_variant)
        return pixels_key(project_id, shard_id, material.settings.pixels_variant)

    def _examples(
        self, project_id: ProjectId, material: Material, examples: Sequence[Example], folder: Path, prefix: str
    ) -> None:
        """Write what the model is fed, ``<prefix>x.npy``, the columns of the classes, ``<prefix>y.npy``, which labels
        were drawn at random, ``<prefix>at_random.npy``, and whose they are, ``<prefix>images.npy``."""
        ordered = sorted(examples, key=_place)
        parts: list[NDArray[Any]] = []
        for shard_id, group in groupby(ordered, key=lambda e: e.shard_id):
            source = self._source(project_id, shard_id, material)
            parts.append(arrays.load_rows(self._store, source, [e.shard_row for e in group]))
        np.save(folder / f"{prefix}x.npy", np.concatenate(parts))
        np.save(folder / f"{prefix}y.npy", np.asarray([e.position for e in ordered], np.int64))
        np.save(folder / f"{prefix}at_random.npy", np.asarray([e.at_random for e in ordered], np.bool_))
        np.save(folder / f"{prefix}images.npy", np.asarray([e.image_id for e in ordered], np.int64))

    def _unlabelled(self, project_id: ProjectId, material: Material, folder: Path) -> None:
        """A random part of the unlabelled pool, in the order of shards; the same for the same labels."""
        with self._database.transaction() as tx:
            shards = images.shards(tx, project_id, ShardState.EMBEDDED)
            free = {shard.id: [row for _, row in images.unanswered(tx, shard.id)] for shard in shards}
        places = [(shard, row) for shard, rows in sorted(free.items()) for row in rows]
        settings = material.settings
        each = settings.image_size**2 * settings.channels
        if settings.on_features:
            each = np.dtype(np.float32).itemsize * archs.info(settings.arch).feature_size
        rng = np.random.default_rng([settings.seed, len(material.pool)])
        chosen = rng.permutation(len(places))[: min(self._most_unlabelled, _MOST_BYTES // each)]
        parts = []
        for shard_id, group in groupby(sorted(places[i] for i in chosen), key=lambda place: place[0]):
            source = self._source(project_id, shard_id, material)
            parts.append(arrays.load_rows(self._store, source, [row for _, row in group]))
        if parts:
            np.save(folder / "unlabelled.npy", np.concatenate(parts))

    def _previous(self, job: Job, folder: Path) -> None:
        """The newest model, for a warm start; none in the first round."""
        with self._database.transaction() as tx:
            newest = rounds.latest_scored(tx, job.project_id)
        if newest is None:
            return
        try:
            body = self._store.get(newest.key + "model.safetensors")
            described = self._store.get(newest.key + "checkpoint.json")
        except NotFound as error:
            raise Retryable(f"the last model is gone: {error}") from error
        (folder / "previous.safetensors").write_bytes(body)
        (folder / "previous.json").write_bytes(described)


def _place(example: Example) -> tuple[ShardId, int]:
    """By which examples are ordered in every file of the folder."""
    return example.shard_id, example.shard_row
