"""The ``winnow`` command's hands on the database: who may come in."""

from __future__ import annotations

from pydantic import SecretStr
from typer.testing import CliRunner

from services.ui.passwords import verify_password
from shared.credentials import digest, new_token
from shared.db import members, projects, users
from shared.db.pool import Database
from shared.domain import ProjectSettings, Role, Scope
from shared.errors import Conflict, Invalid, NotFound
from shared.settings import DatabaseSettings
from winnow.cli import app


def winnow(*arguments: str) -> str:
    """What the command prints. Raises what it fails with."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(app, list(arguments)).exception


def test_a_key_is_shown_once_works_and_can_be_revoked(migrated_database_url: str) -> None:
    database = Database(DatabaseSettings(url=SecretStr(migrated_database_url)))
    place = ("--database", migrated_database_url)
    secret = winnow("keys", "create", "vendor", "--scopes", "read,ingest", *place).split()[0]
    with database.transaction() as tx:
        key = users.key_by_digest(tx, digest(secret))
    assert key is not None and key.scopes == {Scope.READ, Scope.INGEST}
    listed = winnow("keys", "list", *place)
    assert key.prefix in listed and secret not in listed
    winnow("keys", "revoke", key.prefix, *place)
    with database.transaction() as tx:
        assert users.key_by_digest(tx, digest(secret)) is None
    assert isinstance(fails("keys", "revoke", key.prefix, *place), NotFound)
    assert isinstance(fails("keys", "create", "x", "--scopes", "everything", *place), Invalid)
    database.close()


def test_a_key_is_rotated_and_a_third_live_one_is_refused(migrated_database_url: str) -> None:
    place = ("--database", migrated_database_url)
    secret = winnow("keys", "create", "ci", "--scopes", "read", *place).split()[0]
    prefix = "_".join(secret.split("_")[:2])
    second = winnow("keys", "rotate", prefix, *place).split()[0]
    assert second != secret and second.startswith("wnw_")
    assert isinstance(fails("keys", "rotate", prefix, *place), Conflict)
    assert isinstance(fails("keys", "create", "ci", *place), Conflict)
    winnow("keys", "revoke", prefix, *place)
    assert winnow("keys", "create", "ci", *place).startswith("wnw_")


def test_a_key_of_scope_batch_acts_as_a_vendor(migrated_database_url: str) -> None:
    database = Database(DatabaseSettings(url=SecretStr(migrated_database_url)))
    place = ("--database", migrated_database_url)
    assert isinstance(fails("keys", "create", "acme", "--scopes", "batch", *place), Invalid)
    with database.transaction() as tx:
        vendor = users.add_vendor(tx, "acme", "Acme")
    secret = winnow("keys", "create", "acme", "--scopes", "batch", "--acts-as", "acme", *place).split()[0]
    with database.transaction() as tx:
        principal = members.principal_of_key(tx, digest(secret))
    assert principal is not None and principal.user == vendor
    database.close()


def test_somebody_is_added_as_an_admin_or_into_a_project(migrated_database_url: str) -> None:
    database = Database(DatabaseSettings(url=SecretStr(migrated_database_url)))
    place = ("--database", migrated_database_url)
    with database.transaction() as tx:
        project = projects.create(tx, "birds", ["heron", "swan"], ProjectSettings()).id
    winnow("users", "add", "root", "--admin", *place)
    winnow("users", "add", "ann", "--role", "annotator", "--project", str(project), *place)
    winnow("users", "add", "lost", *place)
    with database.transaction() as tx:
        found = {name: users.credentials(tx, name) for name in ("root", "ann", "lost")}
        roles = {name: members.of_user(tx, one.user.id) for name, one in found.items() if one is not None}
    assert {name: one.user.is_admin for name, one in found.items() if one} == {
        "root": True,
        "ann": False,
        "lost": False,
    }
    assert roles["ann"][project].role is Role.ANNOTATOR and roles["root"] == roles["lost"] == {}
    assert isinstance(fails("users", "add", "x", "--role", "reviewer", *place), Invalid)
    assert isinstance(fails("users", "add", "x", "--role", "reviewer", "--project", "99", *place), NotFound)
    database.close()


def test_a_new_password_signs_its_owner_out_everywhere(migrated_database_url: str) -> None:
    database = Database(DatabaseSettings(url=SecretStr(migrated_database_url)))
    place = ("--database", migrated_database_url)
    first = winnow("users", "add", "ann", *place).split()[-1]
    token = new_token()
    with database.transaction() as tx:
        ann = users.credentials(tx, "ann")
        assert ann is not None and verify_password(ann.password_hash, first)
        users.open_session(tx, ann.user.id, digest(token), hours=1)
    second = winnow("users", "password", "ann", *place).split()[-1]
    with database.transaction() as tx:
        ann = users.credentials(tx, "ann")
        assert ann is not None and verify_password(ann.password_hash, second)
        assert not verify_password(ann.password_hash, first)
        assert users.user_of_session(tx, digest(token)) is None
    assert isinstance(fails("users", "password", "nobody", *place), NotFound)
    database.close()
