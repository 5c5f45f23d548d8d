"""Brings a database to the schema that this version of Winnow needs.

Migrations are ``migrations/NNNN_name.sql``, each run once in a transaction of its own, in order, under one advisory
lock so that services starting together don't race. A migration that has been applied must never be edited: its
digest is kept, and a difference is refused.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from importlib import resources

import psycopg2
import psycopg2.extensions

from shared.db.pool import Tx, translate
from shared.errors import Conflict, Retryable
from shared.telemetry import logger

log = logger(__name__)
_LOCK = 0x57494E4E  # one number for all of Winnow, so that all its migrations exclude each other
_FILE = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number int PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True, kw_only=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Every migration, in order. Raises ``ValueError`` for a file name out of form or out of sequence."""
    found = []
    for path in sorted((resources.files("shared.db") / "migrations").iterdir(), key=lambda p: p.name):
        match = _FILE.match(path.name)
        if match is None:
            raise ValueError(f"{path.name} is not named NNNN_name.sql")
        found.append(Migration(number=int(match.group(1)), name=path.name, sql=path.read_text()))
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise ValueError("migrations must be numbered 0001, 0002, ... without gaps")
    return found


def migrate(
    url: str, *, upto: int | None = None, lock_wait_s: float = 60.0, statement_timeout_s: int = 600
) -> list[str]:
    """Apply what is missing, up to a number or all, and return the names of what was applied.

    Raises ``Retryable`` if Postgres can't be reached or another migration holds the lock for longer than
    ``lock_wait_s``; ``Conflict`` if the database has other migrations than this version knows.
    """
    try:
        connection = psycopg2.connect(url, connect_timeout=10, application_name="winnow-migrate")
    except psycopg2.Error as error:
        raise translate(error) from error
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '5s'")
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", (f"{statement_timeout_s}s",))
        _take_lock(connection, lock_wait_s)
        return _apply(connection, upto)
    except psycopg2.Error as error:
        raise translate(error) from error
    finally:
        connection.close()  # and with it the advisory lock


def require_schema(tx: Tx) -> None:
    """Raise ``Retryable`` if the database lacks a migration that this version needs.

    One that this version doesn't know is fine: migrations expand, so code from before goes on working.
    """
    needed = migrations()[-1].number
    known = tx.one("SELECT to_regclass('schema_migrations') AS ledger")
    row = tx.one("SELECT max(number) AS number FROM schema_migrations") if known and known["ledger"] else None
    found = (row and row["number"]) or 0
    if found < needed:
        raise Retryable(f"the database is at migration {found}, this version needs {needed}: run `winnow migrate`")


def _take_lock(connection: psycopg2.extensions.connection, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
            row = cursor.fetchone()
            if row is not None and row[0]:
                return
            if time.monotonic() > deadline:
                raise Retryable("another migration has been running for too long; see pg_stat_activity")
            time.sleep(0.2)


def _apply(connection: psycopg2.extensions.connection, upto: int | None) -> list[str]:
    applied = []
    with connection.cursor() as cursor:
        cursor.execute(_LEDGER)
        cursor.execute("SELECT number, sha256 FROM schema_migrations")
        done = {int(number): str(sha256) for number, sha256 in cursor.fetchall()}
    known = {m.number: m for m in migrations()}
    last = max(known) if upto is None else upto
    if last not in known:
        raise Conflict(f"migration {last} is asked for, which this version does not know: upgrade Winnow")
    for number, sha256 in done.items():
        if number not in known:
            raise Conflict(f"the database is at migration {number}, which this version does not know: upgrade Winnow")
        if known[number].sha256 != sha256:
            raise Conflict(f"{known[number].name} was changed after it had been applied")
    connection.autocommit = False
    for migration in known.values():
        if migration.number in done or migration.number > last:
            continue
        with connection, connection.cursor() as cursor:
            cursor.execute(migration.sql)
            cursor.execute(
                "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)",
                (migration.number, migration.name, migration.sha256),
            )
        log.info("migration.applied", name=migration.name)
        applied.append(migration.name)
    return applied
