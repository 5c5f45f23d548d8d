"""Asking a model about pictures: they are put into the store, and a scorer is asked by a job.

This process holds no model. The pictures are stored first and then asked about, in one transaction; if the process
dies between the two, retention deletes what was stored.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from shared.db import images, jobs, projects, rounds
from shared.db.pool import Tx
from shared.db.rounds import Serving
from shared.domain import Image, ImageId, Job, JobId, JobKind, JobState, ProjectId
from shared.errors import Conflict, Invalid, NotFound, Retryable, WinnowError
from shared.imaging import inspect
from shared.intake.ingest import CONTENT_TYPES
from shared.intake.multipart import Part
from shared.predicting import Item, Request, Result
from shared.store.base import image_key, prediction_prefix
from shared.system import System
from shared.telemetry import logger

log = logger(__name__)
MAX_PICTURES = 100
"""Of one request: the scorer does them in one go, between two other jobs."""


class Question:
    """What one request asks, in the making. Used by one thread at a time."""

    def __init__(self, system: System, project_id: ProjectId, image_ids: Sequence[int], *, max_pixels: int) -> None:
        """Raises ``NotFound``, ``Conflict`` while there is no model, ``Invalid`` for more than ``MAX_PICTURES``."""
        self._system = system
        self._project_id = project_id
        self._max_pixels = max_pixels
        self._name = uuid.uuid4().hex
        self._items: list[Item] = []
        with system.database.transaction() as tx:
            project = projects.get(tx, project_id)
            self._model = _model(tx, project.id)
            known = images.by_ids(tx, project.id, [ImageId(image_id) for image_id in image_ids])
        for image_id in image_ids:
            self._add(_of_project(ImageId(image_id), known.get(ImageId(image_id))))

    def take(self, parts: Sequence[Part]) -> None:
        """Store the pictures among these. Raises ``Invalid`` for more than ``MAX_PICTURES``, ``Retryable``."""
        for part in parts:
            self._add(self._stored(part, len(self._items)))

    def ask(self) -> tuple[Request, Job | None]:
        """The request, and the job that was asked to do it; None if there is nothing in it that could be predicted.

        Raises ``Invalid`` for a request without pictures.
        """
        if not self._items:
            raise Invalid("there is no picture in this request: send files, or name images of the project by image_id")
        model = self._model
        request = Request(
            name=self._name,
            checkpoint_id=model.checkpoint_id,
            round=model.round_number,
            promoted=model.promoted,
            items=self._items,
        )
        if all(item.key is None for item in self._items):
            return request, None
        with self._system.ledger.transaction() as tx:
            return request, self._system.ledger.enqueue(tx, request.job(self._project_id))

    def forget(self) -> None:
        """Nothing was asked after all: delete what was stored. What can't be deleted now retention deletes."""
        try:
            for item in self._items:
                if item.key is not None and item.image_id is None:
                    self._system.store.delete(item.key)
        except WinnowError as error:
            log.warning("prediction.pictures_left", project_id=self._project_id, error=str(error))

    def _add(self, item: Item) -> None:
        self._items.append(item)
        if len(self._items) > MAX_PICTURES:
            raise Invalid(f"a request may ask about {MAX_PICTURES} pictures at most; ask again for the others")

    def _stored(self, part: Part, number: int) -> Item:
        if part.data is None:
            return Item(filename=part.filename, error=part.problem)
        try:
            info = inspect(part.data, max_pixels=self._max_pixels)
        except Invalid as error:
            return Item(filename=part.filename, error=str(error))
        key = f"{prediction_prefix(self._project_id, self._name)}{number}"
        try:
            self._system.store.put_bytes(key, part.data, CONTENT_TYPES[info.format])
        except (Invalid, NotFound) as error:  # the store's trouble and not the file's
            raise Retryable(f"the store can't take {key}: {error}") from error
        return Item(filename=part.filename, key=key)


def _model(tx: Tx, project_id: ProjectId) -> Serving:
    model = rounds.serving(tx, project_id)
    if model is None:
        raise Conflict("the project has no model yet: it comes with the first round of training")
    return model


def _of_project(image_id: ImageId, image: Image | None) -> Item:
    if image is None:
        return Item(filename="", image_id=image_id, error=f"the project has no image with the id {image_id}")
    return Item(filename=image.filename, image_id=image_id, key=image_key(image.project_id, image.sha256))


def job_of(system: System, project_id: ProjectId, job_id: JobId) -> Job:
    """A prediction as it stands. Raises ``NotFound`` for one that the project hasn't, or has no more."""
    with system.database.transaction() as tx:
        project = projects.get(tx, project_id)
        try:
            job = jobs.get(tx, job_id)
        except NotFound:
            job = None
    if job is None or job.project_id != project.id or job.kind is not JobKind.PREDICT:
        raise NotFound(f"project {project_id} has no prediction {job_id}, or has it no more")
    return job


def result_of(system: System, job: Job) -> Result | None:
    """What the model says; None while it is under way.

    Raises ``Conflict`` if it failed for good, ``NotFound`` if it was so long ago that retention has deleted it.
    """
    if job.state in (JobState.QUEUED, JobState.RUNNING):
        return None
    if job.state is not JobState.DONE:
        raise Conflict(f"the prediction failed: {job.error}")
    try:
        return Result.load(system.store, job)
    except NotFound:
        raise NotFound(f"prediction {job.id} was made too long ago: its result is not kept any more") from None
