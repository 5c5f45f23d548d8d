"""What a model that has scored the pool said of single images, by the probabilities that it left in the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared import arrays
from shared.domain import CheckpointId, ImageId, ProjectId, ShardId
from shared.errors import NotFound
from shared.store.base import Store, scores_prefix

Floats = NDArray[np.float32]


class Placed(Protocol):
    """An image, by where its scores lie; ``shard_id`` None: nowhere yet."""

    @property
    def id(self) -> ImageId: ...

    @property
    def shard_id(self) -> ShardId | None: ...

    @property
    def shard_row(self) -> int | None: ...


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """The likeliest class by its ``column`` in probabilities, and its probability."""

    column: int
    confidence: float


def opinions(
    store: Store, project_id: ProjectId, checkpoint_id: CheckpointId, images: Iterable[Placed]
) -> dict[ImageId, Opinion]:
    """By image; those that the model has not scored, or whose scores were given up, are left out."""
    placed = sorted((one.shard_id, one.shard_row or 0, one.id) for one in images if one.shard_id is not None)
    found: dict[ImageId, Opinion] = {}
    for shard, group in groupby(placed, key=lambda one: one[0]):
        rows = list(group)
        table = _rows(store, project_id, checkpoint_id, ShardId(shard), [row for _, row, _ in rows])
        for (_, _, image_id), line in zip(rows, table, strict=False):
            column = int(line.argmax())
            found[image_id] = Opinion(column=column, confidence=float(line[column]))
    return found


def least_sure(
    store: Store, project_id: ProjectId, checkpoint_id: CheckpointId, shards: Sequence[ShardId], *, most_bytes: int
) -> Iterator[tuple[ShardId, NDArray[np.int64], Floats]]:
    """Of each shard, its rows in order of the model's confidence, the least sure first, and these confidences.

    Stops once ``most_bytes`` of probabilities were read. A shard that isn't scored is passed over.
    """
    read = 0
    for shard in shards:
        if read >= most_bytes:
            return
        try:
            table = arrays.load(store, _key(project_id, checkpoint_id, shard))
        except NotFound:
            continue
        read += table.nbytes
        confidences: Floats = table.max(axis=1)
        order = np.argsort(confidences, kind="stable")
        yield shard, order, confidences[order]


def _rows(
    store: Store, project_id: ProjectId, checkpoint_id: CheckpointId, shard: ShardId, rows: Sequence[int]
) -> Floats:
    """Probabilities, float32 (rows, classes); none for a shard that isn't scored."""
    try:
        return arrays.load_rows(store, _key(project_id, checkpoint_id, shard), rows)
    except (NotFound, IndexError):  # not scored, or sealed anew with more images
        return np.empty((0, 0), np.float32)


def _key(project_id: ProjectId, checkpoint_id: CheckpointId, shard: ShardId) -> str:
    return scores_prefix(project_id, checkpoint_id, shard) + "probabilities.npy"
