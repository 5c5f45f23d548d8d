"""What only RabbitMQ can do, or get wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from shared.bus import amqp
from shared.bus.amqp import AmqpBus
from shared.bus.factory import open_bus
from shared.domain import JobId, JobKind, WakeUp
from shared.errors import Invalid, Retryable
from shared.settings import BusSettings
from tests.servers.process import free_port
from tests.waiting import hear, wait_for


@pytest.fixture
def bus(amqp_url: str, unique: str) -> Iterator[AmqpBus]:
    with closing(AmqpBus(amqp_url, prefix=unique)) as made:
        made.check()
        yield made


@pytest.fixture
def broker(amqp_url: str) -> Iterator[BlockingChannel]:
    """A channel beside the bus, to look at the broker and to do what the bus never would."""
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


def wakeup(kind: JobKind, job_id: int) -> WakeUp:
    return WakeUp(kind=kind, job_id=JobId(job_id))


def ready(broker: BlockingChannel, queue: str) -> int:
    """Messages in the queue that no consumer has."""
    count: int = broker.queue_declare(queue, passive=True).method.message_count
    return count


def test_several_processes_may_declare_the_same_topology(bus: AmqpBus, amqp_url: str, unique: str) -> None:
    with closing(AmqpBus(amqp_url, prefix=unique)) as other, closing(other.subscribe([JobKind.TRAIN])) as subscription:
        bus.publish(wakeup(JobKind.TRAIN, 1))
        assert hear(subscription).wakeup.job_id == 1


def test_only_the_type_and_the_dead_letter_exchange_are_declared(
    bus: AmqpBus, broker: BlockingChannel, unique: str
) -> None:
    arguments = {"x-queue-type": "quorum", "x-dead-letter-exchange": f"{unique}.dead"}
    for kind in JobKind:
        broker.queue_declare(f"{unique}.{kind}", durable=True, arguments=arguments)  # refused if they were different


def test_a_queue_declared_differently_is_reported_with_the_reason_of_the_broker(
    broker: BlockingChannel, amqp_url: str, unique: str
) -> None:
    broker.queue_declare(f"{unique}.train", durable=True)
    with closing(AmqpBus(amqp_url, prefix=unique)) as bus, pytest.raises(Retryable, match="PRECONDITION_FAILED"):
        bus.check()


def test_publishing_to_a_deleted_queue_makes_it_again(bus: AmqpBus, broker: BlockingChannel, unique: str) -> None:
    broker.queue_delete(f"{unique}.train")
    bus.publish(wakeup(JobKind.TRAIN, 1))
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        assert hear(subscription).wakeup.job_id == 1


def test_a_queue_deleted_under_a_listening_worker_is_noticed(
    bus: AmqpBus, broker: BlockingChannel, unique: str
) -> None:
    with closing(bus.subscribe([JobKind.TRAIN, JobKind.SCORE])) as subscription:
        assert subscription.poll(0) is None
        broker.queue_delete(f"{unique}.train")
        with pytest.raises(Retryable, match="cancelled"):
            hear(subscription)


def test_a_connection_closed_by_the_broker_is_noticed_by_a_worker_that_holds_a_delivery(
    bus: AmqpBus, broker: BlockingChannel, unique: str
) -> None:
    bus.publish(wakeup(JobKind.TRAIN, 1))
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        held = hear(subscription)
        # Acknowledging what was never delivered makes the broker close the channel, and only that.
        subscription._channel.basic_ack(12345)
        with pytest.raises(Retryable, match="closed"):
            hear(subscription)
        with pytest.raises(Retryable):
            subscription.ack(held)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"kind": "train"}',
        b'{"kind": "dance", "job_id": 1}',
        b'{"kind": "train", "job_id": "1"}',
    ],
)
def test_what_is_no_wakeup_is_dead_lettered_and_the_next_one_heard(
    bus: AmqpBus, broker: BlockingChannel, unique: str, body: bytes
) -> None:
    broker.basic_publish(unique, "train", body)
    bus.publish(wakeup(JobKind.TRAIN, 2))
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        assert hear(subscription).wakeup.job_id == 2
    wait_for(lambda: ready(broker, f"{unique}.dead") == 1, "the dead letter")
    assert broker.basic_get(f"{unique}.dead", auto_ack=True)[2] == body


def test_what_is_no_wakeup_is_dead_lettered_when_it_comes_to_a_listening_worker(
    bus: AmqpBus, broker: BlockingChannel, unique: str
) -> None:
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        assert subscription.poll(0) is None
        broker.basic_publish(unique, "train", b"not json")
        bus.publish(wakeup(JobKind.TRAIN, 2))
        assert hear(subscription).wakeup.job_id == 2
    wait_for(lambda: ready(broker, f"{unique}.dead") == 1, "the dead letter")


def test_a_rejected_wakeup_goes_to_another_worker(bus: AmqpBus) -> None:
    bus.publish(wakeup(JobKind.TRAIN, 1))
    with closing(bus.subscribe([JobKind.TRAIN])) as first, closing(bus.subscribe([JobKind.TRAIN])) as second:
        held = hear(first)
        first.pause()
        first.reject(held)
        assert hear(second).wakeup.job_id == 1


def test_a_worker_that_ends_gives_back_what_it_held(bus: AmqpBus) -> None:
    bus.publish(wakeup(JobKind.TRAIN, 1))
    first = bus.subscribe([JobKind.TRAIN])
    hear(first)
    first.close()
    with closing(bus.subscribe([JobKind.TRAIN])) as second:
        assert hear(second).wakeup.job_id == 1


def test_pausing_gives_back_what_had_come_already(bus: AmqpBus, broker: BlockingChannel, unique: str) -> None:
    with closing(bus.subscribe([JobKind.TRAIN])) as first, closing(bus.subscribe([JobKind.TRAIN])) as second:
        assert first.poll(0) is None
        bus.publish(wakeup(JobKind.TRAIN, 1))
        wait_for(lambda: ready(broker, f"{unique}.train") == 0, "the message to be on its way to the first worker")
        first.pause()
        assert hear(second).wakeup.job_id == 1


def test_a_busy_worker_of_several_kinds_keeps_none_from_others(bus: AmqpBus) -> None:
    kinds = [JobKind.EMBED, JobKind.SCORE, JobKind.SELECT]
    with closing(bus.subscribe(kinds)) as first, closing(bus.subscribe(kinds)) as second:
        assert first.poll(0) is None  # it listens on all its queues, so each message below comes to it
        published = {wakeup(kind, number) for number, kind in enumerate(kinds)}
        for each in published:
            bus.publish(each)
        heard = {hear(first).wakeup}
        while heard != published:  # the first never settles what it holds
            delivery = hear(second)
            heard.add(delivery.wakeup)
            second.ack(delivery)


def test_a_worker_takes_turns_between_kinds_that_have_a_backlog(bus: AmqpBus) -> None:
    for number in range(3):
        bus.publish(wakeup(JobKind.EMBED, number))
        bus.publish(wakeup(JobKind.SCORE, number))
    heard = []
    with closing(bus.subscribe([JobKind.EMBED, JobKind.SCORE])) as subscription:
        for _ in range(6):
            delivery = hear(subscription)
            heard.append(delivery.wakeup.kind)
            subscription.ack(delivery)
    assert heard == [JobKind.EMBED, JobKind.SCORE] * 3


def test_a_backlog_is_worked_off_without_sending_messages_back(
    bus: AmqpBus, broker: BlockingChannel, unique: str
) -> None:
    """A message that goes back too often is dead-lettered by RabbitMQ 4, so waiting must not count as failing."""
    for number in range(10):
        bus.publish(wakeup(JobKind.EMBED, number))
        bus.publish(wakeup(JobKind.SCORE, number))
    with closing(bus.subscribe([JobKind.EMBED, JobKind.SCORE])) as subscription:
        for _ in range(10):
            subscription.ack(hear(subscription))
    times_sent_back = []
    for queue in (f"{unique}.embed", f"{unique}.score"):
        for _ in range(5):
            _, properties, _ = broker.basic_get(queue, auto_ack=True)
            times_sent_back.append((properties.headers or {}).get("x-delivery-count", 0))
    assert times_sent_back == [0] * 10


def test_an_unreachable_broker_is_a_passing_fault() -> None:
    bus = AmqpBus(f"amqp://guest:guest@127.0.0.1:{free_port()}/%2F")
    with pytest.raises(Retryable):
        bus.publish(wakeup(JobKind.TRAIN, 1))
    with pytest.raises(Retryable):
        bus.check()
    with pytest.raises(Retryable):
        bus.subscribe([JobKind.TRAIN])
    bus.close()


def test_a_broker_that_accepts_and_then_says_nothing_is_a_passing_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp, "CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bus = AmqpBus(f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}/%2F")
        with pytest.raises(Retryable):
            bus.publish(wakeup(JobKind.TRAIN, 1))
        with pytest.raises(Retryable):
            bus.subscribe([JobKind.TRAIN])


def test_publishers_do_not_wait_in_a_row_for_a_broker_that_can_not_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bus = AmqpBus(f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}/%2F")
        monkeypatch.setattr(bus._parameters, "stack_timeout", 0.3)
        monkeypatch.setattr(amqp, "PUBLISH_AGAIN_S", 3600)
        with ThreadPoolExecutor(8) as threads:
            waiting = [threads.submit(bus.publish, wakeup(JobKind.TRAIN, 1)) for _ in range(40)]
        assert all(isinstance(each.exception(), Retryable) for each in waiting)
        silent.setblocking(False)
        silent.accept()
        with pytest.raises(BlockingIOError):  # only one of them tried
            silent.accept()


def test_a_wrong_password_is_reported_without_showing_it(amqp_url: str) -> None:
    wrong = amqp_url.replace("guest:guest", "guest:hunter2").replace("winnow:winnow", "winnow:hunter2")
    with closing(AmqpBus(wrong)) as bus, pytest.raises(Retryable) as raised:
        bus.check()
    assert "hunter2" not in str(raised.value)


def test_a_url_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(Invalid, match="amqp://") as raised:
        AmqpBus("http://guest:hunter2@localhost")
    assert "hunter2" not in str(raised.value)


def test_the_settings_choose_this_bus(amqp_url: str, database_url: str) -> None:
    with closing(open_bus(BusSettings(kind="amqp", url=amqp_url), database_url)) as bus:
        bus.check()


def test_dead_letters_are_counted_shown_without_being_lost_and_dropped(
    bus: AmqpBus, broker: BlockingChannel, unique: str
) -> None:
    bodies = [b"first", b"second", b"third"]
    for body in bodies:
        broker.basic_publish(f"{unique}.dead", "", body)
    wait_for(lambda: bus.standing().dead == 3, "the dead letters")
    assert bus.dead(limit=2) == bodies[:2]
    wait_for(lambda: bus.standing().dead == 3, "those that were looked at to be back")
    assert bus.purge_dead() == 3
    assert bus.standing().dead == 0
