"""What the newest model thinks of one image, read as one row of its shard's probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared import arrays
from shared.db import images, projects, tasks
from shared.db import rounds as round_rows
from shared.db.pool import Tx
from shared.domain import Checkpoint, Class, Image, ImageId, ImageState, ProjectId
from shared.errors import Conflict, NotFound
from shared.store.base import scores_prefix
from shared.system import System


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """``probabilities`` is float32 (classes,), in the order of ``classes``; they sum to 1. ``asked``: there is or was a
    question about it, whatever became of it."""

    image_id: ImageId
    checkpoint: Checkpoint
    round_number: int
    classes: list[Class]
    probabilities: NDArray[np.float32]
    asked: bool

    @property
    def best(self) -> int:
        """Position of the likeliest class; the first of equals."""
        return int(np.argmax(self.probabilities))


@dataclass(frozen=True, kw_only=True)
class Pending:
    """The image has no prediction yet. ``waiting_for`` is the step that comes next: ``embed`` or ``score``."""

    waiting_for: str
    detail: str


def predict(system: System, project_id: ProjectId, image_id: ImageId) -> Prediction | Pending:
    """The prediction, or what it waits for; an image in no shard yet is put into one at once.

    Raises ``NotFound``, ``Conflict`` while there is no model or if the image can't be read.
    """
    with system.database.transaction() as tx:
        image = images.get(tx, project_id, image_id)
        checkpoint = _model_for(tx, project_id, image)
        if image.shard_id is None:
            system.rounds.hurry(tx, image)
            return Pending(waiting_for="embed", detail="the image was just queued to be read and scored")
        classes = projects.classes(tx, project_id)
        asked = tasks.was_asked(tx, image_id)
        numbers = {r.id: r.number for r in round_rows.history(tx, project_id)}
    if image.state is not ImageState.READY or image.shard_row is None:
        return Pending(waiting_for="embed", detail="the image is queued to be read and scored")
    key = scores_prefix(project_id, checkpoint.id, image.shard_id) + "probabilities.npy"
    try:
        row = arrays.load_rows(system.store, key, [image.shard_row])[0]
    except NotFound:
        return Pending(waiting_for="score", detail=f"the image is queued to be scored by checkpoint {checkpoint.id}")
    return Prediction(
        image_id=image_id,
        checkpoint=checkpoint,
        round_number=numbers[checkpoint.round_id],
        classes=classes,
        probabilities=row,
        asked=asked,
    )


def _model_for(tx: Tx, project_id: ProjectId, image: Image) -> Checkpoint:
    """The newest model that has scored the pool. Raises ``Conflict`` if there is none for this image."""
    if image.state is ImageState.UNREADABLE:
        raise Conflict(f"image {image.id} can't be read and gets no prediction: {image.error}")
    checkpoint = round_rows.latest_scored(tx, project_id)
    if checkpoint is None:
        raise Conflict("the project has no model yet: it comes with the first round of training")
    return checkpoint
