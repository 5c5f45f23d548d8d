"""Images and the shards they are sealed into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import (
    Image,
    ImageId,
    ImageState,
    NewImage,
    ProjectId,
    Shard,
    ShardId,
    ShardState,
    Split,
    TagId,
)
from shared.errors import NotFound

_Q = queries("images")


@dataclass(frozen=True, kw_only=True)
class ImageCounts:
    total: int
    holdout: int
    unreadable: int
    ready: int


def _image(row: Row) -> Image:
    return Image(
        id=row["id"],
        project_id=row["project_id"],
        sha256=bytes(row["sha256"]).hex(),
        filename=row["filename"],
        width=row["width"],
        height=row["height"],
        bytes=row["bytes"],
        format=row["format"],
        browser_safe=row["browser_safe"],
        state=ImageState(row["state"]),
        split=Split(row["split"]),
        shard_id=row["shard_id"],
        shard_row=row["shard_row"],
        error=row["error"],
        created_at=row["created_at"],
    )


def _shard(row: Row) -> Shard:
    return Shard(
        id=row["id"],
        project_id=row["project_id"],
        number=row["number"],
        image_count=row["image_count"],
        state=ShardState(row["state"]),
    )


def add(tx: Tx, project_id: ProjectId, new: Sequence[NewImage]) -> list[Image]:
    """Write rows for images whose objects are stored; those already in the project are left out of the answer.

    A digest given twice in ``new`` is written once.
    """
    once = list({image.sha256: image for image in new}.values())
    rows = tx.all(
        _Q["insert_images"],
        {
            "project_id": project_id,
            "sha256s": [i.sha256 for i in once],
            "filenames": [i.filename for i in once],
            "widths": [i.width for i in once],
            "heights": [i.height for i in once],
            "sizes": [i.bytes for i in once],
            "formats": [i.format for i in once],
            "browser_safes": [i.browser_safe for i in once],
            "splits": [i.split.value for i in once],
        },
    )
    return [_image(row) for row in rows]


def by_sha256(tx: Tx, project_id: ProjectId, digests: Sequence[str]) -> dict[str, Image]:
    """The project's images among these hex digests, by digest."""
    rows = tx.all(_Q["by_sha256"], {"project_id": project_id, "sha256s": list(digests)})
    return {image.sha256: image for image in map(_image, rows)}


def by_ids(tx: Tx, project_id: ProjectId, ids: Sequence[ImageId]) -> dict[ImageId, Image]:
    """The project's images among these, by id."""
    rows = tx.all(_Q["by_ids"], {"project_id": project_id, "ids": list(ids)})
    return {image.id: image for image in map(_image, rows)}


def get(tx: Tx, project_id: ProjectId, image_id: ImageId) -> Image:
    """Raises ``NotFound``, also for an image of another project."""
    row = tx.one(_Q["get_image"], {"project_id": project_id, "id": image_id})
    if row is None:
        raise NotFound(f"there is no image {image_id} in this project")
    return _image(row)


def page(
    tx: Tx,
    project_id: ProjectId,
    *,
    after: int = 0,
    limit: int = 100,
    state: ImageState | None = None,
    split: Split | None = None,
    tag_id: TagId | None = None,
) -> list[Image]:
    """Images with an id above ``after``, in order of id."""
    params = {
        "project_id": project_id,
        "after": after,
        "limit": limit,
        "state": state,
        "split": split,
        "tag_id": tag_id,
    }
    return [_image(row) for row in tx.all(_Q["list_images"], params)]


def counts(tx: Tx, project_id: ProjectId) -> ImageCounts:
    row = tx.one(_Q["count_images"], {"project_id": project_id})
    assert row is not None  # an aggregate always answers
    return ImageCounts(**row)


def count_unsealed(tx: Tx, project_id: ProjectId, enough: int) -> int:
    """How many images are in no shard yet; stops counting at ``enough``."""
    row = tx.one(_Q["count_unsealed"], {"project_id": project_id, "enough": enough})
    return int(row["unsealed"]) if row else 0


def seal(tx: Tx, project_id: ProjectId, shard_size: int, *, tail: bool) -> list[Shard]:
    """Fix unsealed images into shards of ``shard_size``, the oldest first; with ``tail`` the rest too.

    The caller holds the project's lock (``projects.lock``), so that two sealings never take the same images.
    """
    sealed: list[Shard] = []
    while True:
        count = count_unsealed(tx, project_id, shard_size)
        if count == 0 or (count < shard_size and not tail):
            return sealed
        shard = tx.one(_Q["insert_shard"], {"project_id": project_id, "image_count": count})
        assert shard is not None  # INSERT ... RETURNING
        tx.run(_Q["seal_images"], {"project_id": project_id, "shard_id": shard["id"], "image_count": count})
        sealed.append(_shard(shard))


def shard(tx: Tx, shard_id: ShardId) -> Shard:
    """Raises ``NotFound``."""
    row = tx.one(_Q["get_shard"], {"id": shard_id})
    if row is None:
        raise NotFound(f"there is no shard {shard_id}")
    return _shard(row)


def shards(tx: Tx, project_id: ProjectId, state: ShardState | None = None) -> list[Shard]:
    """In order of number."""
    return [_shard(row) for row in tx.all(_Q["list_shards"], {"project_id": project_id, "state": state})]


def in_shard(tx: Tx, shard_id: ShardId) -> list[Image]:
    """In order of row."""
    return [_image(row) for row in tx.all(_Q["shard_images"], {"shard_id": shard_id})]


def candidates(tx: Tx, shard_id: ShardId) -> list[tuple[ImageId, int]]:
    """(image, row in the shard) of what may be asked, in order of row."""
    return [(row["id"], row["shard_row"]) for row in tx.all(_Q["shard_candidates"], {"shard_id": shard_id})]


def unanswered(tx: Tx, shard_id: ShardId) -> list[tuple[ImageId, int]]:
    """(image, row in the shard) of the readable pool images that no person has labelled, in order of row."""
    return [(row["id"], row["shard_row"]) for row in tx.all(_Q["shard_unanswered"], {"shard_id": shard_id})]


def count_candidates(tx: Tx, project_id: ProjectId, enough: int) -> int:
    """How many images may still be asked; stops counting at ``enough``."""
    row = tx.one(_Q["count_candidates"], {"project_id": project_id, "enough": enough})
    return int(row["candidates"]) if row else 0


def mark_embedded(tx: Tx, shard_id: ShardId, unreadable: Mapping[ImageId, str]) -> None:
    """The shard's pack is in the store; ``unreadable`` images of it are skipped from now on, with the reason."""
    if unreadable:
        tx.run(
            _Q["mark_unreadable"],
            {"shard_id": shard_id, "ids": list(unreadable), "errors": list(unreadable.values())},
        )
    tx.run(_Q["mark_ready"], {"shard_id": shard_id})
    tx.run(_Q["mark_embedded"], {"shard_id": shard_id})


def draw_holdout(tx: Tx, project_id: ProjectId, count: int, seed: int) -> list[ImageId]:
    """Move ``count`` random unlabelled pool images to the holdout, for ever."""
    rows = tx.all(_Q["draw_holdout"], {"project_id": project_id, "count": count, "seed": seed})
    return [ImageId(row["id"]) for row in rows]
