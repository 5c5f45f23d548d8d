"""Whole tables in and out of Postgres, for backups: COPY in the form of CSV, which every version of it reads.

A snapshot is one moment: every table is read in one transaction that sees nothing of what is committed after it began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from shared.db.locks import hold_against_deletion, let_deletion_go_on
from shared.db.pool import Tx, translate
from shared.errors import Conflict, Retryable

TABLES = (
    "projects", "classes", "users", "api_keys", "shards", "images", "rounds", "checkpoints", "questions", "jobs",
    "batches", "tasks", "annotations", "labels", "gold", "events", "class_examples", "passes", "flags", "imports",
    "memberships", "invitations", "batch_leases", "batch_verdicts", "webhook_endpoints", "webhook_secrets",
    "webhook_messages", "webhook_attempts", "reviews", "exports", "tags", "image_tags",
)  # fmt: skip
"""What is copied, each table after those that it refers to. A table that a snapshot's version had not is left out."""
LEFT_OUT = ("sessions", "sign_in_failures", "idempotent_requests", "schema_migrations")
"""People sign in again after a restore, and requests sent again are done again; migrations are run, not copied."""
FUNCTIONS = ("add_annotator", "add_first_user", "events_are_append_only")
LOCK_WAIT_S = 600
"""How long a backup waits for a deletion under way."""
_APPLICATION = "winnow-backup"
_SERVICES = "winnow"
# The same text for the same rows, whatever the server's defaults are.
_FORMS = "-c timezone=UTC -c datestyle=ISO,YMD -c intervalstyle=postgres -c bytea_output=hex -c extra_float_digits=1"


class Writer(Protocol):
    def write(self, data: bytes, /) -> Any: ...


class Reader(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Counter:
    """Where an identity column goes on counting."""

    table: str
    column: str
    last: int
    called: bool
    """Whether ``last`` has been given out."""


class Session:
    """One connection of its own, outside the pool, in one transaction. Not thread-safe."""

    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self._connection = connection
        self.tx = Tx(connection)
        """For repositories."""

    def migration(self) -> int:
        """Number of the last migration applied; 0 for a database that is not Winnow's yet."""
        if self._value("SELECT to_regclass('schema_migrations')") is None:
            return 0
        return int(self._value("SELECT coalesce(max(number), 0) FROM schema_migrations"))

    def tables(self) -> list[str]:
        """Those of ``TABLES`` that are there."""
        return [table for table in TABLES if self._value("SELECT to_regclass(%s)", table) is not None]

    def columns(self, table: str) -> list[str]:
        """In the order in which they are copied."""
        rows = self.tx.all(
            "SELECT attname FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped "
            "ORDER BY attnum",
            {"table": table},
        )
        return [row["attname"] for row in rows]

    def copy_out(self, table: str, columns: Sequence[str], out: Writer) -> int:
        """Write the table as CSV with a header, in the order of its primary key; returns the number of rows."""
        statement = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT WITH (FORMAT csv, HEADER true)").format(
            _names(columns), sql.Identifier(table), _names(self._primary_key(table))
        )
        with _errors(), self._connection.cursor() as cursor:
            cursor.copy_expert(statement, cast(Any, out))
            return int(cursor.rowcount)

    def copy_in(self, table: str, columns: Sequence[str], source: Reader) -> int:
        """Add the rows that ``copy_out`` wrote, ids included; returns their number."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT csv, HEADER true)").format(
            sql.Identifier(table), _names(columns)
        )
        with _errors(), self._connection.cursor() as cursor:
            cursor.copy_expert(statement, cast(Any, source))
            return int(cursor.rowcount)

    def counters(self) -> list[Counter]:
        """Of every identity column. They count on beside transactions, so they are at the snapshot's rows or beyond."""
        found = []
        for table in self.tables():
            for column in self._identities(table):
                name = self._sequence(table, column)
                row = self.tx.one(f"SELECT last_value, is_called FROM {name}")
                assert row is not None  # a sequence is a table of one row
                found.append(
                    Counter(table=table, column=column, last=int(row["last_value"]), called=bool(row["is_called"]))
                )
        return found

    def set_counter(self, counter: Counter) -> None:
        name = self._sequence(counter.table, counter.column)
        self._value("SELECT setval(%s::regclass, %s, %s)", name, counter.last, counter.called)

    def statistics(self) -> None:
        """Let the planner know what was copied in."""
        for table in self.tables():
            self.tx.run(f"ANALYZE {table}")

    def _identities(self, table: str) -> list[str]:
        rows = self.tx.all(
            "SELECT attname FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attidentity <> ''",
            {"table": table},
        )
        return [row["attname"] for row in rows]

    def _sequence(self, table: str, column: str) -> str:
        """Its name, quoted where need be."""
        return str(self._value("SELECT pg_get_serial_sequence(%s, %s)", table, column))

    def _primary_key(self, table: str) -> list[str]:
        rows = self.tx.all(
            "SELECT a.attname FROM pg_index i "
            "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
            "WHERE i.indrelid = %(table)s::regclass AND i.indisprimary "
            "ORDER BY array_position(i.indkey::int2[], a.attnum)",
            {"table": table},
        )
        return [row["attname"] for row in rows]

    def _value(self, statement: str, *params: Any) -> Any:
        with _errors(), self._connection.cursor() as cursor:
            cursor.execute(statement, params or None)
            row = cursor.fetchone()
            return None if row is None else row[0]


