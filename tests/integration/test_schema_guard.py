"""Code and schema of different versions, side by side."""

from __future__ import annotations

import threading

import pytest
from pydantic import SecretStr

from shared.db.migrate import migrate, migrations, require_schema
from shared.db.pool import Database
from shared.errors import Conflict, Retryable
from shared.settings import DatabaseSettings
from shared.system import await_schema


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(DatabaseSettings(url=SecretStr(database_url), pool_size=2))


def check(database: Database) -> None:
    with database.transaction() as tx:
        require_schema(tx)


@pytest.mark.parametrize("upto", [None, 1])
def test_a_schema_that_is_too_old_is_refused_with_what_to_do(
    database: Database, database_url: str, upto: int | None
) -> None:
    if upto is not None:
        migrate(database_url, upto=upto)
    with pytest.raises(Retryable, match="winnow migrate"):
        check(database)


def test_the_schema_of_this_version_and_a_newer_one_will_do(database: Database, database_url: str) -> None:
    migrate(database_url)
    check(database)
    with database.transaction() as tx:
        tx.run("INSERT INTO schema_migrations (number, name, sha256) VALUES (9999, '9999_later.sql', '')")
    check(database)


def test_a_worker_that_comes_before_the_migration_waits_for_it(database: Database, database_url: str) -> None:
    waiting = threading.Thread(target=await_schema, args=(database,), kwargs={"look_every_s": 0.05}, daemon=True)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    migrate(database_url)
    waiting.join(30)
    assert not waiting.is_alive()


def test_migrating_can_stop_at_a_number_and_go_on_from_there(database_url: str) -> None:
    first, *others = [migration.name for migration in migrations()]
    assert migrate(database_url, upto=1) == [first]
    assert migrate(database_url) == others


def test_a_migration_that_this_version_does_not_have_is_refused(database_url: str) -> None:
    with pytest.raises(Conflict, match="upgrade Winnow"):
        migrate(database_url, upto=9999)
