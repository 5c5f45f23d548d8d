"""The deployment's accounts in RabbitMQ do all that their service needs, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import quote

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from shared.bus import amqp
from shared.bus.amqp import AmqpBus
from shared.domain import JobId, JobKind, WakeUp
from shared.errors import Retryable
from tests.made_secrets import MadeSecrets
from tests.servers.rabbit import RabbitServer
from tests.waiting import hear, wait_for

SERVICES = ("api", "ui", "trainer", "scorer")
SERVED = {
    "api": (JobKind.EXPORT,),
    "trainer": (JobKind.TRAIN,),
    "scorer": (JobKind.EMBED, JobKind.SCORE, JobKind.SELECT, JobKind.PREDICT, JobKind.MAP),
}
QUEUES = (*(f"winnow.{kind.value}" for kind in JobKind), "winnow.dead")

Sign = Callable[[str], str]


@pytest.fixture
def url_of(deployed_rabbit: RabbitServer, deployed_secrets: MadeSecrets) -> Sign:
    """The URL with which a service signs in."""
    return lambda account: deployed_rabbit.url_of(account, deployed_secrets[f"rabbitmq_{account}"])


@pytest.fixture
def broker(url_of: Sign) -> Iterator[BlockingChannel]:
    """The operator's channel. Queues are empty before and after."""
    connection = pika.BlockingConnection(pika.URLParameters(url_of("operator")))
    channel = connection.channel()
    yield channel
    purged = connection.channel()
    for queue in QUEUES:
        purged.queue_purge(queue)
    connection.close()


@pytest.fixture
def without(url_of: Sign, broker: BlockingChannel) -> Iterator[Callable[[str], None]]:
    """Deletes a queue; when the test ends the operator's account makes it again."""
    yield lambda queue: broker.queue_delete(queue) and None
    with closing(AmqpBus(url_of("operator"))) as bus:
        bus.check()


def wakeup(kind: JobKind, job_id: int = 1) -> WakeUp:
    return WakeUp(kind=kind, job_id=JobId(job_id))


@pytest.mark.parametrize("account", SERVICES)
@pytest.mark.parametrize("kind", JobKind)
def test_every_service_may_publish_every_kind_of_wakeup(
    url_of: Sign, broker: BlockingChannel, account: str, kind: JobKind
) -> None:
    with closing(AmqpBus(url_of(account))) as bus:
        bus.check()
        bus.publish(wakeup(kind))
    method, _, body = broker.basic_get(f"winnow.{kind.value}", auto_ack=True)
    assert method is not None and json.loads(body)["kind"] == kind.value


@pytest.mark.parametrize("account", SERVED)
def test_a_worker_hears_gives_back_and_settles_what_it_serves(
    url_of: Sign, broker: BlockingChannel, account: str
) -> None:
    with closing(AmqpBus(url_of(account))) as bus, closing(bus.subscribe(SERVED[account])) as subscription:
        for kind in SERVED[account]:
            bus.publish(wakeup(kind))
            subscription.reject(hear(subscription))
            subscription.ack(hear(subscription))
        assert subscription.poll(0) is None


def test_what_a_worker_can_not_read_is_dead_lettered_without_a_right_to_the_dead_letters(
    url_of: Sign, broker: BlockingChannel
) -> None:
    broker.basic_publish("winnow", "train", b"not json")
    with closing(AmqpBus(url_of("trainer"))) as bus, closing(bus.subscribe([JobKind.TRAIN])) as subscription:
        assert subscription.poll(0.1) is None
        wait_for(lambda: broker.queue_declare("winnow.dead", passive=True).method.message_count == 1, "the dead letter")


@pytest.mark.parametrize(
    ("account", "kind"), [("trainer", JobKind.SCORE), ("scorer", JobKind.TRAIN), ("api", JobKind.PREDICT)]
)
def test_nobody_hears_the_work_of_others(url_of: Sign, account: str, kind: JobKind) -> None:
    with closing(AmqpBus(url_of(account))) as bus, pytest.raises(Retryable, match=f"winnow.{kind.value}"):
        bus.subscribe([kind]).poll(1)


@pytest.mark.parametrize("account", SERVICES)
@pytest.mark.parametrize(
    "forbidden",
    [
        lambda channel: channel.queue_declare("mine", durable=True),
        lambda channel: channel.queue_delete("winnow.train"),
        lambda channel: channel.queue_bind("winnow.train", "winnow", routing_key="all"),
        lambda channel: channel.exchange_delete("winnow"),
        lambda channel: channel.basic_get("winnow.dead"),
        lambda channel: channel.queue_purge("winnow.dead"),
    ],
    ids=["declare", "delete", "bind", "delete-exchange", "read-dead-letters", "purge-dead-letters"],
)
def test_no_service_may_touch_the_topology(
    url_of: Sign, account: str, forbidden: Callable[[BlockingChannel], object]
) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url_of(account)))
    with closing(connection), pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        forbidden(connection.channel())


@pytest.mark.parametrize("use", ["publish", "subscribe"])
def test_a_service_names_the_queue_that_is_missing_and_the_right_that_it_lacks(
    url_of: Sign, without: Callable[[str], None], use: str
) -> None:
    without("winnow.train")
    with closing(AmqpBus(url_of("trainer"))) as bus, pytest.raises(Retryable, match=r"winnow\.train.*configure"):
        bus.publish(wakeup(JobKind.TRAIN)) if use == "publish" else bus.subscribe([JobKind.TRAIN])


def test_a_service_goes_on_once_the_operator_has_restored_a_queue(url_of: Sign, without: Callable[[str], None]) -> None:
    with closing(AmqpBus(url_of("api"))) as bus:
        bus.publish(wakeup(JobKind.TRAIN))
        without("winnow.train")
        with pytest.raises(Retryable, match=r"winnow\.train.*configure"):
            bus.publish(wakeup(JobKind.TRAIN))
        with closing(AmqpBus(url_of("operator"))) as operator:
            operator.check()
        bus._not_before = 0.0  # a second later
        bus.publish(wakeup(JobKind.TRAIN))


def test_a_refused_login_and_a_missing_vhost_are_told_apart(url_of: Sign, deployed_rabbit: RabbitServer) -> None:
    with (
        closing(AmqpBus(deployed_rabbit.url_of("api", "hunter2"))) as bus,
        pytest.raises(Retryable, match="user name or password"),
    ):
        bus.check()
    elsewhere = url_of("api").removesuffix("%2F") + quote("nowhere")
    with closing(AmqpBus(elsewhere)) as bus, pytest.raises(Retryable, match=r"virtual host.*nowhere"):
        bus.check()


def test_guest_may_not_come_in(deployed_rabbit: RabbitServer) -> None:
    with closing(AmqpBus(deployed_rabbit.url_of("guest", "guest"))) as bus, pytest.raises(Retryable):
        bus.check()


def test_the_definitions_and_the_code_declare_the_same(url_of: Sign) -> None:
    """Declaring what is there with other arguments would be refused."""
    connection = pika.BlockingConnection(pika.URLParameters(url_of("operator")))
    with closing(connection):
        amqp._declare(connection, "winnow")


def test_the_definitions_name_nothing_that_the_code_does_not(deployed_secrets: MadeSecrets) -> None:
    defined = json.loads(deployed_secrets.rabbitmq_definitions.read_text())
    assert {queue["name"] for queue in defined["queues"]} == set(QUEUES)
    assert {exchange["name"] for exchange in defined["exchanges"]} == {"winnow", "winnow.dead"}
    assert {binding["destination"] for binding in defined["bindings"]} == set(QUEUES)
