"""What the rows of a database need of the store, in the order in which a listing of the store has it: by key."""

from __future__ import annotations

from collections.abc import Iterator

from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import ProjectId, ShardId

_Q = queries("contents")


def projects(tx: Tx) -> list[ProjectId]:
    return [row["id"] for row in tx.all(_Q["projects_by_key"])]


def images(tx: Tx, project_id: ProjectId) -> Iterator[str]:
    """The SHA-256 of every image, as a stream."""
    return (row["sha256"] for row in tx.stream(_Q["images_by_key"], {"project_id": project_id}))


def weights(tx: Tx, project_id: ProjectId) -> list[tuple[str, str]]:
    """Prefix and SHA-256 of the weights of every checkpoint that has not been given up."""
    return [(row["key"], row["sha256"]) for row in tx.all(_Q["weights_by_key"], {"project_id": project_id})]


def packs(tx: Tx, project_id: ProjectId) -> list[ShardId]:
    """The shards that are embedded."""
    return [row["id"] for row in tx.all(_Q["packs_by_key"], {"project_id": project_id})]
