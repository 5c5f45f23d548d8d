"""Predict: what a model says of pictures that a caller waits for. Short, and unlike the others not a part of any round.

One picture that can't be read never fails the others: its answer says why.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from services.scorer.models import Models
from shared import imaging
from shared.db import projects, rounds
from shared.db.pool import Tx
from shared.domain import Job, JobKind
from shared.errors import Invalid, NotFound, Permanent, WinnowError
from shared.jobs import Ledger
from shared.learning.model import Model
from shared.learning.predict import embed, predict
from shared.metrics import IMAGES_PREDICTED
from shared.predicting import Answer, Item, Request, Result
from shared.store.base import Store
from shared.telemetry import logger
from shared.worker import JobContext, Publish

log = logger(__name__)
Pixels = NDArray[np.uint8]


class PredictHandler:
    """Payload: a ``shared.predicting.Request``."""

    kind = JobKind.PREDICT
    long = False

    def __init__(self, ledger: Ledger, store: Store, models: Models) -> None:
        self._ledger = ledger
        self._store = store
        self._models = models

    def run(self, job: Job, context: JobContext) -> Publish:
        request = Request.of(job)
        model = self._model(request)
        with self._ledger.transaction() as tx:
            classes = [one.name for one in projects.classes(tx, job.project_id)]
        read = self._read(request.items, model)
        context.check()
        pictures = [pixels for pixels in read if not isinstance(pixels, str)]
        rows = iter(self._probabilities(model, np.stack(pictures)).tolist() if pictures else [])
        answers = [
            Answer(error=found) if isinstance(found, str) else Answer(probabilities=next(rows)) for found in read
        ]
        Result(classes=classes, answers=answers).save(self._store, job)
        IMAGES_PREDICTED.labels("predicted").inc(len(pictures))
        IMAGES_PREDICTED.labels("failed").inc(len(read) - len(pictures))

        def publish(tx: Tx) -> None:
            tx.after_commit(lambda: self._forget(request))

        return publish

    def _model(self, request: Request) -> Model:
        """Raises ``Permanent`` if it was given up meanwhile: waiting brings no model back."""
        try:
            with self._ledger.transaction() as tx:
                checkpoint = rounds.usable_checkpoint(tx, request.checkpoint_id, to_score=False)
            return self._models.checkpoint(checkpoint)
        except NotFound as error:
            raise Permanent(str(error)) from error

    def _read(self, items: Sequence[Item], model: Model) -> list[Pixels | str]:
        """Of each item its pixels, uint8 ``(S, S, C)``, or why there are none."""

        def read(item: Item) -> Pixels | str:
            if item.key is None:
                return item.error or "there is no picture"
            try:
                data = self._store.get(item.key)
                return imaging.to_pixels(data, size=model.spec.image_size, channels=model.spec.channels)
            except (Invalid, NotFound) as error:
                return str(error)[:500]

        with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
            return list(pool.map(read, items))

    def _probabilities(self, model: Model, pixels: Pixels) -> NDArray[np.float32]:
        """``(n, classes)`` of pixels ``(n, S, S, C)``; through the frozen backbone where the model is a head on one.

        Raises ``Permanent`` if the backbone here has other weights than the one that the model was trained on.
        """
        device = self._models.device
        if not model.spec.reads_features:
            return predict(model, pixels, device=device)[0]
        backbone = self._models.backbone(model.spec.arch)
        if backbone.id != model.backbone_id:
            raise Permanent(f"the model needs the features of {model.backbone_id}; this worker has {backbone.id}")
        return predict(model, embed(backbone, pixels, device=device), device=device)[0]

    def _forget(self, request: Request) -> None:
        """What the caller sent is of no more use. What can't be deleted now retention deletes."""
        try:
            for item in request.items:
                if item.key is not None and item.image_id is None:
                    self._store.delete(item.key)
        except WinnowError as error:
            log.warning("prediction.pictures_left", error=str(error))
