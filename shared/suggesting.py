"""What the newest model thinks of images that people are asked about.

It sways who sees it, so it is read only when somebody asks, and never for the holdout, which must measure the model
and not echo it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from shared import arrays
from shared.db import images, projects, rounds
from shared.db.pool import Database
from shared.domain import CheckpointId, ClassId, Image, ImageId, ImageState, ProjectId, ShardId, Split
from shared.errors import NotFound
from shared.store.base import Store, scores_prefix


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
    scored = [(one.shard_id, one.shard_row, one) for one in found if _is_open_to_it(one)]
    suggestions: dict[ImageId, Suggestion] = {}
    for shard, group in groupby(sorted(scored, key=lambda one: one[:2]), key=lambda one: one[0]):
        rows = list(group)
        best = _best(store, project_id, checkpoint.id, ShardId(shard or 0), [int(row or 0) for _, row, _ in rows])
        for (_, _, image), (column, confidence) in zip(rows, best, strict=False):
            suggestions[image.id] = Suggestion(class_id=ids[column], confidence=confidence)
    return suggestions


def _is_open_to_it(image: Image) -> bool:
    return image.split is Split.POOL and image.state is ImageState.READY and image.shard_id is not None


def _best(
    store: Store, project_id: ProjectId, checkpoint: CheckpointId, shard: ShardId, rows: Sequence[int]
) -> list[tuple[int, float]]:
    """The likeliest column and its probability for each row; nothing for a shard that isn't scored."""
    try:
        table = arrays.load_rows(store, scores_prefix(project_id, checkpoint, shard) + "probabilities.npy", rows)
    except NotFound:
        return []
    best = np.argmax(table, axis=1)
    return [(int(column), float(line[column])) for line, column in zip(table, best, strict=True)]
