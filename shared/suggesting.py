"""What the newest model thinks of images that people are asked about.

It sways who sees it, so it is read only when somebody asks, and never for the holdout, which must measure the model
and not echo it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.db import images, projects, rounds
from shared.db.pool import Database
from shared.domain import ClassId, Image, ImageId, ImageState, ProjectId, Split
from shared.opinions import opinions
from shared.store.base import Store


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """``confidence`` is the probability of the likeliest class."""

    class_id: ClassId
    confidence: float


def has_model(database: Database, project_id: ProjectId) -> bool:
    """Whether there is a model that has looked at the pool."""
    with database.transaction() as tx:
        return rounds.latest_scored(tx, project_id) is not None


def suggest(
    database: Database, store: Store, project_id: ProjectId, image_ids: Sequence[ImageId]
) -> dict[ImageId, Suggestion]:
    """By image; those of the holdout, and those that the newest model has not scored, are left out."""
    with database.transaction() as tx:
        checkpoint = rounds.latest_scored(tx, project_id)
        if checkpoint is None:
            return {}
        ids = [one.id for one in projects.classes(tx, project_id)]
        found = images.by_ids(tx, project_id, image_ids).values()
    said = opinions(store, project_id, checkpoint.id, [one for one in found if _is_open_to_it(one)])
    return {image_id: Suggestion(class_id=ids[one.column], confidence=one.confidence) for image_id, one in said.items()}


def _is_open_to_it(image: Image) -> bool:
    return image.split is Split.POOL and image.state is ImageState.READY and image.shard_id is not None
