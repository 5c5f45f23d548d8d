"""Train: gather what is labelled, train in a child process, store the checkpoint, and publish it."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.trainer import child
from services.trainer.child import Failed, Order, Progress, Trained
from shared import arrays
from shared.db import labels, projects
from shared.db.labels import Example
from shared.db.pool import Tx
from shared.domain import Job, JobKind, ProjectId, ProjectSettings, Split
from shared.errors import Permanent, Retryable
from shared.jobs import Ledger
from shared.learning.checkpoints import data_version
from shared.learning.config import LearnConfig
from shared.metrics import TRAINING_ACCURACY, TRAINING_EPOCH, TRAINING_LOSS, TRAININGS_DIVERGED
from shared.rounds import Rounds, TrainedModel
from shared.store.base import Store, checkpoint_prefix, features_info_key, features_key, pixels_key
from shared.worker import JobContext, Publish, Stopped

_POLL_S = 0.1


class TrainHandler:
    """No payload: a training takes whatever is labelled when it starts."""

    kind = JobKind.TRAIN
    long = True

    def __init__(self, ledger: Ledger, rounds: Rounds, store: Store, device: str | None) -> None:
        self._ledger = ledger
        self._rounds = rounds
        self._store = store
        self._device = device
        # A fresh process per training; the server it is forked from has torch imported and nothing else done.
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["services.trainer.child"])

    def run(self, job: Job, context: JobContext) -> Publish:
        with self._ledger.transaction() as tx:
            settings = projects.get(tx, job.project_id).settings
            classes = projects.classes(tx, job.project_id)
            pool = labels.examples(tx, job.project_id, Split.POOL)
            holdout = labels.examples(tx, job.project_id, Split.HOLDOUT)
            labels_at = labels.read_at(tx)
        if not pool:
            raise Permanent("no labelled image of the pool is ready to train on")
        version = data_version([e.image_id for e in pool], [classes[e.position].id for e in pool])
        key = checkpoint_prefix(job.project_id, f"{job.id}-{job.fence}")
        with tempfile.TemporaryDirectory(prefix="winnow-train-") as name:
            folder = Path(name)
            self._gather(job.project_id, pool, settings, folder, "")
            if holdout:
                self._gather(job.project_id, holdout, settings, folder, "holdout_")
            context.check()
            order = Order(
                folder=folder,
                config=LearnConfig.from_settings(settings).to_dict(),
                classes=[(c.id, c.name) for c in classes],
                data_version=version,
                backbone_id=self._backbone_id(job.project_id, pool, settings),
                device=self._device,
            )
            trained = self._train(job, order, context)
            self._store.put_bytes(key + "model.safetensors", (folder / "model.safetensors").read_bytes())
            manifest = (folder / "checkpoint.json").read_bytes()
            self._store.put_bytes(key + "checkpoint.json", manifest, "application/json")
        model = TrainedModel(
            key=key,
            sha256=trained.sha256,
            data_version=version,
            labels=len(pool),
            labels_at=labels_at,
            metrics=trained.metrics,
        )

        def publish(tx: Tx) -> None:
            self._rounds.trained(tx, job, model)

        return publish

    def _backbone_id(self, project_id: ProjectId, examples: Sequence[Example], settings: ProjectSettings) -> str | None:
        """What made the features that a head is trained on. Raises ``Permanent`` if shards differ in it."""
        if settings.train_mode != "head":
            return None
        keys = {features_info_key(project_id, e.shard_id, settings.features_variant) for e in examples}
        makers = {str(json.loads(self._store.get(key))["backbone"]) for key in keys}
        if len(makers) > 1:
            raise Permanent(f"shards have features of different weights: {', '.join(sorted(makers))}")
        return makers.pop()

    def _gather(
        self, project_id: ProjectId, examples: Sequence[Example], settings: ProjectSettings, folder: Path, prefix: str
    ) -> None:
        """Write what the model is fed, ``<prefix>x.npy``, and the columns of the classes, ``<prefix>y.npy``."""
        ordered = sorted(examples, key=lambda e: (e.shard_id, e.shard_row))
        parts: list[NDArray[Any]] = []
        for shard_id, group in groupby(ordered, key=lambda e: e.shard_id):
            if settings.train_mode == "head":
                source = features_key(project_id, shard_id, settings.features_variant)
            else:
                source = pixels_key(project_id, shard_id, settings.pixels_variant)
            parts.append(arrays.load_rows(self._store, source, [e.shard_row for e in group]))
        np.save(folder / f"{prefix}x.npy", np.concatenate(parts))
        np.save(folder / f"{prefix}y.npy", np.asarray([e.position for e in ordered], np.int64))

    def _train(self, job: Job, order: Order, context: JobContext) -> Trained:
        """Run the child to its end, passing its progress on; end it at once when the job must stop."""
        pipe, pipe_end = self._processes.Pipe(duplex=False)
        lifeline_end, lifeline = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=child.main, args=(order, pipe_end, lifeline_end), daemon=True)
        process.start()
        pipe_end.close()
        lifeline_end.close()
        started = time.monotonic()
        try:
            while True:
                if context.should_stop:
                    raise Stopped("the training was interrupted")
                if not pipe.poll(_POLL_S):
                    continue
                try:
                    message = pipe.recv()
                except EOFError:
                    process.join(timeout=5)
                    raise Retryable(
                        f"the training process died with exit code {process.exitcode} (-9 is mostly a lack of memory)"
                    ) from None
                if isinstance(message, Trained):
                    return message
                if isinstance(message, Failed):
                    TRAININGS_DIVERGED.inc(int(message.diverged))
                    raise (Permanent if message.permanent else Retryable)(message.message)
                _pass_on(message, job, context, started)
        finally:
            process.kill()
            process.join(timeout=5)
            pipe.close()
            lifeline.close()


def _pass_on(message: Progress, job: Job, context: JobContext, started: float) -> None:
    done = message.report.epoch / message.report.epochs
    left = (time.monotonic() - started) * (1 - done) / done
    project = str(job.project_id)
    TRAINING_EPOCH.labels(project).set(message.report.epoch)
    TRAINING_LOSS.labels(project).set(message.report.loss)
    TRAINING_ACCURACY.labels(project).set(message.report.accuracy)
    context.report(done, **message.report.to_dict(), seconds_left=round(left, 1))
