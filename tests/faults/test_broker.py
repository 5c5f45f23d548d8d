"""RabbitMQ is killed at the worst moment. Nothing confirmed is lost, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from shared.bus.amqp import AmqpBus
from shared.domain import JobId, JobKind, WakeUp
from shared.errors import Retryable
from tests.servers.rabbit import RabbitServer
from tests.waiting import hear, wait_for


@pytest.fixture
def bus(killable_rabbit: RabbitServer, unique: str) -> Iterator[AmqpBus]:
    with closing(AmqpBus(killable_rabbit.url, prefix=unique)) as made:
        yield made


def train(job_id: int) -> WakeUp:
    return WakeUp(kind=JobKind.TRAIN, job_id=JobId(job_id))


def works(use: Callable[[], object]) -> bool:
    """Whether the call succeeds; a passing fault is no failure yet."""
    try:
        use()
    except Retryable:
        return False
    return True


def test_a_held_wakeup_is_delivered_again_after_the_broker_was_killed(
    bus: AmqpBus, killable_rabbit: RabbitServer
) -> None:
    bus.publish(train(1))
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        held = hear(subscription)
        killable_rabbit.kill()
        with pytest.raises(Retryable):
            hear(subscription)
        with pytest.raises(Retryable):
            subscription.ack(held)
    killable_rabbit.start()
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        assert hear(subscription).wakeup == train(1)


def test_a_worker_that_waits_notices_that_the_broker_was_killed(bus: AmqpBus, killable_rabbit: RabbitServer) -> None:
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription, ThreadPoolExecutor(1) as thread:
        assert subscription.poll(0) is None
        waiting = thread.submit(hear, subscription)
        killable_rabbit.kill()
        with pytest.raises(Retryable):
            waiting.result(timeout=60)


def test_publishing_fails_while_the_broker_is_down_and_works_once_it_is_back(
    bus: AmqpBus, killable_rabbit: RabbitServer
) -> None:
    bus.publish(train(1))
    killable_rabbit.kill()
    with pytest.raises(Retryable):
        bus.publish(train(2))
    with pytest.raises(Retryable):
        bus.check()
    with pytest.raises(Retryable):
        bus.subscribe([JobKind.TRAIN])
    killable_rabbit.start()
    wait_for(lambda: works(bus.check), "the bus to find the broker again")
    bus.publish(train(3))
    heard = []
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        while 3 not in heard:
            delivery = hear(subscription)
            heard.append(delivery.wakeup.job_id)
            subscription.ack(delivery)
    assert heard == [1, 3]


def test_a_restart_between_two_messages_goes_unnoticed_by_the_publisher(
    bus: AmqpBus, killable_rabbit: RabbitServer
) -> None:
    bus.publish(train(1))
    killable_rabbit.stop()
    killable_rabbit.start()
    bus.publish(train(2))


def test_every_confirmed_message_survives_a_kill_amid_publishing(bus: AmqpBus, killable_rabbit: RabbitServer) -> None:
    confirmed: list[int] = []

    def publish_until_it_fails() -> None:
        for number in range(100_000):
            bus.publish(train(number))
            confirmed.append(number)

    with ThreadPoolExecutor(1) as thread:
        publishing = thread.submit(publish_until_it_fails)
        wait_for(lambda: len(confirmed) >= 50, "some messages to be confirmed")
        killable_rabbit.kill()
        with pytest.raises(Retryable):
            publishing.result(timeout=60)
    killable_rabbit.start()
    heard: set[int] = set()
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        while not heard.issuperset(confirmed):
            delivery = hear(subscription)
            heard.add(delivery.wakeup.job_id)
            subscription.ack(delivery)
