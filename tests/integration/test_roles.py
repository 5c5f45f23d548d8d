"""Each service's account in Postgres may do what its service does, and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn
from pydantic import SecretStr

from shared.db import copying, roles
from shared.db.pool import Database
from shared.db.roles import RIGHTS, SERVICES, ensure_roles, role
from shared.settings import DatabaseSettings


@pytest.fixture
def passwords() -> dict[str, str]:
    return {service: uuid.uuid4().hex for service in SERVICES}


@pytest.fixture
def owner_url(migrated_database_url: str, passwords: dict[str, str]) -> Iterator[str]:
    """A database whose services have their accounts, which belong to the whole server: they go when the test ends."""
    ensure_roles(migrated_database_url, passwords)
    yield migrated_database_url
    with psycopg2.connect(migrated_database_url) as connection, connection.cursor() as cursor:
        for service in SERVICES:
            cursor.execute(f"DROP OWNED BY {role(service)}; DROP ROLE {role(service)}")


def as_service(url: str, service: str, password: str, statement: str) -> None:
    dsn = make_dsn(**{**parse_dsn(url), "user": role(service), "password": password})
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def test_every_table_has_been_thought_of() -> None:
    assert {table for rights in RIGHTS.values() for table in rights} == {*copying.TABLES, *copying.LEFT_OUT}


@pytest.mark.parametrize(
    ("service", "statement"),
    [
        ("ui", "UPDATE api_keys SET scopes = ARRAY['manage']"),
        ("ui", "UPDATE api_keys SET key_sha256 = ''"),
        ("ui", "UPDATE users SET username = 'x'"),
        ("ui", "DELETE FROM users"),
        ("ui", "UPDATE events SET actor = 'x'"),
        ("ui", "DELETE FROM events"),
        ("ui", "TRUNCATE events"),
        ("api", "UPDATE events SET address = 'x'"),
        ("api", "DELETE FROM events"),
        ("api", "INSERT INTO users (username, display_name, password_hash) VALUES ('x', 'x', 'x')"),
        ("api", "SELECT password_hash FROM users"),
        ("api", "SELECT * FROM sessions"),
        ("trainer", "SELECT username FROM users"),
        ("api", "UPDATE api_keys SET scopes = ARRAY['manage']"),
        ("api", "INSERT INTO api_keys (name, prefix, key_sha256, scopes) VALUES ('x', 'x', '', ARRAY['read'])"),
        ("trainer", "SELECT * FROM users"),
        ("trainer", "DELETE FROM labels"),
        ("scorer", "DELETE FROM images"),
        ("scorer", "DELETE FROM events"),
        ("scorer", "CREATE TABLE mine (id int)"),
        ("ui", "TRUNCATE annotations"),
        ("ui", "DELETE FROM jobs"),
    ],
)
def test_what_a_service_has_no_business_with_is_refused(
    owner_url: str, passwords: dict[str, str], service: str, statement: str
) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        as_service(owner_url, service, passwords[service], statement)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_signs_in_and_reads_what_it_works_with(
    owner_url: str, passwords: dict[str, str], service: str
) -> None:
    as_service(owner_url, service, passwords[service], "SELECT * FROM jobs, projects, schema_migrations")


def test_the_first_user_is_made_once(owner_url: str, passwords: dict[str, str]) -> None:
    with psycopg2.connect(owner_url) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO users (username, display_name, password_hash) VALUES ('lead', 'Lead', 'x')")
    as_service(owner_url, "ui", passwords["ui"], "SELECT add_first_user('mallory', 'M', 'x')")
    with psycopg2.connect(owner_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT username FROM users")
        assert cursor.fetchall() == [("lead",)]


def test_doing_it_again_takes_away_what_was_given_by_hand(owner_url: str, passwords: dict[str, str]) -> None:
    with psycopg2.connect(owner_url) as connection, connection.cursor() as cursor:
        cursor.execute(f"GRANT ALL ON users TO {role('trainer')}")
    ensure_roles(owner_url, passwords)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        as_service(owner_url, "trainer", passwords["trainer"], "SELECT * FROM users")


def test_a_right_that_is_missing_is_named(owner_url: str, passwords: dict[str, str]) -> None:
    with psycopg2.connect(owner_url) as connection, connection.cursor() as cursor:
        cursor.execute(f"REVOKE UPDATE ON jobs FROM {role('scorer')}; REVOKE ALL ON users FROM {role('api')}")
    database = Database(DatabaseSettings(url=SecretStr(owner_url), pool_size=1))
    with closing(database), database.transaction() as tx:
        accounts, lacking = roles.standing(tx)
    assert accounts == list(SERVICES)
    assert lacking == ["winnow_api may not SELECT users", "winnow_scorer may not UPDATE jobs"]


def test_the_server_never_sees_a_password(owner_url: str, passwords: dict[str, str]) -> None:
    with psycopg2.connect(owner_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (role("api"),))
        (stored,) = cursor.fetchone() or ("",)
    assert stored.startswith("SCRAM-SHA-256$")
    assert roles.role("api") not in stored
