"""The bus of local mode, on PostgreSQL's LISTEN and NOTIFY: it needs no server but the database.

A notification reaches every worker that listens, and none that doesn't. Both are fine: a wake-up is a hint, the claim
in the ledger decides who gets the job, and the sweeper sends again what nobody heard. Each subscription keeps what it
heard until it is polled, every job once, so that its backlog is bounded by the number of unfinished jobs.
"""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

import psycopg2
from psycopg2.extensions import connection as Connection

from shared.bus.base import Delivery, Standing
from shared.bus.wire import decode, encode
from shared.domain import JobId, JobKind, WakeUp
from shared.errors import Conflict, Invalid, Retryable
from shared.telemetry import logger

CHANNEL = "winnow_wakeup"
CONNECT_S = 10

_log = logger(__name__)


@contextmanager
def _driver_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (psycopg2.Error, OSError) as error:
        raise Retryable(f"PostgreSQL failed while {doing}: {str(error).strip()}") from error


def _connect(database_url: str, role: str) -> Connection:
    try:
        connection = psycopg2.connect(
            database_url,
            connect_timeout=CONNECT_S,
            application_name=f"winnow {role}",
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
        )
    except psycopg2.ProgrammingError:  # its message would repeat the URL, which may hold a password
        raise Invalid("the database URL can't be read; it looks like postgresql://user:password@host/name") from None
    # A listener inside a transaction hears nothing and keeps the server from clearing its queue.
    connection.autocommit = True
    return connection


class LocalBus:
    """See ``shared.bus.base.Bus``. Publishing has one connection, shared by all threads under a lock."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def publish(self, wakeup: WakeUp) -> None:
        self._run("SELECT pg_notify(%s, %s)", (CHANNEL, encode(wakeup).decode()), f"waking up job {wakeup.job_id}")

    def check(self) -> None:
        self._run("SELECT 1", (), "being checked")

    def subscribe(self, kinds: Sequence[JobKind]) -> LocalSubscription:
        return LocalSubscription(self._database_url, kinds)

    def standing(self) -> Standing:
        with (
            _driver_errors("counting listeners"),
            closing(_connect(self._database_url, "publisher")) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name LIKE 'winnow worker %'"
            )
            heard = [kind for (name,) in cursor.fetchall() for kind in name.split()[-1].split(",")]
        return Standing(listening={kind: heard.count(kind.value) for kind in JobKind}, dead=0)

    def dead(self, limit: int) -> list[bytes]:
        return []  # what can't be read is dropped where it is heard

    def purge_dead(self) -> int:
        return 0

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _run(self, statement: str, values: tuple[str, ...], doing: str) -> None:
        """Execute, once more on a fresh connection if the one at hand turns out to be broken."""
        with self._lock:
            if self._connection is not None:
                try:
                    self._execute(self._connection, statement, values)
                    return
                except psycopg2.Error as error:
                    _log.info("bus.reconnecting", reason=str(error).strip())
                    self._drop()
            with _driver_errors(doing):
                self._connection = _connect(self._database_url, "publisher")
                self._execute(self._connection, statement, values)

    @staticmethod
    def _execute(connection: Connection, statement: str, values: tuple[str, ...]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg2.Error):
                connection.close()


class LocalSubscription:
    """See ``shared.bus.base.Subscription``. What comes back by ``reject`` is heard again after the rest."""

    def __init__(self, database_url: str, kinds: Sequence[JobKind]) -> None:
        if not kinds:
            raise Invalid("a subscription needs at least one kind of job")
        self._kinds = frozenset(kinds)
        self._waiting: dict[JobId, WakeUp] = {}
        """Heard and not yet handed out, oldest first."""
        self._held: Delivery | None = None
        self._urgent_before = False
        """Whether what was handed out last was urgent."""
        self._paused = False
        self._handed_out = 0
        with _driver_errors("subscribing"):
            self._connection = _connect(database_url, f"worker {','.join(kind.value for kind in kinds)}")
            with self._connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._connection.fileno(), selectors.EVENT_READ)

    def poll(self, timeout: float) -> Delivery | None:
        deadline = time.monotonic() + timeout
        with _driver_errors("waiting for wake-ups"):
            self._hear()
            while self._may_not_give() or not self._waiting:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return None
                self._selector.select(remaining)
                self._hear()
        in_turn = (job_id for job_id, one in self._waiting.items() if one.kind.urgent is not self._urgent_before)
        wakeup = self._waiting.pop(next(in_turn, None) or next(iter(self._waiting)))
        self._urgent_before = wakeup.kind.urgent
        self._handed_out += 1
        self._held = Delivery(wakeup=wakeup, tag=self._handed_out)
        return self._held

    def ack(self, delivery: Delivery) -> None:
        self._let_go(delivery)

    def reject(self, delivery: Delivery) -> None:
        self._let_go(delivery)
        self._waiting.setdefault(delivery.wakeup.job_id, delivery.wakeup)

    def pause(self) -> None:
        """What was heard stays here: every other worker has heard it too."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    def close(self) -> None:
        self._selector.close()
        with suppress(psycopg2.Error):
            self._connection.close()

    def _may_not_give(self) -> bool:
        """Whether nothing may be handed out now."""
        return self._paused or self._held is not None

    def _hear(self) -> None:
        """Take in the notifications that have arrived, without waiting."""
        self._connection.poll()
        while self._connection.notifies:
            payload = self._connection.notifies.pop(0).payload
            try:
                wakeup = decode(payload.encode())
            except Invalid as error:
                _log.error("bus.undecodable", reason=str(error), size=len(payload))
                continue
            if wakeup.kind in self._kinds:
                self._waiting.setdefault(wakeup.job_id, wakeup)

    def _let_go(self, delivery: Delivery) -> None:
        if delivery != self._held:
            raise Conflict(f"the wake-up of job {delivery.wakeup.job_id} is not held by this subscription")
        self._held = None
