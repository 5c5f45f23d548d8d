"""What was computed is deleted when it is of no more use; what is in use, and what people gave, never is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from shared.db import jobs, locks, rounds
from shared.db.copying import deletion_held_off
from shared.db.retention import Part
from shared.db.retention import retired as retired_rows
from shared.domain import CheckpointId, JobKind, NewJob, ShardId
from shared.errors import NotFound
from shared.retention import BATCH, Retention
from shared.settings import RetentionSettings
from shared.store.base import (
    attempts_of,
    features_key,
    image_key,
    pixels_key,
    prediction_prefix,
    predictions_of,
    scores_of,
    scores_prefix,
    shards_of,
    training_prefix,
    view_key,
)
from shared.store.disk import DiskStore
from shared.sweeper import Sweeper
from tests.waiting import wait_for
from tests.world import World, build, open_system
from winnow.cli import app


@pytest.fixture
def world(migrated_database_url: str, tmp_path: Path) -> Iterator[World]:
    """A project with twenty images, one embedded shard and an open question or two."""
    with open_system(migrated_database_url, tmp_path / "objects") as system:
        world = build(system, pool=20, initial=2, batch_size=1, mode="rolling", queue_factor=1)
        world.start()
        world.do_embed()
        world.do_select()
        for image in world.images:
            system.store.put_bytes(image_key(world.id, image.sha256), b"image")
            system.store.put_bytes(view_key(world.id, image.sha256), b"view")
        yield world


def retention(world: World, *, scores: int = 2, weights: int = 10) -> Retention:
    settings = RetentionSettings(scores=scores, weights=weights)
    return Retention(world.system.database, world.system.store, settings)


def play_rounds(world: World, count: int, **metrics: Any) -> list[CheckpointId]:
    """Trains and scores as the workers would, leaving what they leave in the store. Ends with open questions."""
    made = []
    for _ in range(count):
        answer(world)
        world.do_train(**metrics)
        made.append(newest(world))
        store_checkpoint(world, made[-1])
        world.do_score()
        world.do_select()
    return made


def answer(world: World) -> None:
    """Enough for the next training to begin."""
    world.answer(2)
    world.system.rounds.nudge(world.id)  # answers do it too, but not each


def newest(world: World) -> CheckpointId:
    with world.system.ledger.transaction() as tx:
        return rounds.curve(tx, world.id)[-1].checkpoint_id


def store_checkpoint(world: World, checkpoint_id: CheckpointId) -> None:
    with world.system.ledger.transaction() as tx:
        key = rounds.checkpoint(tx, checkpoint_id).key
    for name in ("model.safetensors", "checkpoint.json"):
        world.system.store.put_bytes(key + name, b"weights")
    world.system.store.put_bytes(scores_prefix(world.id, checkpoint_id, ShardId(1)) + "probabilities.npy", b"scores")


def with_scores(world: World, checkpoints: list[CheckpointId]) -> list[CheckpointId]:
    return [c for c in checkpoints if any(world.system.store.list(scores_of(world.id, c)))]


def with_weights(world: World, checkpoints: list[CheckpointId]) -> list[CheckpointId]:
    with world.system.ledger.transaction() as tx:
        keys = {c: rounds.checkpoint(tx, c).key for c in checkpoints}
    return [c for c, key in keys.items() if any(world.system.store.list(key))]


def images_and_views(world: World) -> list[str]:
    return [key for key in world.system.store.list("projects/") if "/images/" in key or "/views/" in key]


def test_scores_of_the_newest_scored_models_are_kept(world: World) -> None:
    made = play_rounds(world, 4)
    list(retention(world, scores=2).prune())
    assert with_scores(world, made) == made[-2:]


def test_a_model_being_scored_and_the_one_in_use_meanwhile_keep_their_scores(world: World) -> None:
    made = play_rounds(world, 3)
    answer(world)
    world.do_train()
    made.append(newest(world))
    store_checkpoint(world, made[-1])
    list(retention(world, scores=1).prune())
    assert with_scores(world, made) == made[-2:]


def test_weights_of_the_newest_and_of_the_best_are_kept(world: World) -> None:
    made = play_rounds(world, 1, accuracy=0.5) + play_rounds(world, 1, accuracy=0.9) + play_rounds(world, 3)
    list(retention(world, weights=2).prune())
    assert with_weights(world, made) == [made[1], *made[-2:]]


def test_a_promoted_model_is_kept_until_it_is_taken_out_of_use(world: World) -> None:
    made = play_rounds(world, 4, accuracy=0.5)
    with world.system.ledger.transaction() as tx:
        rounds.promote(tx, world.id, made[0])
    list(retention(world, weights=1).prune())
    assert with_weights(world, made) == [made[0], made[3]]
    with world.system.ledger.transaction() as tx:
        rounds.roll_back(tx, world.id)
    list(retention(world, weights=1).prune())
    assert with_weights(world, made) == [made[3]]


def test_a_model_that_a_label_came_from_is_kept(world: World) -> None:
    made = play_rounds(world, 4)
    with world.system.ledger.transaction() as tx:
        tx.run(
            "UPDATE labels SET checkpoint_id = %(id)s WHERE image_id = (SELECT min(image_id) FROM labels)",
            {"id": made[0]},
        )
    list(retention(world, weights=1).prune())
    assert with_weights(world, made) == [made[0], made[-1]]


def test_a_model_with_work_waiting_keeps_everything(world: World) -> None:
    made = play_rounds(world, 4)
    with world.system.ledger.transaction() as tx:
        tx.run(
            "UPDATE jobs SET state = 'queued' WHERE kind = 'select' "
            "AND round_id = (SELECT round_id FROM checkpoints WHERE id = %(id)s)",
            {"id": made[0]},
        )
    list(retention(world, scores=1, weights=1).prune())
    assert with_scores(world, made) == [made[0], made[-1]]
    assert with_weights(world, made) == [made[0], made[-1]]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happened_before_what_is_needed_stays(world: World, seed: int) -> None:
    rng = np.random.default_rng(seed)
    accuracies: dict[CheckpointId, float] = {}
    for _ in range(int(rng.integers(2, 7))):
        measured = {"accuracy": float(rng.integers(0, 5)) / 4} if rng.random() < 0.7 else {}
        (made,) = play_rounds(world, 1, **measured)
        accuracies[made] = measured.get("accuracy", -1.0)
        if rng.random() < 0.5:
            keep = RetentionSettings(scores=int(rng.integers(1, 4)), weights=int(rng.integers(1, 4)))
            list(Retention(world.system.database, world.system.store, keep).prune())
    before = images_and_views(world)
    scores, weights = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    had_weights, had_scores = with_weights(world, list(accuracies)), with_scores(world, list(accuracies))
    list(retention(world, scores=scores, weights=weights).prune())
    left = set(with_weights(world, list(accuracies)))
    assert set(had_weights[-weights:]) <= left
    assert max(had_weights, key=lambda c: (accuracies[c], c)) in left
    assert with_scores(world, list(accuracies)) == had_scores[-scores:]
    assert images_and_views(world) == before


def test_a_model_that_was_given_up_can_not_be_scored_with(world: World) -> None:
    made = play_rounds(world, 3)
    list(retention(world, weights=1).prune())
    with world.system.ledger.transaction() as tx:
        assert rounds.usable_checkpoint(tx, made[-1]).id == made[-1]
        with pytest.raises(NotFound, match="given up as surplus"):
            rounds.usable_checkpoint(tx, made[0])
        assert rounds.checkpoint(tx, made[0]).metrics == {}, "its row and its figures stay"


def test_what_is_gone_is_not_looked_for_again(world: World) -> None:
    play_rounds(world, 4)
    assert list(retention(world, scores=1, weights=1).prune())
    assert list(retention(world, scores=1, weights=1).prune()) == []
    with world.system.ledger.transaction() as tx:
        assert retired_rows(tx, Part.SCORES) == retired_rows(tx, Part.WEIGHTS) == []


def test_a_dry_run_tells_what_goes_and_changes_nothing(world: World) -> None:
    play_rounds(world, 4)
    kept = list(world.system.store.list(""))
    told = list(retention(world, scores=1, weights=1).surplus())
    assert list(world.system.store.list("")) == kept
    assert told == list(retention(world, scores=1, weights=1).prune())
    assert {(pruned.objects, pruned.size) for pruned in told} == {(1, 6), (2, 14)}


def test_objects_of_a_training_that_came_to_nothing_go_once_its_job_has_ended(world: World) -> None:
    (made,) = play_rounds(world, 1)
    answer(world)
    job = world.next_job(JobKind.TRAIN)
    lost = f"{attempts_of(world.id)}{job.id}-{job.fence}/model.safetensors"
    world.system.store.put_bytes(lost, b"weights")
    list(retention(world).prune())
    assert world.system.store.exists(lost), "its training may still become a checkpoint"
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE jobs SET state = 'dead', lease_until = NULL WHERE id = %(id)s", {"id": job.id})
    list(retention(world).prune())
    assert not world.system.store.exists(lost)
    assert with_weights(world, [made]) == [made]


def test_notes_of_a_training_stay_for_as_long_as_it_may_go_on(world: World) -> None:
    (made,) = play_rounds(world, 1)
    answer(world)
    job = world.next_job(JobKind.TRAIN)
    notes = [training_prefix(world.id, job.id) + name for name in ("order.json", "examples.npy", "model.pt")]
    for key in notes:
        world.system.store.put_bytes(key, b"note")
    list(retention(world).prune())
    assert all(world.system.store.exists(key) for key in notes), "the next attempt goes on from them"
    with world.system.ledger.transaction() as tx:
        tx.run("UPDATE jobs SET state = 'done', lease_until = NULL WHERE id = %(id)s", {"id": job.id})
    list(retention(world).prune())
    assert not any(world.system.store.exists(key) for key in notes)
    assert with_weights(world, [made]) == [made]


def prediction(world: World, ended_h: float | None, written_h: float) -> tuple[int | None, str]:
    """A prediction that ended so many hours ago, or None: still waits; with an object written so many hours ago."""
    name = uuid.uuid4().hex
    system = world.system
    key = f"{prediction_prefix(world.id, name)}0"
    system.store.put_bytes(key, b"picture")
    moment = time.time() - 3600 * written_h
    os.utime(store_folder(world) / key, (moment, moment))
    new = NewJob(kind=JobKind.PREDICT, project_id=world.id, unique_key=f"predict:{name}", payload={"name": name})
    with system.ledger.transaction() as tx:
        job = system.ledger.enqueue(tx, new)
        assert job is not None
        if ended_h is not None:
            tx.run(
                "UPDATE jobs SET state = 'done', finished_at = now() - make_interval(secs => %(s)s) WHERE id = %(id)s",
                {"s": 3600 * ended_h, "id": job.id},
            )
    return job.id, key


def store_folder(world: World) -> Path:
    store = world.system.store
    assert isinstance(store, DiskStore)
    return store._root


def test_predictions_go_with_their_rows_a_day_after_they_ended(world: World) -> None:
    old, fresh = prediction(world, 25, 25), prediction(world, 23, 23)
    waiting = prediction(world, None, 100)
    unasked = f"{prediction_prefix(world.id, uuid.uuid4().hex)}0"
    world.system.store.put_bytes(unasked, b"of a process that died before it could ask")
    with world.system.ledger.transaction() as tx:
        others = {job.id for job in jobs.newest(tx, limit=500) if job.kind is not JobKind.PREDICT}
        tx.run("UPDATE jobs SET finished_at = now() - interval '30 days' WHERE kind <> 'predict'")
    told = list(retention(world).prune())
    assert [(one.what, one.objects) for one in told] == [("predictions of long ago", 1)]
    assert sorted(world.system.store.list(predictions_of(world.id))) == sorted([fresh[1], waiting[1], unasked])
    with world.system.ledger.transaction() as tx:
        assert {job.id for job in jobs.newest(tx, limit=500)} == {fresh[0], waiting[0], *others}
    moment = time.time() - 25 * 3600
    os.utime(store_folder(world) / unasked, (moment, moment))
    list(retention(world).prune())
    assert not world.system.store.exists(unasked)
    assert world.system.store.exists(waiting[1]), "however long nobody got to it"
    assert old[1] not in world.system.store.list("")


def test_packs_in_a_form_that_the_project_has_left_go_when_nothing_is_at_work(world: World) -> None:
    settings = world.project.settings
    used = [
        pixels_key(world.id, ShardId(1), settings.pixels_variant),
        features_key(world.id, ShardId(1), settings.features_variant),
    ]
    left = [pixels_key(world.id, ShardId(1), "99x1"), features_key(world.id, ShardId(1), "resnet18-99x1")]
    for key in used + left:
        world.system.store.put_bytes(key, b"pack")
    answer(world)  # a training waits
    list(retention(world).prune())
    assert all(map(world.system.store.exists, left))
    world.do_train()
    world.do_score()
    world.do_select()
    list(retention(world).prune())
    assert sorted(world.system.store.list(shards_of(world.id))) == sorted(used)


def test_nothing_is_deleted_while_a_backup_is_made(world: World, migrated_database_url: str) -> None:
    made = play_rounds(world, 4)
    with deletion_held_off(migrated_database_url):
        assert list(retention(world, scores=1).prune()) == []
    assert with_scores(world, made) == made
    assert list(retention(world, scores=1).prune())


def test_a_backup_that_begins_in_the_middle_stops_the_deleting(world: World, migrated_database_url: str) -> None:
    made = play_rounds(world, 4)
    deleting = retention(world, scores=1).prune()
    next(deleting)
    with deletion_held_off(migrated_database_url):
        assert list(deleting) == []
        assert with_scores(world, made) == made[1:]
    list(retention(world, scores=1).prune())
    assert with_scores(world, made) == made[-1:]


def test_one_process_at_a_time_deletes(world: World) -> None:
    play_rounds(world, 3)
    with world.system.ledger.transaction() as tx:
        assert locks.may_delete(tx)
        assert list(retention(world, scores=1).prune()) == []


def environment(url: str, folder: Path) -> Mapping[str, str]:
    return {
        **os.environ,
        "WINNOW_DATABASE_URL": url,
        "WINNOW_STORE_PATH": str(folder),
        "WINNOW_RETENTION_SCORES": "1",
    }


def test_a_process_that_is_killed_while_deleting_leaves_nothing_behind_for_good(
    world: World, migrated_database_url: str, tmp_path: Path
) -> None:
    made = play_rounds(world, 3)
    many = 30 * BATCH
    for number in range(many):
        world.system.store.put_bytes(scores_prefix(world.id, made[0], ShardId(number)) + "probabilities.npy", b"s")
    child = subprocess.Popen(
        [sys.executable, "-m", "winnow.cli", "prune"],
        env=environment(migrated_database_url, tmp_path / "objects"),
    )

    def left() -> int:
        return sum(1 for _ in world.system.store.list(scores_of(world.id, made[0])))

    wait_for(lambda: left() < many, "the first objects to go")
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert 0 < left() < many
    with world.system.ledger.transaction() as tx:
        assert made[0] in [spent.id for spent in retired_rows(tx, Part.SCORES)]
    list(retention(world, scores=1).prune())
    assert with_scores(world, made) == made[-1:]
    with world.system.ledger.transaction() as tx:
        assert retired_rows(tx, Part.SCORES) == []


def test_the_sweeper_deletes_a_batch_at_a_time_when_it_is_time_to(world: World) -> None:
    made = play_rounds(world, 4)
    now = [0.0]
    system = world.system
    keeping = retention(world, scores=1)
    sweeper = Sweeper(system.ledger, system.rounds, every_s=60, retention=keeping, clock=lambda: now[0])
    sweeper.prune()
    assert with_scores(world, made) == made, "not before its time"
    now[0] += keeping.every_s
    sweeper.prune()
    assert with_scores(world, made) == made[1:]
    for _ in range(4):
        sweeper.prune()
    assert with_scores(world, made) == made[-1:]


def test_a_sweeper_that_runs_deletes_by_itself(world: World) -> None:
    made = play_rounds(world, 3)
    settings = RetentionSettings(scores=1, every_s=0.01)
    keeping = Retention(world.system.database, world.system.store, settings)
    sweeper = Sweeper(world.system.ledger, world.system.rounds, every_s=0.01, retention=keeping)
    sweeper.start()
    try:
        wait_for(lambda: with_scores(world, made) == made[-1:], "old scores to go")
    finally:
        sweeper.stop()


def test_the_command_shows_and_deletes(world: World, migrated_database_url: str, tmp_path: Path) -> None:
    made = play_rounds(world, 3)
    env = dict(environment(migrated_database_url, tmp_path / "objects"))
    shown = CliRunner().invoke(app, ["prune", "--dry-run"], env=env, catch_exceptions=False)
    assert "would delete 2 objects, 12 bytes" in shown.stdout
    assert with_scores(world, made) == made
    done = CliRunner().invoke(app, ["prune"], env=env, catch_exceptions=False)
    assert f"scores of checkpoint {made[0]}: 1 objects, 6 bytes" in done.stdout
    assert with_scores(world, made) == made[-1:]
