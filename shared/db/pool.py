"""Connections and transactions.

``Database`` hands out at most ``pool_size`` connections and lets callers wait for one (psycopg2's own pool raises
instead). A connection that broke is thrown away. ``Tx`` is what repositories get: a transaction that returns rows as
dictionaries, turns the driver's errors into Winnow's, and runs hooks after its commit.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.pool

from shared.errors import Conflict, Invalid, Retryable, WinnowError
from shared.metrics import POOL_IN_USE, POOL_SIZE
from shared.settings import DatabaseSettings
from shared.telemetry import logger

log = logger(__name__)
Row = dict[str, Any]
Params = Mapping[str, Any]


def translate(error: psycopg2.Error) -> WinnowError:
    """The error of ours that a driver's error means."""
    message = (error.diag.message_primary if error.diag else None) or str(error).strip() or type(error).__name__
    if isinstance(error, psycopg2.errors.UniqueViolation | psycopg2.errors.ForeignKeyViolation):
        return Conflict(message)
    if isinstance(error, psycopg2.IntegrityError | psycopg2.DataError):
        return Invalid(message)
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        return Retryable(message)  # lost connections, deadlocks, serialization failures, time-outs
    return WinnowError(message)


class Tx:
    """One transaction on one connection. Not thread-safe."""

    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self._connection = connection
        self._after_commit: list[Callable[[], None]] = []

    def all(self, sql: str, params: Params | None = None) -> list[Row]:
        """Every row of the answer."""
        with self._cursor() as cursor:
            cursor.execute(sql, params)
            names = _columns(cursor)
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def one(self, sql: str, params: Params | None = None) -> Row | None:
        """The first row of the answer, or None."""
        with self._cursor() as cursor:
            cursor.execute(sql, params)
            row = cursor.fetchone()
            return None if row is None else dict(zip(_columns(cursor), row, strict=True))

    def run(self, sql: str, params: Params | None = None) -> int:
        """The number of rows that the statement touched."""
        with self._cursor() as cursor:
            cursor.execute(sql, params)
            return int(cursor.rowcount)

    def stream(self, sql: str, params: Params | None = None, size: int = 2000) -> Iterator[Row]:
        """Rows as they come, through a server-side cursor: memory stays bounded by ``size`` rows."""
        with self._cursor(name="stream") as cursor:
            cursor.itersize = size
            cursor.execute(sql, params)
            names: list[str] = []
            for row in cursor:
                names = names or _columns(cursor)  # known once the first rows were fetched
                yield dict(zip(names, row, strict=True))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What the block does is undone if it raises, hooks included; what this transaction did before stays."""
        hooks = len(self._after_commit)
        self.run("SAVEPOINT here")
        try:
            yield
        except BaseException:
            del self._after_commit[hooks:]
            self.run("ROLLBACK TO SAVEPOINT here; RELEASE SAVEPOINT here")
            raise
        self.run("RELEASE SAVEPOINT here")

    def after_commit(self, hook: Callable[[], None]) -> None:
        """Run ``hook`` once this transaction is committed; never if it isn't. Hooks must not raise."""
        self._after_commit.append(hook)

    def run_hooks(self) -> None:
        for hook in self._after_commit:
            hook()

    @contextmanager
    def _cursor(self, name: str | None = None) -> Iterator[Any]:
        try:
            with self._connection.cursor(name) as cursor:
                yield cursor
        except psycopg2.Error as error:
            raise translate(error) from error


def _columns(cursor: Any) -> list[str]:
    """psycopg2's own cursors of dictionaries take five times as long for a row."""
    return [column.name for column in cursor.description]


class Database:
    """A pool of connections to one database. Thread-safe."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._pool: psycopg2.pool.ThreadedConnectionPool | None = None
        self._opening = threading.Lock()
        self._slots = threading.BoundedSemaphore(settings.pool_size)
        POOL_SIZE.set(settings.pool_size)

    @contextmanager
    def transaction(self, *, wait_s: float | None = None) -> Iterator[Tx]:
        """A transaction: committed when the block ends, rolled back when it raises.

        Raises ``Retryable`` when no connection is free in ``wait_s`` (None: as long as the settings say) or Postgres
        can't be reached.
        """
        with self._connection(wait_s) as connection:
            tx = Tx(connection)
            yield tx
            connection.commit()
        tx.run_hooks()

    @contextmanager
    def _connection(self, wait_s: float | None) -> Iterator[psycopg2.extensions.connection]:
        if not self._slots.acquire(timeout=self._settings.acquire_timeout_s if wait_s is None else wait_s):
            raise Retryable("every database connection is in use; try again shortly")
        POOL_IN_USE.inc()
        try:
            connection = self._take()
            try:
                yield connection
            except psycopg2.Error as error:
                raise translate(error) from error
            finally:
                self._give(connection)
        finally:
            POOL_IN_USE.dec()
            self._slots.release()

    @contextmanager
    def one_by_one(self) -> Iterator[Tx]:
        """For reading, and for statements that need no others: each is a transaction of its own, committed as it ends,
        and sees what is committed when it begins. It saves the round trips of BEGIN and COMMIT, which cost as much as a
        short statement. Raises as ``transaction``.
        """
        with self._connection(None) as connection:
            connection.autocommit = True
            try:
                yield Tx(connection)
            finally:
                if not connection.closed:
                    connection.autocommit = False

    def check(self) -> None:
        """Raise ``Retryable`` unless Postgres answers now."""
        with self.transaction() as tx:
            tx.one("SELECT 1 AS alive")

    def close(self) -> None:
        """Close every connection. Transactions still open break."""
        with self._opening:
            if self._pool is not None:
                self._pool.closeall()
                self._pool = None

    def _take(self) -> psycopg2.extensions.connection:
        """A connection known to answer: those that Postgres closed meanwhile (a restart) are thrown away."""
        try:
            with self._opening:
                if self._pool is None:
                    self._pool = psycopg2.pool.ThreadedConnectionPool(
                        0,
                        self._settings.pool_size,
                        self._settings.url.get_secret_value(),
                        connect_timeout=10,
                        keepalives_idle=30,
                        application_name="winnow",
                        options="-c timezone=UTC",
                    )
                    # Opened one by one as they are needed, and then all kept: a pool closes what exceeds its minimum.
                    self._pool.minconn = self._settings.pool_size
                pool = self._pool
            for _ in range(self._settings.pool_size + 1):  # all of them may be stale
                connection: psycopg2.extensions.connection = pool.getconn()
                if self._answers(connection):
                    return connection
                pool.putconn(connection, close=True)
            raise Retryable("the database closes every connection at once")
        except psycopg2.Error as error:
            raise translate(error) from error

    @staticmethod
    def _answers(connection: psycopg2.extensions.connection) -> bool:
        """Asks only where the server has said something meanwhile, as it does before it closes: a round trip for every
        transaction would be a fifth of what an answer costs."""
        try:
            if not connection.closed:
                said = select.poll()
                said.register(connection.fileno())
                if not any(event & ~select.POLLOUT for _, event in said.poll(0)):
                    return True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            return True
        except psycopg2.Error:
            return False

    def _give(self, connection: psycopg2.extensions.connection) -> None:
        """Back to the pool with nothing pending, or thrown away."""
        try:
            if not connection.closed:
                connection.rollback()
        except psycopg2.Error:
            log.warning("database.connection_lost")
        try:
            if self._pool is not None:
                self._pool.putconn(connection, close=bool(connection.closed))
                return
        except psycopg2.pool.PoolError:
            pass  # the pool was closed this very moment
        connection.close()
