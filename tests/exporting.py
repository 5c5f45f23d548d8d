"""Hands that make exports as an api does, with the real handler."""

from __future__ import annotations

from services.api.making import ExportHandler
from shared import exports
from shared.db import exports as rows
from shared.db.exports import Export, ExportForm
from shared.domain import JobKind
from shared.settings import WorkerSettings
from shared.store.base import image_key
from shared.worker import Worker
from tests.world import World

WEEK_S = 7 * 24 * 3600.0


def with_contents(world: World) -> World:
    """Each image holds its own digest."""
    for image in world.images:
        world.system.store.put_bytes(image_key(world.id, image.sha256), image.sha256.encode())
    return world


def ask(world: World, form: ExportForm = ExportForm.ZIP, actor: str = "user:1") -> Export:
    with world.system.ledger.transaction() as tx:
        return exports.ask(tx, world.system.ledger, world.id, form, actor)


def look(world: World, one: Export) -> Export:
    with world.system.database.transaction() as tx:
        return rows.get(tx, one.id)


def handler(world: World, *, keep_s: float = WEEK_S) -> ExportHandler:
    return ExportHandler(world.system.database, world.system.store, keep_s=keep_s)


def make(world: World, *, keep_s: float = WEEK_S) -> None:
    """Make the export that was asked for first."""
    job = world.next_job(JobKind.EXPORT)
    Worker(world.system.ledger, world.system.bus, [handler(world, keep_s=keep_s)], WorkerSettings()).work(job)


def made(world: World, form: ExportForm = ExportForm.ZIP) -> Export:
    """An export that is ready."""
    one = ask(world, form)
    make(world)
    return look(world, one)
