"""The bus on RabbitMQ 3.10 or newer, through pika.

Topology (``winnow`` is the prefix), declared by whoever comes first, or provided by the broker's definitions: then
accounts need no right to configure anything::

    exchange winnow (direct) --<kind>--> quorum queue winnow.<kind>, dead letters to:
    exchange winnow.dead (fanout) -----> quorum queue winnow.dead

On the queues only their type and the dead-letter exchange are declared: every version from 3.10 to 4.3 accepts these,
and a limit can be changed later by a policy, while a queue can't be declared again with another argument.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    UnroutableError,
)

from shared.bus.base import Delivery, Standing
from shared.bus.wire import decode, encode
from shared.domain import JobKind, WakeUp
from shared.errors import Conflict, Invalid, Retryable
from shared.telemetry import logger

HEARTBEAT_S = 30
CONNECT_S = 10
BLOCKED_S = 10
"""How long a broker short of memory or disk may keep a publisher waiting."""
PUBLISH_AGAIN_S = 1
"""After a connection could not be opened, publishers fail at once for this long: they would wait in a row otherwise."""

# The second is no AMQPError: it comes when a broker accepts the connection and then says nothing.
_DRIVER_ERRORS = (AMQPError, AMQPConnectorException, OSError)

_NOT_FOUND, _ACCESS_REFUSED = 404, 403

_log = logger(__name__)
_Result = TypeVar("_Result")


@contextmanager
def _driver_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except UnroutableError as error:
        raise Retryable(f"RabbitMQ could not route a message while {doing}: its queue is gone") from error
    except (AuthenticationError, ProbableAuthenticationError) as error:
        raise Retryable(f"RabbitMQ refused the user name or password while {doing}: see WINNOW_BUS_URL") from error
    except ProbableAccessDeniedError as error:
        raise Retryable(f"RabbitMQ refused the virtual host, the last part of WINNOW_BUS_URL: {error}") from error
    except ChannelClosedByBroker as error:
        if error.reply_code != _ACCESS_REFUSED:
            raise Retryable(f"RabbitMQ failed while {doing}: {error!r}") from error
        raise Retryable(
            f"RabbitMQ does not let this account do what is needed while {doing} ({error.reply_text}): give it the "
            "right, or restore what is missing from the broker's definitions"
        ) from error
    except _DRIVER_ERRORS as error:
        raise Retryable(f"RabbitMQ failed while {doing}: {error!r}") from error


def _parameters(url: str, role: str) -> pika.URLParameters:
    """Raises ``Invalid`` for what is no AMQP URL, without repeating it: it may hold a password."""
    if not url.startswith(("amqp://", "amqps://")):
        raise Invalid("the RabbitMQ URL must begin with amqp:// or amqps://, as in amqp://user:password@host:5672/%2F")
    try:
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError) as error:
        raise Invalid(f"the RabbitMQ URL can't be read: {type(error).__name__}") from None
    parameters.heartbeat = HEARTBEAT_S
    parameters.blocked_connection_timeout = BLOCKED_S
    parameters.socket_timeout = CONNECT_S
    parameters.stack_timeout = CONNECT_S
    parameters.client_properties = {"connection_name": f"winnow {role} {socket.gethostname()}:{os.getpid()}"}
    return parameters


def _queue(prefix: str, kind: JobKind) -> str:
    return f"{prefix}.{kind.value}"


def _dead(prefix: str) -> str:
    """Exchange and queue of what nobody could read."""
    return f"{prefix}.dead"


def _provide(connection: pika.BlockingConnection, prefix: str) -> None:
    """See that the topology is there. Looks first, which needs no rights; what is missing it declares."""
    missing = _missing(connection, prefix)
    if missing:
        _restore(connection, prefix, missing)


def _repair(connection: pika.BlockingConnection, prefix: str) -> None:
    """As ``_provide``, when a message found no queue: if everything is there, a binding is gone."""
    _restore(connection, prefix, _missing(connection, prefix) or ["a binding"])


def _restore(connection: pika.BlockingConnection, prefix: str, missing: Sequence[str]) -> None:
    """Declare everything. Raises ``Retryable``, which says what is missing, if this account may not."""
    try:
        _declare(connection, prefix)
    except ChannelClosedByBroker as error:
        if error.reply_code != _ACCESS_REFUSED:
            raise
        raise Retryable(
            f"RabbitMQ lacks {', '.join(missing)}, and this account has no right to configure it ({error.reply_text}): "
            "restart RabbitMQ, so that it loads its definitions, or have an account with that right use it once"
        ) from error


def _declare(connection: pika.BlockingConnection, prefix: str) -> None:
    """Make what isn't there yet. Raises if something of that name is there but different."""
    channel = connection.channel()
    dead = _dead(prefix)
    channel.exchange_declare(prefix, exchange_type="direct", durable=True)
    channel.exchange_declare(dead, exchange_type="fanout", durable=True)
    channel.queue_declare(dead, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(dead, dead)
    arguments = {"x-queue-type": "quorum", "x-dead-letter-exchange": dead}
    for kind in JobKind:
        channel.queue_declare(_queue(prefix, kind), durable=True, arguments=arguments)
        channel.queue_bind(_queue(prefix, kind), prefix, routing_key=kind.value)
    channel.close()


def _missing(connection: pika.BlockingConnection, prefix: str) -> list[str]:
    """The exchanges and queues that don't exist. The broker closes the channel on which one was asked for in vain."""
    names = [(f"exchange {name}", "exchange_declare", name) for name in (prefix, _dead(prefix))]
    queues = (_dead(prefix), *(_queue(prefix, kind) for kind in JobKind))
    names += [(f"queue {name}", "queue_declare", name) for name in queues]
    missing = []
    channel = connection.channel()
    for what, declare, name in names:
        try:
            getattr(channel, declare)(name, passive=True)
        except ChannelClosedByBroker as error:
            if error.reply_code != _NOT_FOUND:
                raise
            missing.append(what)
            channel = connection.channel()
    channel.close()
    return missing


class AmqpBus:
    """See ``shared.bus.base.Bus``. ``prefix`` names exchanges and queues, so that several may share a broker.

    Publishing has one connection, opened when first needed and shared by all threads under a lock. Between messages
    a small thread serves its heartbeats. Without it the broker would drop the idle connection; without heartbeats a
    broker that hangs would hold the lock, and with it every publisher, for ever.
    """

    def __init__(self, url: str, prefix: str = "winnow") -> None:
        self._parameters = _parameters(url, "publisher")
        self._url = url
        self._prefix = prefix
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._keeper: threading.Thread | None = None
        self._not_before = 0.0

    def publish(self, wakeup: WakeUp) -> None:
        properties = pika.BasicProperties(content_type="application/json", delivery_mode=pika.DeliveryMode.Persistent)

        def send(channel: BlockingChannel) -> None:
            channel.basic_publish(self._prefix, wakeup.kind.value, encode(wakeup), properties, mandatory=True)

        self._on_channel(send, f"publishing a wake-up of job {wakeup.job_id}")

    def check(self) -> None:
        self._on_channel(lambda channel: channel.exchange_declare(self._prefix, passive=True), "being checked")

    def standing(self) -> Standing:
        def look(channel: BlockingChannel) -> Standing:
            found = {kind: channel.queue_declare(_queue(self._prefix, kind), passive=True).method for kind in JobKind}
            dead = channel.queue_declare(_dead(self._prefix), passive=True).method
            listening = {kind: int(queue.consumer_count) for kind, queue in found.items()}
            return Standing(listening=listening, dead=int(dead.message_count))

        return self._apart(look, "counting listeners")

    def dead(self, limit: int) -> list[bytes]:
        return self._apart(lambda channel: self._peek(channel, limit), "looking at dead letters")

    def purge_dead(self) -> int:
        return self._apart(
            lambda channel: int(channel.queue_purge(_dead(self._prefix)).method.message_count), "dropping dead letters"
        )

    def subscribe(self, kinds: Sequence[JobKind]) -> AmqpSubscription:
        return AmqpSubscription(self._url, self._prefix, kinds)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            self._drop()
        if self._keeper is not None:
            self._keeper.join()

    def _apart(self, use: Callable[[BlockingChannel], _Result], doing: str) -> _Result:
        """Call ``use`` on a connection that is closed afterwards: what it fetched and did not settle goes back."""
        connection: pika.BlockingConnection | None = None
        with _driver_errors(doing):
            try:
                connection = pika.BlockingConnection(self._parameters)
                _provide(connection, self._prefix)
                return use(connection.channel())
            finally:
                _close(connection)

    def _peek(self, channel: BlockingChannel, limit: int) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < limit:
            method, _, body = channel.basic_get(_dead(self._prefix))
            if method is None:
                break
            found.append(body or b"")
        return found

    def _on_channel(self, use: Callable[[BlockingChannel], _Result], doing: str) -> _Result:
        """Call ``use``, once more on a fresh connection if the one at hand turns out to be broken.

        A fresh connection declares the topology again, so this also repairs a queue that was deleted.
        """
        with self._lock:
            provide = _provide
            if self._channel is not None:
                try:
                    return use(self._channel)
                except _DRIVER_ERRORS as error:
                    _log.info("bus.reconnecting", reason=repr(error))
                    self._drop()
                    if isinstance(error, UnroutableError):
                        provide = _repair
            if time.monotonic() < self._not_before:
                raise Retryable(f"RabbitMQ failed while {doing}: it could not be reached a moment ago")
            with _driver_errors(doing):
                try:
                    return use(self._open(provide))
                except BaseException:
                    self._drop()
                    self._not_before = time.monotonic() + PUBLISH_AGAIN_S
                    raise

    def _open(self, provide: Callable[[pika.BlockingConnection, str], None]) -> BlockingChannel:
        if self._closed.is_set():
            raise Retryable("the bus is closed")
        self._connection = pika.BlockingConnection(self._parameters)
        provide(self._connection, self._prefix)
        channel = self._connection.channel()
        channel.confirm_delivery()
        self._channel = channel
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep_alive, name="bus-heartbeats", daemon=True)
            self._keeper.start()
        return channel

    def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        _close(connection)

    def _keep_alive(self) -> None:
        while not self._closed.wait(HEARTBEAT_S / 3):
            with self._lock:
                if self._connection is None:
                    continue
                try:
                    self._connection.process_data_events(0)
                except _DRIVER_ERRORS as error:
                    _log.warning("bus.connection_lost", reason=repr(error))
                    self._drop()


