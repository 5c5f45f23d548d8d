"""A message is delivered at least once, signed, tried again in vain for three days, and never more than is decent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.db import events
from shared.db.events import Wanted
from shared.db.webhooks import EventType, MessageState
from shared.webhooks.delivering import DISABLE_AFTER_S, WAITS_S, Deliverer
from shared.webhooks.endpoints import Change
from shared.webhooks.sending import EXCERPT, READ_BYTES
from tests.integration.webhooks_support import Post
from tests.receiver import Heard, Receiver, Reply, receiver
from tests.servers.process import free_port
from tests.waiting import wait_for
from tests.world import World, build, open_system


@pytest.fixture
def world(migrated_database_url: str, tmp_path: Path) -> Iterator[World]:
    with open_system(migrated_database_url, tmp_path / "store") as system:
        yield build(system, pool=1)


@pytest.fixture
def post(world: World) -> Post:
    return Post.of(world.system, world.id)


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def failing(there: Receiver, status: int = 500, **headers: str) -> None:
    there.reply = lambda heard: Reply(status, {name.replace("_", "-"): value for name, value in headers.items()})


def test_a_receiver_verifies_it_with_the_library(post: Post, there: Receiver) -> None:
    mine, secret = post.endpoint(there.url())
    post.emit(round=3)
    assert post.step() == 1
    (heard,) = there.heard
    said = Webhook(secret).verify(heard.body, dict(heard.headers))
    assert (said["type"], said["data"]) == ("round.completed", {"project_id": post.project_id, "round": 3})
    assert datetime.fromisoformat(said["timestamp"]).tzinfo == UTC
    assert heard.headers["content-type"] == "application/json"
    assert post.message(mine).state is MessageState.DELIVERED
    post.later()
    assert post.step() == 0


def test_a_body_that_was_changed_on_the_way_is_noticed(post: Post, there: Receiver) -> None:
    _, secret = post.endpoint(there.url())
    post.emit(round=3)
    post.step()
    (heard,) = there.heard
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(heard.body.replace(b"3", b"4"), dict(heard.headers))


def test_the_id_and_the_body_stay_over_attempts_and_each_is_signed_anew(post: Post, there: Receiver) -> None:
    _, secret = post.endpoint(there.url())
    failing(there)
    post.emit()
    post.step()
    time.sleep(1.1)  # the timestamp has whole seconds
    post.later()
    post.step()
    first, second = there.heard
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    Webhook(secret).verify(second.body, dict(second.headers))


def test_ten_attempts_over_three_days_and_then_no_more(post: Post, there: Receiver) -> None:
    mine, _ = post.endpoint(there.url())
    failing(there, 503)
    post.emit()
    waits = []
    for _ in range(9):
        assert post.step() == 1
        waits.append(post.waits_s(mine))
        post.later()
    post.step()
    message = post.message(mine)
    assert (message.state, message.attempts, len(there.heard)) == (MessageState.FAILED, 10, 10)
    assert waits == pytest.approx(WAITS_S, abs=2)
    assert sum(waits) / 3600 == pytest.approx(75, abs=1)
    post.later()
    assert post.step() == 0


def test_waits_are_spread_so_that_many_messages_do_not_come_back_at_once(world: World, there: Receiver) -> None:
    failing(there)
    post = Post.of(world.system, world.id)
    post.deliverer = Deliverer(world.system.database, post.settings)
    mine, _ = post.endpoint(there.url())
    post.emit()
    post.step()
    post.later()
    post.step()
    assert 0.9 * 300 - 2 <= post.waits_s(mine) <= 1.1 * 300


def test_an_answer_elsewhere_is_a_failure_and_nobody_goes_there(post: Post, there: Receiver) -> None:
    mine, _ = post.endpoint(there.url())
    with receiver() as inside:
        failing(there, 302, location=inside.url())
        post.emit()
        post.step()
        assert inside.connections == 0
    last = post.message(mine).last
    assert last is not None and (last.status, post.message(mine).state) == (302, MessageState.PENDING)


def test_gone_disables_the_endpoint_and_gives_up_what_waits(world: World, post: Post, there: Receiver) -> None:
    mine, _ = post.endpoint(there.url())
    failing(there, 410)
    post.emit()
    post.emit()
    post.step()
    assert not post.webhooks.get(mine.id).enabled
    assert {message.state for message in post.messages(mine)} == {MessageState.FAILED}
    with world.system.database.transaction() as tx:
        (event,) = events.search(tx, Wanted(kind="webhook.disabled"))
    assert "410" in event.data["reason"]


def test_five_days_of_nothing_but_failures_disable_the_endpoint(world: World, post: Post, there: Receiver) -> None:
    mine, _ = post.endpoint(there.url())
    failing(there)
    post.emit()
    post.step()
    assert post.webhooks.get(mine.id).enabled
    with world.system.database.transaction() as tx:
        tx.run(
            "UPDATE webhook_endpoints SET failing_since = failing_since - make_interval(secs => %(s)s)",
            {"s": DISABLE_AFTER_S},
        )
    post.later()
    post.step()
    ended = post.webhooks.get(mine.id)
    assert (ended.enabled, ended.disabled_reason) == (False, "it did nothing but fail for 5 days")


def test_a_delivery_makes_earlier_failures_forgotten(post: Post, there: Receiver) -> None:
    mine, _ = post.endpoint(there.url())
    failing(there)
    post.emit()
    post.step()
    assert post.webhooks.get(mine.id).failing_since is not None
    there.reply = lambda heard: Reply()
    post.later()
    post.step()
    assert post.webhooks.get(mine.id).failing_since is None


def test_failing_long_ago_does_not_count_where_nothing_was_tried_since(
    world: World, post: Post, there: Receiver
) -> None:
    mine, _ = post.endpoint(there.url())
    failing(there)
    post.emit()
    post.step()
    with world.system.database.transaction() as tx:
        tx.run(
            "UPDATE webhook_endpoints "
            "SET failing_since = now() - interval '9 days', failed_at = now() - interval '6 days'"
        )
    post.emit()
    post.step()
    assert post.webhooks.get(mine.id).enabled


@pytest.mark.parametrize(
    ("asked", "wait_s"),
    [
        ("120", 120),
        ("1", 5),  # less than the schedule says
        ("99999999999", 86_400),  # a day at most
        (None, 3 * 3600),  # a moment three hours from now
        ("soon", 5),
    ],
)
def test_a_receiver_may_ask_for_more_time(post: Post, there: Receiver, asked: str | None, wait_s: float) -> None:
    mine, _ = post.endpoint(there.url())
    moment = format_datetime(datetime.now(UTC) + timedelta(hours=3), usegmt=True)
    failing(there, 429, retry_after=asked or moment)
    post.emit()
    post.step()
    assert post.waits_s(mine) == pytest.approx(wait_s, abs=60 if wait_s > 3600 else 2)


def test_of_a_long_answer_the_beginning_is_read_and_kept(post: Post, there: Receiver) -> None:
    mine, _ = post.endpoint(there.url())
    there.reply = lambda heard: Reply(200, {"content-length": str(50 * READ_BYTES)}, b"ab\0" * (10 * READ_BYTES))
    post.emit()
    post.step()
    last = post.message(mine).last
    assert last is not None and last.excerpt == ("ab" * EXCERPT)[:EXCERPT]


def test_an_answer_that_trickles_ends_with_the_time_of_the_attempt(world: World) -> None:
    """Each byte comes well within any time-out between two of them; the whole would take a quarter of an hour."""
    post = Post.of(world.system, world.id, timeout_s=1)
    with trickling() as port:
        mine, _ = post.endpoint(f"http://127.0.0.1:{port}/")
        post.emit()
        post.step()
    last = post.message(mine).last
    assert last is not None and (last.status, last.error) == (None, "no whole answer within 1 s")


def test_nobody_listening_is_a_failure_that_is_tried_again(post: Post) -> None:
    mine, _ = post.endpoint(f"http://127.0.0.1:{free_port()}/")
    post.emit()
    post.step()
    message = post.message(mine)
    assert message.last is not None and "refused" in (message.last.error or "")
    assert message.state is MessageState.PENDING


def test_for_a_while_after_a_rotation_both_secrets_verify(world: World, post: Post, there: Receiver) -> None:
    mine, old = post.endpoint(there.url())
    _, new = post.webhooks.rotate(mine.id, keep_s=3600, actor="test")
    post.emit()
    post.step()
    (heard,) = there.heard
    assert len(heard.headers["webhook-signature"].split()) == 2
    for secret in (old, new):
        Webhook(secret).verify(heard.body, dict(heard.headers))
    with world.system.database.transaction() as tx:
        tx.run("UPDATE webhook_secrets SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL")
    post.emit()
    post.step()
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(there.heard[-1].body, dict(there.heard[-1].headers))
    Webhook(new).verify(there.heard[-1].body, dict(there.heard[-1].headers))


def test_a_redelivery_has_the_same_id_and_starts_the_schedule_anew(post: Post, there: Receiver) -> None:
    mine, _ = post.endpoint(there.url())
    post.emit()
    post.step()
    failing(there)
    post.webhooks.redeliver(mine.id, post.message(mine).id, actor="test")
    post.step()
    first, second = there.heard
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert post.waits_s(mine) == pytest.approx(WAITS_S[0], abs=2)


def test_a_ping_reaches_a_disabled_endpoint_once(post: Post, there: Receiver) -> None:
    mine, _ = post.endpoint(there.url())
    post.webhooks.change(mine.id, Change(enabled=False), actor="test")
    failing(there)
    post.webhooks.ping(mine.id, actor="test")
    post.step()
    assert json.loads(there.heard[0].body)["type"] == "webhook.ping"
    assert post.message(mine).state is MessageState.FAILED


def test_a_slow_endpoint_holds_up_nobody_else(world: World, there: Receiver) -> None:
    post = Post.of(world.system, world.id, concurrency=6, per_endpoint=4)
    open_again = threading.Event()
    with receiver() as slow:
        slow.reply = lambda heard: Reply() if open_again.wait(30) else Reply(500)
        post.endpoint(slow.url())
        post.endpoint(there.url(), EventType.MODEL_PROMOTED)
        for _ in range(20):
            post.emit()
        post.deliverer.start()
        try:
            wait_for(lambda: len(slow.heard) == 4, "the slow endpoint's share")
            for _ in range(10):
                post.emit(EventType.MODEL_PROMOTED)
            wait_for(lambda: len(there.heard) == 10, "the other endpoint's messages", 10)
            assert len(slow.heard) == 4
            open_again.set()
            wait_for(lambda: len(slow.heard) == 20, "the slow endpoint's messages")
        finally:
            open_again.set()
            post.deliverer.stop()


def test_an_endpoint_that_fails_gets_one_request_at_a_time(world: World, there: Receiver) -> None:
    post = Post.of(world.system, world.id)
    failing(there)
    post.endpoint(there.url())
    post.emit()
    post.step()
    under_way, most = 0, 0
    counting = threading.Lock()

    def reply(heard: Heard) -> Reply:
        nonlocal under_way, most
        with counting:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.05)
        with counting:
            under_way -= 1
        return Reply(500)

    there.reply = reply
    for _ in range(8):
        post.emit()
    post.deliverer.start()
    try:
        wait_for(lambda: len(there.heard) >= 9, "all of them")
    finally:
        post.deliverer.stop()
    assert most == 1


def test_processes_side_by_side_deliver_each_message_once(world: World, there: Receiver) -> None:
    post = Post.of(world.system, world.id)
    post.endpoint(there.url())
    for number in range(60):
        post.emit(round=number)
    others = [Deliverer(world.system.database, post.settings) for _ in range(3)]
    for one in others:
        one.start()
    try:
        wait_for(lambda: len(there.heard) >= 60, "all of them")
    finally:
        for one in others:
            one.stop()
    assert sorted(json.loads(heard.body)["data"]["round"] for heard in there.heard) == list(range(60))


def test_what_a_killed_process_had_in_hand_is_delivered_by_the_next(
    world: World, migrated_database_url: str, tmp_path: Path, there: Receiver
) -> None:
    post = Post.of(world.system, world.id)
    _, secret = post.endpoint(there.url())
    post.emit(round=7)
    dead = threading.Event()

    def reply(heard: Heard) -> Reply:
        dead.wait(30)
        return Reply()

    there.reply = reply
    first = api(migrated_database_url, tmp_path)
    try:
        wait_for(lambda: len(there.heard) == 1, "the first process's attempt")
        os.kill(first.pid, signal.SIGKILL)
        first.wait(10)
    finally:
        first.kill()
        dead.set()
    second = api(migrated_database_url, tmp_path)
    try:
        wait_for(lambda: len(there.heard) == 2, "the second process's attempt")
        wait_for(lambda: all_delivered(world), "its record")
    finally:
        second.terminate()
        assert second.wait(15) == 0
    before, after = there.heard
    assert before.headers["webhook-id"] == after.headers["webhook-id"]
    assert Webhook(secret).verify(after.body, dict(after.headers))["data"]["round"] == 7


@contextmanager
def trickling() -> Iterator[int]:
    """Listens at a port and answers a byte every tenth of a second, for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.1)

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])


def all_delivered(world: World) -> bool:
    with world.system.database.transaction() as tx:
        return tx.one("SELECT 1 AS one FROM webhook_messages WHERE state <> 'delivered'") is None


def api(database_url: str, folder: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "WINNOW_DATABASE_URL": database_url,
        "WINNOW_STORE_PATH": str(folder / "store"),
        "WINNOW_API_PORT": str(free_port()),
        "WINNOW_WEBHOOK_ALLOW_NETWORKS": '["127.0.0.0/8"]',
        "WINNOW_WEBHOOK_LEASE_S": "2",
        "WINNOW_WEBHOOK_POLL_S": "0.1",
    }
    with (folder / "api.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "services.api"], env=environment, stdout=log, stderr=log)
