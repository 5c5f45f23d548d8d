"""Rows of reviews: what people said who looked again at images that had a label. ``shared.reviewing`` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import AnnotationId, ClassId, ImageId, LabelSource, ProjectId, UserId

_Q = queries("reviews")


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Images that people have labelled, in order of id: each array int64 (n,). ``positions`` are the columns of their
    classes; ``shards`` and ``rows`` say where a model's scores of them lie."""

    images: NDArray[np.int64]
    positions: NDArray[np.int64]
    shards: NDArray[np.int64]
    rows: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Review:
    """``corrected``: the label was another one. None of a review that is just being made."""

    image_id: ImageId
    class_id: ClassId
    corrected: bool


def labelled(tx: Tx, project_id: ProjectId, only: Sequence[ImageId] | None = None) -> Labelled:
    """All of them, or those among ``only``."""
    row = tx.one(_Q["labelled"], {"project_id": project_id, "only": None if only is None else list(only)})
    assert row is not None  # an aggregate always answers
    columns = {name: np.asarray(row[name], np.int64) for name in ("images", "positions", "shards", "shard_rows")}
    return Labelled(rows=columns.pop("shard_rows"), **columns)


def newest_model(tx: Tx, project_id: ProjectId) -> str | None:
    """The prefix in the store of the newest model whose weights are kept."""
    row = tx.one(_Q["newest_model"], {"project_id": project_id})
    return None if row is None else str(row["key"])


def looked_at(tx: Tx, project_id: ProjectId) -> set[ImageId]:
    """Images whose present label is what somebody said who looked again."""
    return {ImageId(row["image_id"]) for row in tx.all(_Q["looked_at"], {"project_id": project_id})}


def said_before(tx: Tx, project_id: ProjectId, user_id: UserId, key: str) -> list[Review]:
    """What was recorded under this key."""
    rows = tx.all(_Q["said_before"], {"project_id": project_id, "user_id": user_id, "key": key})
    return [Review(**row) for row in rows]


def add(tx: Tx, project_id: ProjectId, user_id: UserId, said: Mapping[ImageId, ClassId], key: str) -> list[Review]:
    """Record what images are, with the labels that they have now. Passes over images and classes of other projects."""
    params = {"project_id": project_id, "user_id": user_id, "key": key}
    rows = tx.all(_Q["add"], {**params, "image_ids": list(said), "class_ids": list(said.values())})
    return [
        Review(
            image_id=row["image_id"],
            class_id=row["class_id"],
            corrected=row["was"] != row["class_id"] or row["source"] == LabelSource.MODEL,
        )
        for row in rows
    ]


def corrected(tx: Tx, user_id: UserId, key: str, images: Sequence[ImageId]) -> None:
    """The labels of these images are now the corrections that the reviews under this key made."""
    tx.run(_Q["corrected"], {"user_id": user_id, "key": key, "image_ids": list(images)})


def undo(tx: Tx, project_id: ProjectId, user_id: UserId, key: str) -> tuple[list[ImageId], list[ImageId]]:
    """Take back what was said under this key: all its images, and those whose label is the one from before again."""
    params = {"project_id": project_id, "user_id": user_id, "key": key}
    gone = tx.all(_Q["undo"], params)
    if not gone:
        return [], []
    back = [row["image_id"] for name in ("bring_back", "take_away") for row in tx.all(_Q[name], params)]
    answers = [AnnotationId(row["annotation_id"]) for row in gone if row["annotation_id"] is not None]
    tx.run(_Q["withdraw"], {"annotation_ids": answers})
    return sorted(ImageId(row["image_id"]) for row in gone), sorted(back)
