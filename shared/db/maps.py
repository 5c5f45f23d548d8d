"""Maps of a project's pool: those asked for, those drawn, what they show. ``shared.mapping`` says what a map is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.db.jobs import from_row
from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import CheckpointId, ImageId, Job, JobId, LabelSource, ProjectId, ShardId

_Q = queries("maps")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A map that is there. ``key``: where it lies; ``points`` of the ``pool`` images that there were are on it."""

    job_id: JobId
    key: str
    checkpoint_id: CheckpointId
    round_number: int
    points: int
    pool: int
    drawn_at: datetime


@dataclass(frozen=True, kw_only=True)
class Spot:
    """An image that belongs on a map, and where its features lie."""

    image_id: ImageId
    shard_id: ShardId
    shard_row: int


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The label of an image: the column of its class, where it comes from, and the round that it belongs to, if any."""

    image_id: ImageId
    column: int
    source: LabelSource
    round_number: int | None


def key_of(checkpoint_key: str, job_id: JobId, fence: int) -> str:
    """Each attempt at a map writes an object of its own, beside its model."""
    return f"{checkpoint_key}map-{job_id}-{fence}.npy"


def newest(tx: Tx, project_id: ProjectId) -> Job | None:
    """The map that was asked for last, however it stands."""
    row = tx.one(_Q["newest"], {"project_id": project_id})
    return None if row is None else from_row(row)


def newest_drawn(tx: Tx, project_id: ProjectId) -> Drawn | None:
    """The newest map that can be looked at."""
    row = tx.one(_Q["newest_drawn"], {"project_id": project_id})
    if row is None:
        return None
    return Drawn(
        job_id=row["id"],
        key=key_of(row["key"], row["id"], row["fence"]),
        checkpoint_id=row["checkpoint_id"],
        round_number=row["number"],
        points=row["result"]["points"],
        pool=row["result"]["pool"],
        drawn_at=row["finished_at"],
    )


def asked_of(tx: Tx, project_id: ProjectId, checkpoint_id: CheckpointId) -> int:
    """How often a map of this model was asked for."""
    row = tx.one(_Q["asked_of"], {"project_id": project_id, "checkpoint_id": checkpoint_id})
    return int(row["asked"]) if row else 0


def count_pool(tx: Tx, project_id: ProjectId) -> int:
    """How many readable images the pool has."""
    row = tx.one(_Q["count_pool"], {"project_id": project_id})
    return int(row["images"]) if row else 0


def sample(tx: Tx, project_id: ProjectId, *, most: int, seed: int) -> list[Spot]:
    """What belongs on a map of at most ``most`` images: all, or those that people have labelled and a random sample of
    the others, which the seed decides. In order of shard and row."""
    rows = tx.all(_Q["sample"], {"project_id": project_id, "most": most, "seed": seed})
    spots = [Spot(image_id=row["id"], shard_id=row["shard_id"], shard_row=row["shard_row"]) for row in rows]
    return sorted(spots, key=lambda spot: (spot.shard_id, spot.shard_row))


def labels_of(tx: Tx, project_id: ProjectId, ids: Sequence[int]) -> list[Labelled]:
    """The present labels of those among these images that have one."""
    return [
        Labelled(
            image_id=row["image_id"],
            column=row["position"],
            source=LabelSource(row["source"]),
            round_number=row["round"],
        )
        for row in tx.all(_Q["labels_of"], {"project_id": project_id, "ids": list(ids)})
    ]
