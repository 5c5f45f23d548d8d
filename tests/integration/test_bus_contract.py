"""What both buses promise, on the real servers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from shared.bus.amqp import AmqpBus
from shared.bus.base import Bus, Delivery, Subscription
from shared.bus.local import LocalBus
from shared.domain import JobId, JobKind, WakeUp
from shared.errors import Conflict, Invalid, Retryable
from tests.waiting import hear

NOTHING = 0.3
"""Seconds in which a bus gets the chance to do what it must not do."""


@pytest.fixture(params=["local", "amqp"])
def bus(request: pytest.FixtureRequest, unique: str) -> Iterator[Bus]:
    made: Bus
    if request.param == "local":
        made = LocalBus(request.getfixturevalue("database_url"))
    else:
        made = AmqpBus(request.getfixturevalue("amqp_url"), prefix=unique)
    yield made
    made.close()


@pytest.fixture
def trainer(bus: Bus) -> Iterator[Subscription]:
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        yield subscription


def train(job_id: int) -> WakeUp:
    return WakeUp(kind=JobKind.TRAIN, job_id=JobId(job_id))


def test_a_published_wakeup_is_heard(bus: Bus, trainer: Subscription) -> None:
    bus.publish(train(7))
    assert hear(trainer).wakeup == train(7)


def test_an_acknowledged_wakeup_is_not_heard_again(bus: Bus, trainer: Subscription) -> None:
    bus.publish(train(1))
    trainer.ack(hear(trainer))
    bus.publish(train(2))
    assert hear(trainer).wakeup == train(2)


def test_a_rejected_wakeup_is_heard_again(bus: Bus, trainer: Subscription) -> None:
    bus.publish(train(1))
    trainer.reject(hear(trainer))
    assert hear(trainer).wakeup == train(1)


def test_a_worker_hears_only_the_kinds_it_asked_for(bus: Bus, trainer: Subscription) -> None:
    bus.publish(WakeUp(kind=JobKind.EMBED, job_id=JobId(1)))
    bus.publish(train(2))
    assert hear(trainer).wakeup == train(2)


def test_a_worker_of_several_kinds_hears_them_all(bus: Bus) -> None:
    wakeups = {WakeUp(kind=kind, job_id=JobId(number)) for number, kind in enumerate(JobKind)}
    with closing(bus.subscribe(list(JobKind))) as subscription:
        for wakeup in wakeups:
            bus.publish(wakeup)
        heard = set()
        for _ in wakeups:
            delivery = hear(subscription)
            heard.add(delivery.wakeup)
            subscription.ack(delivery)
    assert heard == wakeups


def test_urgent_wakeups_go_first_in_turns_with_those_that_came_before_them(bus: Bus) -> None:
    with closing(bus.subscribe([JobKind.TRAIN, JobKind.SCORE, JobKind.PREDICT])) as subscription:
        bus.publish(train(1))
        held = hear(subscription)
        for kind, first in ((JobKind.SCORE, 2), (JobKind.PREDICT, 5)):
            for number in range(first, first + 3):
                bus.publish(WakeUp(kind=kind, job_id=JobId(number)))
        assert subscription.poll(NOTHING) is None
        heard = []
        for _ in range(6):
            subscription.ack(held)
            held = hear(subscription)
            heard.append(held.wakeup.job_id)
    assert heard == [5, 2, 6, 3, 7, 4]


def test_a_worker_gets_no_second_delivery_while_it_holds_one(bus: Bus, trainer: Subscription) -> None:
    bus.publish(train(1))
    bus.publish(train(2))
    first = hear(trainer)
    assert trainer.poll(NOTHING) is None
    trainer.ack(first)
    assert hear(trainer).wakeup == train(2)


def test_a_paused_worker_hears_nothing_until_it_resumes(bus: Bus, trainer: Subscription) -> None:
    assert trainer.poll(0) is None
    trainer.pause()
    bus.publish(train(1))
    assert trainer.poll(NOTHING) is None
    trainer.resume()
    assert hear(trainer).wakeup == train(1)


def test_a_worker_may_pause_with_a_delivery_in_hand(bus: Bus, trainer: Subscription) -> None:
    bus.publish(train(1))
    first = hear(trainer)
    trainer.pause()
    trainer.ack(first)
    bus.publish(train(2))
    assert trainer.poll(NOTHING) is None
    trainer.resume()
    assert hear(trainer).wakeup == train(2)


def test_settling_twice_is_refused(bus: Bus, trainer: Subscription) -> None:
    bus.publish(train(1))
    delivery = hear(trainer)
    trainer.ack(delivery)
    with pytest.raises(Conflict, match="job 1"):
        trainer.reject(delivery)


def test_settling_what_was_never_delivered_is_refused_and_breaks_nothing(bus: Bus, trainer: Subscription) -> None:
    with pytest.raises(Conflict):
        trainer.ack(Delivery(wakeup=train(1), tag=99))
    bus.publish(train(2))
    assert hear(trainer).wakeup == train(2)


def test_many_threads_may_publish_at_once(bus: Bus, trainer: Subscription) -> None:
    numbers = set(range(100))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: bus.publish(train(number)), numbers))
    heard: set[int] = set()
    while heard != numbers:
        delivery = hear(trainer)
        heard.add(delivery.wakeup.job_id)
        trainer.ack(delivery)


def test_a_closed_subscription_says_that_it_is_deaf(bus: Bus) -> None:
    subscription = bus.subscribe([JobKind.TRAIN])
    subscription.close()
    with pytest.raises(Retryable):
        subscription.poll(0)


def test_closing_twice_does_no_harm(bus: Bus) -> None:
    subscription = bus.subscribe([JobKind.TRAIN])
    for closeable in (subscription, subscription, bus, bus):
        closeable.close()


def test_a_bus_that_can_be_reached_passes_its_check(bus: Bus) -> None:
    bus.check()


def test_a_subscription_to_nothing_is_refused(bus: Bus) -> None:
    with pytest.raises(Invalid):
        bus.subscribe([])


def test_those_who_listen_are_counted_by_kind(bus: Bus, trainer: Subscription) -> None:
    with closing(bus.subscribe([JobKind.SCORE, JobKind.TRAIN])) as other:
        trainer.poll(0)
        other.poll(0)
        assert bus.standing().listening == {
            JobKind.EMBED: 0,
            JobKind.TRAIN: 2,
            JobKind.SCORE: 1,
            JobKind.SELECT: 0,
            JobKind.PREDICT: 0,
            JobKind.MAP: 0,
            JobKind.EXPORT: 0,
        }