class AmqpSubscription:
    """See ``shared.bus.base.Subscription``. One connection, one channel.

    Quorum queues know no limit per channel, only one per consumer: a consumer on each of several queues would take as
    many messages as there are queues and keep all but one from other workers. So this either *listens* on all its
    queues and holds nothing, or holds one delivery and has no consumer at all. While there is a backlog it fetches the
    next message with ``basic_get`` and opens no consumer; that also takes turns between the kinds, and between urgent
    ones and the others. Listening comes only once all queues are empty; if two messages then arrive at the same moment,
    one goes back.
    """

    def __init__(self, url: str, prefix: str, kinds: Sequence[JobKind]) -> None:
        if not kinds:
            raise Invalid("a subscription needs at least one kind of job")
        self._prefix = prefix
        self._kinds = deque(kinds)
        """The kind that was fetched last is asked for last."""
        self._urgent_before = False
        """Whether what was handed out last was urgent."""
        self._listening: list[str] = []
        """Consumer tags."""
        self._arrived: deque[tuple[int, bytes]] = deque()
        """Tags and bodies that a consumer brought and that are neither handed out nor sent back."""
        self._held: Delivery | None = None
        self._paused = False
        self._cancelled = False
        self._connection: pika.BlockingConnection | None = None
        try:
            with _driver_errors("subscribing"):
                self._connection = pika.BlockingConnection(_parameters(url, "worker"))
                _provide(self._connection, prefix)
                self._channel = self._connection.channel()
                self._channel.basic_qos(prefetch_count=1)
                self._channel.add_on_cancel_callback(self._on_cancel)
        except BaseException:
            _close(self._connection)
            raise

    def poll(self, timeout: float) -> Delivery | None:
        deadline = time.monotonic() + timeout
        with _driver_errors("waiting for wake-ups"):
            self._require_open()
            if self._held is None and not self._paused:
                if not self._listening:
                    self._held = self._fetch()
                if self._held is None:
                    self._listen()
                    self._serve(deadline, until=lambda: bool(self._arrived))
                    self._held = self._keep_one() if self._arrived else None
                if self._held is not None:
                    self._urgent_before = self._held.wakeup.kind.urgent
                return self._held
            self._serve(deadline, until=lambda: False)
            return None

    def ack(self, delivery: Delivery) -> None:
        self._settle(delivery, lambda: self._channel.basic_ack(delivery.tag))

    def reject(self, delivery: Delivery) -> None:
        self._settle(delivery, lambda: self._channel.basic_reject(delivery.tag, requeue=True))

    def pause(self) -> None:
        self._paused = True
        with _driver_errors("pausing"):
            self._require_open()
            self._stop_listening()

    def resume(self) -> None:
        self._paused = False

    def close(self) -> None:
        _close(self._connection)

    def _fetch(self) -> Delivery | None:
        """The next message of a queue that has one, in turns."""
        for kind in sorted(self._kinds, key=lambda kind: kind.urgent is self._urgent_before):
            while True:
                method, _, body = self._channel.basic_get(_queue(self._prefix, kind))
                if method is None:
                    break
                delivery = self._delivery(method.delivery_tag, body or b"")
                if delivery is not None:
                    self._kinds.remove(kind)
                    self._kinds.append(kind)
                    return delivery
        return None

    def _listen(self) -> None:
        if not self._listening:
            queues = [_queue(self._prefix, kind) for kind in self._kinds]
            self._listening = [self._channel.basic_consume(queue, self._on_message) for queue in queues]

    def _stop_listening(self) -> None:
        """Cancel the consumers. pika itself sends back what they bring from now on."""
        while self._listening:
            self._channel.basic_cancel(self._listening.pop())

    def _keep_one(self) -> Delivery | None:
        """Of what arrived, the first that can be read; the others go back."""
        self._stop_listening()
        kept: Delivery | None = None
        while self._arrived:
            tag, body = self._arrived.popleft()
            if kept is None:
                kept = self._delivery(tag, body)
            else:
                self._channel.basic_reject(tag, requeue=True)
        return kept

    def _delivery(self, tag: int, body: bytes) -> Delivery | None:
        """None for what is no wake-up: it is dead-lettered, as no worker will ever be able to read it."""
        try:
            return Delivery(wakeup=decode(body), tag=tag)
        except Invalid as error:
            _log.error("bus.undecodable", reason=str(error), size=len(body))
            self._channel.basic_reject(tag, requeue=False)
            return None

    def _settle(self, delivery: Delivery, settle: Callable[[], None]) -> None:
        if delivery != self._held:
            raise Conflict(f"the wake-up of job {delivery.wakeup.job_id} is not held by this subscription")
        self._held = None
        with _driver_errors("settling a delivery"):
            self._require_open()
            settle()

    def _serve(self, deadline: float, until: Callable[[], bool]) -> None:
        """Serve the connection until the deadline, or until the condition holds."""
        assert self._connection is not None
        while True:
            self._connection.process_data_events(max(0.0, deadline - time.monotonic()))
            # pika returns in silence when the broker has closed the channel or cancelled a consumer.
            self._require_open()
            if until() or time.monotonic() >= deadline:
                return

    def _require_open(self) -> None:
        if self._connection is None or not self._connection.is_open or not self._channel.is_open:
            raise Retryable("RabbitMQ closed the connection; subscribe again")
        if self._cancelled:
            raise Retryable("RabbitMQ cancelled a consumer, as it does when a queue is deleted; subscribe again")

    def _on_message(self, _channel: Any, method: pika.spec.Basic.Deliver, _properties: Any, body: bytes) -> None:
        self._arrived.append((method.delivery_tag, body))

    def _on_cancel(self, _frame: Any) -> None:
        self._cancelled = True


def _close(connection: pika.BlockingConnection | None) -> None:
    if connection is not None:
        with suppress(*_DRIVER_ERRORS):
            connection.close()
