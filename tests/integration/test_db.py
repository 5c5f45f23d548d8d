"""The database layer: migrations, the pool, and every named query."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import psycopg2
import pytest
from pydantic import SecretStr

from shared.db.migrate import migrate, migrations
from shared.db.pool import Database
from shared.db.sql import queries
from shared.errors import Conflict, Retryable, WinnowError
from shared.settings import DatabaseSettings
from tests.servers.postgres import PostgresServer

QUERY_FILES = sorted(path.name.removesuffix(".sql") for path in (resources.files("shared.db") / "queries").iterdir())


def pool(url: str, size: int = 2, timeout_s: float = 30.0) -> Database:
    return Database(DatabaseSettings(url=SecretStr(url), pool_size=size, acquire_timeout_s=timeout_s))


def numbered(sql: str) -> str:
    """The statement with ``$1``, ``$2`` in place of the driver's named parameters."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", sql)))
    return re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match.group(1)) + 1}", sql)


def test_migrations_run_once(database_url: str) -> None:
    assert migrate(database_url) == [m.name for m in migrations()]
    assert migrate(database_url) == []


def test_services_that_start_together_migrate_once(database_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(lambda _: migrate(database_url), range(4)))
    assert sorted(len(names) for names in applied) == [0, 0, 0, len(migrations())]


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(database_url: str) -> None:
    migrate(database_url)
    with pool(database_url).transaction() as tx:
        tx.run("UPDATE schema_migrations SET sha256 = 'other'")
    with pytest.raises(Conflict, match="changed after"):
        migrate(database_url)


def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    migrate(database_url)
    with pool(database_url).transaction() as tx:
        tx.run("INSERT INTO schema_migrations (number, name, sha256) VALUES (9999, '9999_later.sql', 'x')")
    with pytest.raises(Conflict, match="upgrade Winnow"):
        migrate(database_url)


@pytest.mark.parametrize("file", QUERY_FILES)
def test_every_query_fits_the_schema(migrated_database_url: str, file: str) -> None:
    connection = psycopg2.connect(migrated_database_url)
    try:
        for name, sql in queries(file).items():
            with connection.cursor() as cursor:
                cursor.execute(f"PREPARE {name} AS {numbered(sql)}")
    finally:
        connection.close()


def test_events_only_grow(migrated_database_url: str) -> None:
    database = pool(migrated_database_url)
    with database.transaction() as tx:
        tx.run("INSERT INTO events (actor, kind) VALUES ('a', 'b')")
    for statement in ("UPDATE events SET actor = 'c'", "DELETE FROM events", "TRUNCATE events"):
        with pytest.raises(WinnowError, match="append-only"), database.transaction() as tx:
            tx.run(statement)
    database.close()


def test_callers_wait_for_a_connection_instead_of_failing(migrated_database_url: str) -> None:
    database = pool(migrated_database_url, size=2)

    def use(_: int) -> int:
        with database.transaction() as tx:
            row = tx.one("SELECT 1 AS one FROM pg_sleep(0.01)")
            assert row is not None
            return int(row["one"])

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(use, range(64))) == [1] * 64
    database.close()


def test_waiting_too_long_for_a_connection_says_so(migrated_database_url: str) -> None:
    database = pool(migrated_database_url, size=1, timeout_s=0.1)
    with database.transaction(), pytest.raises(Retryable, match="in use"), database.transaction():
        pass
    database.close()


def test_a_connection_is_used_again(migrated_database_url: str) -> None:
    database = pool(migrated_database_url, size=3)
    pids = set()
    for _ in range(5):
        with database.transaction() as tx:
            row = tx.one("SELECT pg_backend_pid() AS pid")
            assert row is not None
            pids.add(row["pid"])
    assert len(pids) == 1
    database.close()


def test_a_broken_connection_is_replaced(migrated_database_url: str, postgres: PostgresServer) -> None:
    database, killer = pool(migrated_database_url, size=1), pool(migrated_database_url, size=1)
    with database.transaction() as tx:
        row = tx.one("SELECT pg_backend_pid() AS pid")
    assert row is not None
    with killer.transaction() as tx:
        tx.one("SELECT pg_terminate_backend(%(pid)s, 10000)", row)
    with database.transaction() as tx:
        again = tx.one("SELECT pg_backend_pid() AS pid")
    assert again is not None and again["pid"] != row["pid"]
    database.close()
    killer.close()


def test_a_connection_that_breaks_in_the_middle_is_retryable_and_frees_its_place(migrated_database_url: str) -> None:
    database, killer = pool(migrated_database_url, size=1), pool(migrated_database_url, size=1)
    with pytest.raises(Retryable), database.transaction() as tx:
        row = tx.one("SELECT pg_backend_pid() AS pid")
        with killer.transaction() as other:
            other.one("SELECT pg_terminate_backend(%(pid)s)", row)
        tx.one("SELECT 1 AS one")
    with database.transaction() as tx:
        assert tx.one("SELECT 1 AS one") == {"one": 1}
    database.close()
    killer.close()


def test_looking_leaves_no_transaction_open_and_the_connection_fit_for_the_next(migrated_database_url: str) -> None:
    database, other = pool(migrated_database_url, size=1), pool(migrated_database_url, size=1)
    with database.one_by_one() as tx:
        assert tx.one("SELECT count(*) AS n FROM events") == {"n": 0}
        with other.transaction() as writing:
            writing.run("INSERT INTO events (actor, kind) VALUES ('a', 'b')")
        assert tx.one("SELECT count(*) AS n FROM events") == {"n": 1}, "each statement sees what is committed by then"
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        tx.run("INSERT INTO events (actor, kind) VALUES ('a', 'b')")
        raise ZeroDivisionError
    with database.one_by_one() as tx:
        assert tx.one("SELECT count(*) AS n FROM events") == {"n": 1}, "transactions are transactions again"
    with pytest.raises(WinnowError), database.one_by_one() as tx:
        tx.one("SELECT no_such_column FROM events")
    database.close()
    other.close()


def test_what_is_raised_in_a_transaction_undoes_it(migrated_database_url: str) -> None:
    database = pool(migrated_database_url)
    hooks: list[str] = []
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        tx.run("INSERT INTO events (actor, kind) VALUES ('a', 'b')")
        tx.after_commit(lambda: hooks.append("ran"))
        raise ZeroDivisionError
    with database.transaction() as tx:
        assert tx.one("SELECT count(*) AS n FROM events") == {"n": 0}
    assert hooks == []
    database.close()


def test_a_database_that_is_not_there_is_retryable() -> None:
    database = pool("postgresql://winnow@127.0.0.1:1/none")
    with pytest.raises(Retryable), database.transaction():
        pass


def test_transactions_of_many_threads_do_not_mix(migrated_database_url: str) -> None:
    database = pool(migrated_database_url, size=4)
    barrier = threading.Barrier(4)

    def write(n: int) -> None:
        with database.transaction() as tx:
            tx.run("INSERT INTO events (actor, kind) VALUES (%(actor)s, 'k')", {"actor": f"t{n}"})
            barrier.wait(30)
            if n % 2:
                raise ZeroDivisionError

    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(write, n) for n in range(4)]
        outcomes = [future.exception(60) for future in futures]
    assert [type(o) for o in outcomes] == [type(None), ZeroDivisionError] * 2
    with database.transaction() as tx:
        assert tx.all("SELECT actor FROM events ORDER BY actor") == [{"actor": "t0"}, {"actor": "t2"}]
    database.close()
