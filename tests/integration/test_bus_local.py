"""What only the bus on LISTEN and NOTIFY can do, or get wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from shared.bus.factory import open_bus
from shared.bus.local import CHANNEL, LocalBus
from shared.bus.wire import encode
from shared.domain import JobId, JobKind, WakeUp
from shared.errors import Invalid, Retryable
from shared.settings import BusSettings
from tests.waiting import hear


@pytest.fixture
def bus(database_url: str) -> Iterator[LocalBus]:
    with closing(LocalBus(database_url)) as made:
        yield made


def run(database_url: str, statement: str) -> None:
    connection = psycopg2.connect(database_url)
    connection.autocommit = True
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(statement)


def cut(database_url: str, name: str) -> None:
    """End the connections of that name from the server's side."""
    run(database_url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'")


def train(job_id: int) -> WakeUp:
    return WakeUp(kind=JobKind.TRAIN, job_id=JobId(job_id))


def test_every_worker_hears_a_wakeup(bus: LocalBus) -> None:
    with closing(bus.subscribe([JobKind.TRAIN])) as first, closing(bus.subscribe([JobKind.TRAIN])) as second:
        bus.publish(train(1))
        assert hear(first).wakeup == hear(second).wakeup == train(1)


def test_a_wakeup_that_comes_twice_waits_once(bus: LocalBus) -> None:
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        for job_id in (1, 1, 1, 2):
            bus.publish(train(job_id))
        heard = []
        while 2 not in heard:
            delivery = hear(subscription)
            heard.append(delivery.wakeup.job_id)
            subscription.ack(delivery)
        assert heard == [1, 2]


def test_a_wakeup_that_comes_again_while_its_job_runs_is_kept(bus: LocalBus) -> None:
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        bus.publish(train(1))
        held = hear(subscription)
        bus.publish(train(1))
        subscription.ack(held)
        assert hear(subscription).wakeup == train(1)


def test_a_rejected_wakeup_is_heard_after_the_others(bus: LocalBus, database_url: str) -> None:
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        one, other = (encode(train(number)).decode() for number in (1, 2))
        # In one transaction, so that both are there when the first is heard.
        run(database_url, f"SELECT pg_notify('{CHANNEL}', '{one}'), pg_notify('{CHANNEL}', '{other}')")
        subscription.reject(hear(subscription))
        second = hear(subscription)
        subscription.ack(second)
        assert [second.wakeup, hear(subscription).wakeup] == [train(2), train(1)]


def test_what_is_no_wakeup_is_passed_over(bus: LocalBus, database_url: str) -> None:
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        run(database_url, f"NOTIFY {CHANNEL}, 'not json'")
        bus.publish(train(1))
        assert hear(subscription).wakeup == train(1)


def test_a_worker_notices_that_its_connection_is_gone(bus: LocalBus, database_url: str) -> None:
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        cut(database_url, "winnow worker train")
        with pytest.raises(Retryable):
            hear(subscription)
        with pytest.raises(Retryable):
            subscription.poll(0)


def test_publishing_outlives_a_lost_connection(bus: LocalBus, database_url: str) -> None:
    with closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        bus.publish(train(1))
        subscription.ack(hear(subscription))
        cut(database_url, "winnow publisher")
        bus.publish(train(2))
        assert hear(subscription).wakeup == train(2)


def test_an_unreachable_database_is_a_passing_fault(tmp_path: object) -> None:
    bus = LocalBus(f"postgresql://nobody@/nothing?host={tmp_path}")
    with pytest.raises(Retryable):
        bus.publish(train(1))
    with pytest.raises(Retryable):
        bus.check()
    with pytest.raises(Retryable):
        bus.subscribe([JobKind.TRAIN])


def test_the_settings_choose_this_bus(database_url: str) -> None:
    with closing(open_bus(BusSettings(kind="local"), database_url)) as bus:
        bus.check()


def test_a_url_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(Invalid, match="postgresql://") as raised:
        LocalBus("postgres:hunter2 is no url").check()
    assert "hunter2" not in str(raised.value)
