"""Many images at once: their labels, the questions about them, and their split. ``shared.curation`` says who may what.

Every function returns the images that it changed, and passes over those that aren't the project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.db import tasks
from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import ClassId, ImageId, NewTask, Overlap, ProjectId, Split, TaskKind, UserId

_Q = queries("curation")


def correct(
    tx: Tx,
    project_id: ProjectId,
    chosen: Sequence[ImageId],
    user_id: UserId,
    class_id: ClassId,
    suggested: ClassId | None = None,
) -> list[ImageId]:
    """Give readable images a label by this person, who had seen the class ``suggested``, if any. Questions open about
    them are closed, whoever holds them."""
    readable = _ids(tx, "readable", project_id, chosen)
    tx.run(_Q["close_live"], {"project_id": project_id, "ids": readable})
    return _ids(tx, "correct", project_id, readable, user_id=user_id, class_id=class_id, suggested=suggested)


def remove_labels(tx: Tx, project_id: ProjectId, chosen: Sequence[ImageId]) -> list[ImageId]:
    """The answers that people gave stay on record."""
    return _ids(tx, "remove_labels", project_id, chosen)


def ask_again(tx: Tx, project_id: ProjectId, chosen: Sequence[ImageId], asked_of: Overlap) -> list[ImageId]:
    """Remove the labels of readable images and open questions about them, ahead of all others.

    What is being asked about already only moves up.
    """
    rows = tx.all(_Q["readable"], {"project_id": project_id, "ids": list(chosen)})
    readable = [ImageId(row["image_id"]) for row in rows]
    _ids(tx, "remove_labels", project_id, readable)
    tx.run(_Q["withdraw_disputes"], {"project_id": project_id, "ids": readable})
    live = set(tasks.raise_live(tx, project_id, readable))
    new = [
        NewTask(
            image_id=ImageId(row["image_id"]),
            kind=TaskKind.HOLDOUT if row["split"] == Split.HOLDOUT else TaskKind.QUERY,
            priority=-1,
            strategy="asked_again",
        )
        for row in rows
        if row["image_id"] not in live
    ]
    tasks.add(tx, project_id, None, new, asked_of=asked_of)
    return readable


def move(tx: Tx, project_id: ProjectId, chosen: Sequence[ImageId], split: Split) -> list[ImageId]:
    return _ids(tx, "move", project_id, chosen, split=split.value)


def _ids(tx: Tx, query: str, project_id: ProjectId, chosen: Sequence[ImageId], **more: Any) -> list[ImageId]:
    rows = tx.all(_Q[query], {"project_id": project_id, "ids": list(chosen), **more})
    return sorted(ImageId(row["image_id"]) for row in rows)