@contextmanager
def snapshot(url: str) -> Iterator[Session]:
    """One moment of the database, for reading. Raises ``Retryable`` if it can't be reached."""
    with _connected(url) as connection, _errors():
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        yield Session(connection)
        connection.rollback()


@contextmanager
def filling(url: str) -> Iterator[Session]:
    """One transaction for writing: all of it is there when the block ends, nothing if it raises."""
    with _connected(url) as connection, _errors():
        session = Session(connection)
        yield session
        connection.commit()


@contextmanager
def deletion_held_off(url: str) -> Iterator[None]:
    """Nothing is deleted from the store by retention while the block runs.

    Raises ``Retryable`` if the lock can't be had, or turns out to have been lost with its connection meanwhile.
    """
    with _connected(url) as connection:
        with _errors():
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", (f"{LOCK_WAIT_S}s",))
            hold_against_deletion(connection)
        yield
        try:
            let_deletion_go_on(connection)  # the server would, too, but only once it has seen the connection's end
        except psycopg2.Error as error:
            raise Retryable(f"the connection that held deletion off was lost; run it again ({error})") from error


def refuse_unless_empty(url: str) -> None:
    """Raise ``Conflict`` if the database has projects, tables that are not Winnow's, or services connected to it."""
    with snapshot(url) as session:
        strangers = session.tx.all(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace "
            "AND relname <> ALL (%(ours)s) ORDER BY relname",
            {"ours": [*TABLES, *LEFT_OUT]},
        )
        if strangers:
            raise Conflict(
                f"the database has a table {strangers[0]['relname']}, which is not Winnow's: give another one"
            )
        if "projects" in session.tables() and session.tx.one("SELECT 1 AS one FROM projects LIMIT 1"):
            raise Conflict(
                "the database is not empty: it has projects, and a restore replaces none. Give it an empty one, or "
                "drop this one and create it anew if nothing in it is needed"
            )
        busy = session.tx.one(
            "SELECT count(*) AS sessions FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = %(services)s AND pid <> pg_backend_pid()",
            {"services": _SERVICES},
        )
        if busy is not None and busy["sessions"]:
            raise Conflict(f"services are connected to the database ({busy['sessions']} sessions): stop them first")


def clear(url: str) -> None:
    """Drop Winnow's tables, which ``refuse_unless_empty`` has found without projects. All or nothing."""
    with filling(url) as session:
        session.tx.run("SET LOCAL lock_timeout = '10s'")
        for table in (*LEFT_OUT, *reversed(TABLES)):
            session.tx.run(f"DROP TABLE IF EXISTS {table}")
        for function in FUNCTIONS:
            session.tx.run(f"DROP FUNCTION IF EXISTS {function}")


@contextmanager
def _connected(url: str) -> Iterator[psycopg2.extensions.connection]:
    try:
        connection = psycopg2.connect(
            url, connect_timeout=10, keepalives_idle=30, application_name=_APPLICATION, options=_FORMS
        )
    except psycopg2.Error as error:
        raise translate(error) from error
    try:
        connection.set_client_encoding("UTF8")
        yield connection
    finally:
        connection.close()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except psycopg2.Error as error:
        raise translate(error) from error


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
