"""Maps of small projects, drawn by the real handler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from services.scorer.map import MapHandler
from shared import arrays, mapping
from shared.db import images, projects, rounds
from shared.domain import Image, Job, JobKind
from shared.settings import WorkerSettings
from shared.store.base import scores_prefix
from shared.worker import Worker
from tests.browser.gallery import think
from tests.world import World


def look(world: World, guesses: Callable[[Image], Sequence[float]]) -> None:
    """A model looks at the whole pool and leaves what a score job leaves: probabilities, and features that are alike
    where the model says the same."""
    think(world, guesses)
    with world.system.database.transaction() as tx:
        model = rounds.latest_scored(tx, world.id)
        assert model is not None
        shards = {one.id: images.in_shard(tx, one.id) for one in images.shards(tx, world.id)}
    random = np.random.default_rng(0)
    for shard, rows in shards.items():
        said = np.asarray([guesses(image) for image in rows], np.float32)
        features = np.concatenate([4 * said, random.normal(size=(len(rows), 6))], axis=1).astype(np.float32)
        arrays.save(world.system.store, scores_prefix(world.id, model.id, shard) + "features.npy", features)


def ask(world: World) -> Job:
    """Somebody asks for a map."""
    with world.system.ledger.transaction() as tx:
        job = world.system.ledger.enqueue(tx, mapping.asked_for(tx, projects.lock(tx, world.id)))
    assert job is not None
    return job


def draw(world: World) -> Job:
    """The map that was asked for is drawn, or fails, as a worker does it; the job before that."""
    job = world.next_job(JobKind.MAP)
    handler = MapHandler(world.system.ledger, world.system.store)
    Worker(world.system.ledger, world.system.bus, [handler], WorkerSettings()).work(job)
    return job
