"""Tags: short words of people's own on images, beside classes. The model learns nothing of them.

A name keeps the case in which it came first, and is found whatever its case.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from shared.curation import MOST
from shared.db import events, projects
from shared.db import tags as rows
from shared.db.pool import Tx
from shared.domain import ImageId, ProjectId
from shared.errors import Conflict, Invalid

LONGEST = 50
"""Characters of a name."""
MOST_TAGS = 1000
"""Of a project: more are not words to choose from, but data that belongs elsewhere."""

Change = Callable[[Tx, ProjectId, Sequence[ImageId], Sequence[str], str], list[ImageId]]
"""``tag`` or ``untag``."""


def clean(name: str) -> str:
    """The name as it is kept: composed (NFC), without space around it or runs of space in it.

    Raises ``Invalid`` for an empty or long name, and for one with a comma (lists of tags are written with them) or with
    characters that can't be seen.
    """
    tidy = " ".join(unicodedata.normalize("NFC", name).split())
    if not tidy:
        raise Invalid("a tag needs a name")
    if len(tidy) > LONGEST:
        raise Invalid(f"a tag has at most {LONGEST} characters")
    if "," in tidy or not tidy.isprintable():
        raise Invalid("a tag has no commas and no characters that can't be seen")
    return tidy


def tag(tx: Tx, project_id: ProjectId, image_ids: Sequence[ImageId], names: Sequence[str], actor: str) -> list[ImageId]:
    """Put tags on images; returns those of the project's that lacked any of them.

    Raises ``NotFound`` for an unknown project, ``Invalid`` for a name that can't be or too many images, ``Conflict``
    where the project would have more than ``MOST_TAGS``.
    """
    tidy = _asked_for(tx, project_id, image_ids, names)
    tags = rows.ensure(tx, project_id, tidy)
    changed = rows.put(tx, project_id, image_ids, tags, actor)
    if not changed:
        rows.take(tx, [], tags)  # made for images that are none of the project's
    elif rows.count(tx, project_id) > MOST_TAGS:
        raise Conflict(f"a project has at most {MOST_TAGS:,} tags")
    _record(tx, project_id, actor, "images.tagged", changed, [one.name for one in tags])
    return changed


def untag(
    tx: Tx, project_id: ProjectId, image_ids: Sequence[ImageId], names: Sequence[str], actor: str
) -> list[ImageId]:
    """Take tags off images; returns those that had any of them. Raises as ``tag`` does."""
    tags = rows.named(tx, project_id, _asked_for(tx, project_id, image_ids, names))
    changed = rows.take(tx, image_ids, tags)
    _record(tx, project_id, actor, "images.untagged", changed, [one.name for one in tags])
    return changed


def _asked_for(tx: Tx, project_id: ProjectId, image_ids: Sequence[ImageId], names: Sequence[str]) -> list[str]:
    """The names as they are kept, under the project's lock."""
    if len(image_ids) > MOST:
        raise Invalid(f"{MOST:,} images can be changed at a time")
    tidy = [clean(name) for name in names]
    projects.lock(tx, project_id)
    return tidy


def _record(
    tx: Tx, project_id: ProjectId, actor: str, kind: str, changed: Sequence[ImageId], names: Sequence[str]
) -> None:
    if changed:
        data = {"images": len(changed), "tags": list(names), "image_ids": list(changed)}
        events.record(tx, project_id, actor, kind, data)
