"""The whole database out to files and back in, as CSV by COPY: any version of Postgres from 15 on, any to any other.

A dump belongs to the migration at which it was made. Why not pg_dump: docs/adr/0006-backup.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO, Protocol

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from shared.db.pool import translate
from shared.errors import Conflict, Invalid

TABLES = (
    "projects",
    "classes",
    "users",
    "api_keys",
    "shards",
    "images",
    "rounds",
    "checkpoints",
    "tasks",
    "annotations",
    "labels",
    "jobs",
    "events",
)
"""In an order in which each refers only to those before it."""
LEFT_OUT = ("schema_migrations", "sessions")
"""The first is made by migrating; who was signed in signs in again."""
DELETION_LOCK = 0x57444C54
"""Held exclusively by who deletes objects, and shared by a backup: what its snapshot needs must not go meanwhile."""


class Source(Protocol):
    """Where a dump is read from. ``columns`` and ``rows`` are by table."""

    @property
    def columns(self) -> Mapping[str, Sequence[str]]: ...

    @property
    def rows(self) -> Mapping[str, int]: ...

    def open(self, table: str) -> AbstractContextManager[BinaryIO]: ...


class Snapshot:
    """One moment of the database, however long reading it takes."""

    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self._connection = connection
        self.migration = self._migration()

    def columns(self, table: str) -> list[str]:
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position",
                (table,),
            )
            return [str(row[0]) for row in cursor.fetchall()]

    def dump(self, table: str, out: BinaryIO) -> int:
        """Write a table to ``out`` as CSV in order of its key; returns the number of rows."""
        names = sql.SQL(", ").join(map(sql.Identifier, self.columns(table)))
        query = sql.SQL("COPY (SELECT {} FROM {} ORDER BY 1) TO STDOUT (FORMAT csv)")
        with _errors(), self._connection.cursor() as cursor:
            cursor.copy_expert(query.format(names, sql.Identifier(table)), out)
            return int(cursor.rowcount)

    def release(self) -> None:
        """Reading is over. Postgres may tidy up behind it; objects still stay."""
        with _errors():
            self._connection.commit()

    def _migration(self) -> int:
        with _errors(), self._connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(number), 0) FROM schema_migrations")
            row = cursor.fetchone()
        return int(row[0]) if row else 0


@contextmanager
def snapshot(url: str) -> Iterator[Snapshot]:
    """The database as it is now. Nobody deletes objects until it is closed.

    Raises ``Retryable`` if Postgres can't be reached.
    """
    with _connection(url) as connection, _errors(), connection.cursor() as cursor:
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", (DELETION_LOCK,))
        connection.commit()  # the snapshot is taken by the first statement after this: once the lock is held
        yield Snapshot(connection)


def require_empty(url: str) -> None:
    """Raises ``Conflict`` if a table has rows."""
    with _connection(url) as connection, _errors(), connection, connection.cursor() as cursor:
        _require_empty(cursor)


def load(url: str, source: Source) -> None:
    """Fill an empty database, whose schema is at the source's migration. All or nothing.

    Raises ``Conflict`` if a table has rows, ``Invalid`` if the source does not hold what it says.
    """
    with _connection(url) as connection, _errors(), connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL search_path = public")
        _require_empty(cursor)
        for table in TABLES:
            names = sql.SQL(", ").join(map(sql.Identifier, source.columns[table]))
            query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(sql.Identifier(table), names)
            with source.open(table) as body:
                cursor.copy_expert(query, body)
            if cursor.rowcount != source.rows[table]:
                raise Invalid(f"{table} has {cursor.rowcount} rows in the backup, which says {source.rows[table]}")
            _go_on_counting(cursor, table)


def _require_empty(cursor: psycopg2.extensions.cursor) -> None:
    for table in (*TABLES, "sessions"):
        cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(table)))
        row = cursor.fetchone()
        if row and row[0]:
            raise Conflict(
                f"the database is not empty ({table} has rows), and a restore replaces nothing: give it an empty one"
            )


def _go_on_counting(cursor: psycopg2.extensions.cursor, table: str) -> None:
    """Numbers that were given are not given again."""
    cursor.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attidentity <> '' AND NOT attisdropped",
        (table,),
    )
    for (column,) in cursor.fetchall():
        query = sql.SQL("SELECT setval(pg_get_serial_sequence({}, {}), max({})) FROM {} HAVING count(*) > 0")
        name = sql.Identifier(column)
        cursor.execute(query.format(sql.Literal(table), sql.Literal(column), name, sql.Identifier(table)))


@contextmanager
def _connection(url: str) -> Iterator[psycopg2.extensions.connection]:
    with _errors():
        connection = psycopg2.connect(url, connect_timeout=10, application_name="winnow-backup", options=_OPTIONS)
    try:
        yield connection
    finally:
        connection.close()


_OPTIONS = "-c timezone=UTC -c datestyle=ISO -c extra_float_digits=3 -c client_encoding=UTF8"


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except psycopg2.Error as error:
        raise translate(error) from error
