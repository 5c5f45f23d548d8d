"""Maps of the pool: asked for, drawn by the real handler, kept, given up."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.scorer.map import MapHandler
from shared import arrays, mapping
from shared.db import gauges, jobs, maps, projects
from shared.db import rounds as rows
from shared.domain import Image, Job, JobKind, JobState, LabelSource, Split
from shared.errors import Conflict, NotFound, Permanent
from shared.mapping import Points
from shared.overview import overview
from shared.settings import WorkerSettings
from shared.system import System
from shared.worker import Worker
from tests.drawing import ask, draw, look
from tests.waiting import wait_for
from tests.world import World, build, open_system

POOL = 40


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path / "objects") as opened:
        yield opened


def guess(image: Image) -> Sequence[float]:
    return (0.9, 0.1) if image.id % 2 else (0.3, 0.7)


def labelling(system: System, **settings: Any) -> World:
    world = build(system, pool=POOL, holdout=3, initial=6, batch_size=6, shard_size=25, **settings)
    world.start()
    for _ in range(2):
        world.do_embed()
    world.do_select()
    world.answer(9)
    system.rounds.nudge(world.id)
    return world


@pytest.fixture
def world(system: System) -> World:
    """Labels are in, and a model has looked at the pool."""
    made = labelling(system)
    look(made, guess)
    return made


def points_of(world: World) -> Points:
    with world.system.database.transaction() as tx:
        drawn = maps.newest_drawn(tx, world.id)
    assert drawn is not None
    found: Points = arrays.load(world.system.store, drawn.key)
    return found


def test_every_image_of_the_pool_is_a_point_and_none_of_the_holdout(world: World) -> None:
    ask(world)
    draw(world)
    pool = {image.id for image in world.images if image.split is Split.POOL}
    points = points_of(world)
    assert set(points["id"]) == pool
    assert np.isfinite(points["x"]).all() and np.ptp(points["x"]) > 0


def test_points_say_what_the_model_takes_them_for(world: World) -> None:
    ask(world)
    draw(world)
    points = points_of(world)
    odd = points["id"] % 2 == 1
    assert set(points["column"][odd]) == {0} and set(points["column"][~odd]) == {1}
    np.testing.assert_allclose(points["confidence"][odd], 0.9, atol=1e-6)


def test_a_large_pool_is_sampled_with_every_label_in_it(world: World) -> None:
    with world.system.database.transaction() as tx:
        every = maps.sample(tx, world.id, most=100, seed=0)
        few = maps.sample(tx, world.id, most=12, seed=0)
        more = maps.sample(tx, world.id, most=15, seed=0)
        labelled = {one.image_id for one in maps.labels_of(tx, world.id, [spot.image_id for spot in every])}
    assert len(every) == POOL
    chosen = {spot.image_id for spot in few}
    assert len(chosen) == 12 and labelled <= chosen
    assert chosen < {spot.image_id for spot in more}, "a larger sample holds the smaller one"


def test_there_is_no_map_before_a_model(system: System) -> None:
    with pytest.raises(Conflict, match="before a model"):
        ask(build(system))


def test_one_map_is_drawn_at_a_time(world: World) -> None:
    ask(world)
    with pytest.raises(Conflict, match="already"):
        ask(world)


def test_a_map_can_be_drawn_again_and_begins_from_the_last(world: World) -> None:
    ask(world)
    draw(world)
    before = points_of(world)
    again = ask(world)
    assert again.payload["previous"].endswith(".npy")
    draw(world)
    after = points_of(world)
    np.testing.assert_array_equal(before["id"], after["id"])
    moved = np.hypot(before["x"] - after["x"], before["y"] - after["y"])
    assert np.median(moved) < 0.5 * before["x"].std()


def test_a_round_draws_its_map_only_where_the_project_says_so(system: System, world: World) -> None:
    assert JobKind.MAP not in world.queued()
    other = labelling(system, name="mapped", map_each_round=True)
    look(other, guess)
    assert other.queued().count(JobKind.MAP) == 1
    draw(other)
    assert len(points_of(other)) == POOL


def test_too_few_images_are_no_map(system: System) -> None:
    world = build(system, pool=8, initial=4, batch_size=4)
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(4)
    system.rounds.nudge(world.id)
    look(world, guess)
    ask(world)
    job = draw(world)
    with system.database.transaction() as tx:
        failed = jobs.get(tx, job.id)
        assert maps.newest_drawn(tx, world.id) is None
    assert failed.state is JobState.DEAD
    assert "needs 10 images" in (failed.error or "")


def test_a_round_does_not_stand_still_for_a_map_that_failed(system: System, world: World) -> None:
    ask(world)
    system.ledger.fail(world.next_job(JobKind.MAP), Permanent("broken"))
    with system.database.transaction() as tx:
        assert gauges.read(tx).jobs[("map", "dead")] == 1
        assert overview(tx, world.id).dead_jobs == []


def give_up(world: World, job: Job) -> Job:
    with world.system.ledger.transaction() as tx:
        return world.system.ledger.cancel(tx, job.id, world.id, "test")


def test_a_map_that_is_given_up_is_no_failure_and_can_be_asked_for_again(system: System, world: World) -> None:
    ask(world)
    ended = give_up(world, world.next_job(JobKind.MAP))
    assert (ended.state, ended.error) == (JobState.CANCELLED, None)
    with system.database.transaction() as tx:
        assert ("map", "dead") not in gauges.read(tx).jobs
    assert system.ledger.requeue() == []
    ask(world)
    draw(world)
    assert len(points_of(world)) == POOL


def test_who_draws_a_map_that_was_given_up_lets_go_of_it(system: System, world: World) -> None:
    ask(world)
    drawing = world.next_job(JobKind.MAP)
    give_up(world, drawing)
    assert not system.ledger.heartbeat(drawing, lease_s=60, progress=0.5, detail={})
    with pytest.raises(Conflict, match="ended: it is cancelled"):
        give_up(world, drawing)


def test_a_map_goes_with_its_model(world: World) -> None:
    ask(world)
    draw(world)
    with world.system.database.transaction() as tx:
        drawn = maps.newest_drawn(tx, world.id)
        assert drawn is not None
        model = rows.checkpoint(tx, drawn.checkpoint_id)
        assert drawn.key.startswith(model.key)
        tx.run("UPDATE checkpoints SET weights_retired_at = now() WHERE id = %(id)s", {"id": drawn.checkpoint_id})
        assert maps.newest_drawn(tx, world.id) is None


def test_a_map_whose_forerunner_is_gone_is_made_anew(world: World) -> None:
    ask(world)
    draw(world)
    with world.system.database.transaction() as tx:
        drawn = maps.newest_drawn(tx, world.id)
    assert drawn is not None
    ask(world)
    world.system.store.delete(drawn.key)
    draw(world)
    assert len(points_of(world)) == POOL
    with pytest.raises(NotFound):
        arrays.load(world.system.store, drawn.key)


def test_labels_are_those_of_the_moment(world: World) -> None:
    ids = [image.id for image in world.images[:2]]
    world.system.curation.relabel(world.id, world.user().id, ids[:1], world.classes[1].id)
    with world.system.database.transaction() as tx:
        (one,) = maps.labels_of(tx, world.id, ids[:1])
    assert (one.column, one.source) == (1, LabelSource.HUMAN)


def test_maps_are_drawn_beside_other_work(system: System, world: World) -> None:
    """By the scorer's second worker, while the first has something else in hand."""
    beside = Worker(system.ledger, system.bus, [MapHandler(system.ledger, system.store)], WorkerSettings())
    thread = threading.Thread(target=beside.run, daemon=True)
    thread.start()
    try:
        job = ask(world)

        def done() -> bool:
            with system.database.transaction() as tx:
                return jobs.get(tx, job.id).state is JobState.DONE

        wait_for(done, "the map")
    finally:
        beside.stop()
        thread.join(20)
    with system.database.transaction() as tx:
        assert mapping.Request.of(jobs.get(tx, job.id)).seed == projects.get(tx, world.id).settings.seed
