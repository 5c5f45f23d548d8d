"""What happens is written down for those who want to be told, where and when it happens, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.db import rounds
from shared.db.webhooks import EventType
from shared.retention import Retention
from shared.settings import RetentionSettings
from shared.sweeper import Sweeper
from shared.webhooks import emit
from shared.webhooks.endpoints import Change
from tests.integration.webhooks_support import Post
from tests.world import World, build, open_system

URL = "http://127.0.0.1:9/hook"
ALL = tuple(EventType)


@pytest.fixture
def world(migrated_database_url: str, tmp_path: Path) -> Iterator[World]:
    with open_system(migrated_database_url, tmp_path) as system:
        yield build(system, pool=6, initial=2, batch_size=2, label_budget=2)


@pytest.fixture
def post(world: World) -> Post:
    return Post.of(world.system, world.id)


def written(world: World) -> int:
    with world.system.database.transaction() as tx:
        row = tx.one("SELECT count(*) AS n FROM webhook_messages")
    assert row is not None
    return int(row["n"])


def advance(world: World) -> None:
    with world.system.ledger.transaction() as tx:
        world.system.rounds.advance(tx, world.id)


def test_nothing_is_written_where_nobody_listens(world: World, post: Post) -> None:
    post.emit()
    assert written(world) == 0


def test_every_endpoint_that_wants_it_is_told_of_the_same_thing_by_the_same_id(world: World, post: Post) -> None:
    mine, _ = post.endpoint(URL)
    whole, _ = post.endpoint(URL, project=False)
    other, _ = post.endpoint(URL, EventType.MODEL_PROMOTED)
    post.emit(round=3)
    assert post.message(mine).uid == post.message(whole).uid
    assert post.message(mine).data == {"project_id": world.id, "round": 3}
    assert post.messages(other) == []


def test_an_endpoint_of_a_project_hears_nothing_of_another(world: World, post: Post) -> None:
    mine, _ = post.endpoint(URL)
    stranger = build(world.system, pool=1, name="other")
    with world.system.database.transaction() as tx:
        emit(tx, stranger.id, EventType.ROUND_COMPLETED, {})
    assert post.messages(mine) == []


def test_what_was_rolled_back_is_told_to_nobody(world: World, post: Post) -> None:
    post.endpoint(URL)
    with pytest.raises(RuntimeError), world.system.database.transaction() as tx:
        emit(tx, world.id, EventType.ROUND_COMPLETED, {})
        raise RuntimeError
    assert written(world) == 0


def test_a_disabled_endpoint_is_told_nothing_and_what_waited_is_given_up(world: World, post: Post) -> None:
    mine, _ = post.endpoint(URL)
    post.emit()
    post.webhooks.change(mine.id, Change(enabled=False), actor="test")
    post.emit()
    assert [message.state for message in post.messages(mine)] == ["failed"]


def test_a_whole_loop_tells_of_answers_rounds_models_and_the_end(world: World, post: Post) -> None:
    mine, _ = post.endpoint(URL, *ALL)
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(2)
    advance(world)
    assert [m.type for m in reversed(post.messages(mine))] == ["annotation.submitted"] * 2 + ["round.completed"]
    answered = post.messages(mine)[-1]
    assert set(answered.data) == {"project_id", "annotation_id", "task_id", "image_id", "class_id", "user_id"}
    world.do_train(accuracy=0.5)
    world.do_score()
    with world.system.database.transaction() as tx:
        model = rounds.latest(tx, world.id)
    assert model is not None
    assert [m.type for m in post.messages(mine)[:2]] == ["project.stopped", "round.completed"]
    stopped, done = post.messages(mine)[:2]
    assert done.data == {"project_id": world.id, "round": 1, "labels": 2, "checkpoint_id": model.checkpoint_id}
    assert (stopped.data["round"], "budget" in stopped.data["reason"]) == (1, True)


def test_a_lease_that_runs_out_is_told_once(world: World, post: Post) -> None:
    mine, _ = post.endpoint(URL, *ALL)
    world.start()
    world.do_embed()
    world.do_select()
    held = world.system.labelling.lease(world.id, world.user().id, count=2)
    with world.system.database.transaction() as tx:
        tx.run("UPDATE tasks SET lease_until = now() - interval '1 second' WHERE state = 'leased'")
    sweeper = Sweeper(world.system.ledger, world.system.rounds, every_s=60)
    sweeper.sweep()
    sweeper.sweep()
    told = post.messages(mine)
    assert {(m.type, m.data["task_id"]) for m in told} == {("task.lease_expired", task.id) for task in held}
    assert len({m.uid for m in told}) == len(told) == 2


def test_the_log_is_kept_for_a_while_and_what_waits_for_as_long_as_it_takes(world: World, post: Post) -> None:
    mine, _ = post.endpoint(URL)
    for _ in range(3):
        post.emit()
    with world.system.database.transaction() as tx:
        tx.run("UPDATE webhook_messages SET created_at = now() - interval '99 days'")
        tx.run("UPDATE webhook_messages SET state = 'failed', finished_at = now() - interval '2 hours' WHERE id = 1")
        tx.run("UPDATE webhook_messages SET state = 'delivered', finished_at = now() WHERE id = 2")
    settings = RetentionSettings(webhooks_s=3600)
    list(Retention(world.system.database, world.system.store, settings).prune())
    assert [message.id for message in post.messages(mine)] == [3, 2]
