"""What annotators are told: the project's guidelines, and what each class means, with images that show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import ClassId, ImageId, ProjectId
from shared.errors import Invalid, NotFound

_Q = queries("guidelines")
EACH = 4
"""How many labelled images show a class for which none was picked."""


@dataclass(frozen=True, kw_only=True)
class ClassGuide:
    """``picked`` examples were chosen by somebody; else they are images that people labelled so."""

    class_id: ClassId
    description: str
    examples: Sequence[ImageId]
    picked: bool


@dataclass(frozen=True, kw_only=True)
class Guidelines:
    """``classes`` in order of position."""

    text: str
    classes: Sequence[ClassGuide]


def get(tx: Tx, project_id: ProjectId) -> Guidelines:
    """Raises ``NotFound``."""
    row = tx.one(_Q["get_text"], {"project_id": project_id})
    if row is None:
        raise NotFound(f"there is no project {project_id}")
    picked = _by_class(tx.all(_Q["picked_examples"], {"project_id": project_id}))
    labelled = _by_class(tx.all(_Q["labelled_examples"], {"project_id": project_id, "each": EACH}))
    return Guidelines(
        text=row["guidelines"],
        classes=[
            ClassGuide(
                class_id=one["id"],
                description=one["description"],
                examples=picked.get(one["id"]) or labelled.get(one["id"], []),
                picked=one["id"] in picked,
            )
            for one in tx.all(_Q["list_classes"], {"project_id": project_id})
        ],
    )


def _by_class(rows: Sequence[Mapping[str, int]]) -> dict[int, list[ImageId]]:
    found: dict[int, list[ImageId]] = {}
    for row in rows:
        found.setdefault(row["class_id"], []).append(ImageId(row["image_id"]))
    return found


def set_text(tx: Tx, project_id: ProjectId, text: str) -> None:
    """Raises ``NotFound``."""
    if tx.one(_Q["set_text"], {"project_id": project_id, "text": text}) is None:
        raise NotFound(f"there is no project {project_id}")


def set_description(tx: Tx, project_id: ProjectId, class_id: ClassId, description: str) -> None:
    """Raises ``NotFound`` for a class of another project."""
    params = {"project_id": project_id, "class_id": class_id, "description": description}
    if tx.one(_Q["set_description"], params) is None:
        raise NotFound(f"there is no class {class_id} in this project")


def set_examples(tx: Tx, project_id: ProjectId, class_id: ClassId, image_ids: Sequence[ImageId]) -> None:
    """The images that show a class, in this order; none: go back to labelled ones.

    Raises ``Invalid`` for an image that the project doesn't have.
    """
    once = list(dict.fromkeys(image_ids))
    tx.run(_Q["clear_examples"], {"class_id": class_id})
    params = {"project_id": project_id, "class_id": class_id, "image_ids": once, "positions": list(range(len(once)))}
    stored = {row["image_id"] for row in tx.all(_Q["insert_examples"], params)}
    missing = [one for one in once if one not in stored]
    if missing:
        raise Invalid(f"the project has no image {missing[0]} to show as an example")
