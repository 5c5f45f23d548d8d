"""Images whose answer is known. ``shared.gold`` mixes them in among the questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import ClassId, ImageId, ProjectId

_Q = queries("gold")


@dataclass(frozen=True, kw_only=True)
class Gold:
    """``right`` of the ``answers`` given to it. Where most are wrong, the known answer may be."""

    image_id: ImageId
    class_id: ClassId
    name: str
    actor: str
    created_at: datetime
    answers: int
    right: int


def least_asked(tx: Tx, project_id: ProjectId, *, count: int, seed: int) -> list[ImageId]:
    """Up to ``count`` that nobody is asked about now, those first that the fewest people were asked about."""
    rows = tx.all(_Q["least_asked"], {"project_id": project_id, "count": count, "seed": seed})
    return [ImageId(row["image_id"]) for row in rows]


def mark(tx: Tx, project_id: ProjectId, image_ids: Sequence[ImageId], actor: str) -> list[ImageId]:
    """Their present labels are the known answers. Returns those that a person or an import has labelled."""
    params = {"project_id": project_id, "image_ids": list(image_ids), "actor": actor}
    return sorted(ImageId(row["image_id"]) for row in tx.all(_Q["mark"], params))


def unmark(tx: Tx, project_id: ProjectId, image_ids: Sequence[ImageId]) -> list[ImageId]:
    """Nobody is asked them as such any more; returns those that were gold."""
    rows = tx.all(_Q["unmark"], {"project_id": project_id, "image_ids": list(image_ids)})
    gone = sorted(ImageId(row["image_id"]) for row in rows)
    tx.run(_Q["close_open_of"], {"image_ids": gone})
    return gone


def page(tx: Tx, project_id: ProjectId, *, after: int, limit: int) -> list[Gold]:
    """In order of image id, those beyond ``after``."""
    rows = tx.all(_Q["page"], {"project_id": project_id, "after": after, "limit": limit})
    return [Gold(**row) for row in rows]


def of_image(tx: Tx, image_id: ImageId) -> Gold | None:
    """None where no answer is known."""
    row = tx.one(_Q["of_image"], {"image_id": image_id})
    return Gold(**row) if row else None


def count(tx: Tx, project_id: ProjectId) -> int:
    row = tx.one(_Q["count"], {"project_id": project_id})
    return int(row["images"]) if row else 0
