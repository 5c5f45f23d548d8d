"""The accounts of the services in Postgres, and what each may do: the table below, and nothing else.

``winnow migrate`` applies it as the owner of the schema, who needs CREATEROLE and is no superuser. Foreign keys are
checked, and identity columns filled, with the owner's rights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from shared.db.pool import Tx, translate
from shared.telemetry import logger

log = logger(__name__)
SERVICES = ("api", "ui", "trainer", "scorer")
READ = "SELECT"
_LOCK = 0x57524F4C
_RIGHT = re.compile(r"[A-Z]+(?: \([^)]*\))?")
_HAS = """
SELECT CASE WHEN %(columns)s::text[] = '{}' THEN has_table_privilege(%(account)s, %(table)s, %(right)s)
       ELSE (SELECT bool_and(has_column_privilege(%(account)s, %(table)s, name, %(right)s))
             FROM unnest(%(columns)s::text[]) AS name) END AS has
"""

# Every service moves rounds on.
_LOOP: Mapping[str, str] = {
    "projects": "SELECT, UPDATE",
    "classes": READ,
    "shards": "SELECT, INSERT, UPDATE",
    "images": "SELECT, UPDATE",
    "rounds": "SELECT, INSERT, UPDATE",
    "checkpoints": "SELECT, INSERT, UPDATE",
    "tasks": "SELECT, INSERT, UPDATE",
    "batches": "SELECT, UPDATE",
    "annotations": READ,
    "labels": READ,
    "questions": "SELECT, INSERT, UPDATE",
    "gold": READ,
    "batch_verdicts": READ,
    "jobs": "SELECT, INSERT, UPDATE",
    "events": "SELECT, INSERT",
    "schema_migrations": READ,
    # What happens is written down for those who want to be told.
    "webhook_endpoints": "SELECT (id, project_id, types, enabled)",
    "webhook_messages": "INSERT",
}
# Three of the four run the sweeper, which deletes the rows of old predictions and of webhooks that were delivered, and
# ends the time of exports.
_SWEEPS: Mapping[str, str] = {
    **_LOOP,
    "jobs": "SELECT, INSERT, UPDATE, DELETE",
    "webhook_messages": "SELECT (id, state, finished_at), INSERT, DELETE",
    "exports": "SELECT, UPDATE (retired_at)",
}
RIGHTS: Mapping[str, Mapping[str, str]] = {
    "api": {
        **_SWEEPS,
        "projects": "SELECT, INSERT, UPDATE",
        "classes": "SELECT, INSERT, UPDATE",
        "class_examples": "SELECT, INSERT, DELETE",
        "flags": "SELECT, UPDATE",
        "passes": "SELECT, INSERT",
        "images": "SELECT, INSERT, UPDATE",
        "annotations": "SELECT, INSERT, UPDATE",
        "labels": "SELECT, INSERT, UPDATE, DELETE",
        "batches": "SELECT, INSERT, UPDATE",
        "batch_leases": "SELECT, INSERT",
        "batch_verdicts": "SELECT, INSERT, UPDATE",
        "idempotent_requests": "SELECT, INSERT, UPDATE, DELETE",
        "gold": "SELECT, INSERT, UPDATE, DELETE",
        "tags": "SELECT, INSERT, DELETE",
        "image_tags": "SELECT, INSERT, DELETE",
        "imports": "SELECT, INSERT, UPDATE",
        "exports": "SELECT, INSERT, UPDATE",
        "api_keys": "SELECT, UPDATE (last_used_at)",
        "memberships": "SELECT, INSERT, UPDATE",
        # Exports name who answered; a key may act as somebody.
        "users": "SELECT (id, username, display_name, disabled, is_admin, kind, vendor_id, external_id)",
        "webhook_endpoints": "SELECT, INSERT, UPDATE, DELETE",
        "webhook_secrets": "SELECT, INSERT, UPDATE (expires_at)",
        "webhook_messages": "SELECT, INSERT, UPDATE, DELETE",
        "webhook_attempts": "SELECT, INSERT",
    },
    "ui": {
        **_LOOP,
        "projects": "SELECT, INSERT, UPDATE",
        "classes": "SELECT, INSERT, UPDATE",
        "images": "SELECT, INSERT, UPDATE",
        "annotations": "SELECT, INSERT, UPDATE",
        "labels": "SELECT, INSERT, UPDATE, DELETE",
        "imports": "SELECT, INSERT, UPDATE",
        "exports": "SELECT, INSERT, UPDATE (retired_at)",
        "class_examples": "SELECT, INSERT, DELETE",
        "passes": "SELECT, INSERT",
        "batches": "SELECT, INSERT, UPDATE",
        "batch_verdicts": "SELECT, INSERT, UPDATE",
        "gold": "SELECT, INSERT, UPDATE, DELETE",
        "tags": "SELECT, INSERT, DELETE",
        "image_tags": "SELECT, INSERT, DELETE",
        "flags": "SELECT, INSERT, UPDATE",
        # Those who are invited, and vendors; a key is never changed but revoked.
        "users": "SELECT, INSERT, UPDATE (password_hash, is_admin, disabled, oidc_subject)",
        "sessions": "SELECT, INSERT, DELETE, UPDATE (last_seen_at)",
        "sign_in_failures": "SELECT, INSERT, DELETE",
        "api_keys": "SELECT, INSERT, UPDATE (revoked_at)",
        "reviews": "SELECT, INSERT, UPDATE",
        "memberships": "SELECT, INSERT, UPDATE, DELETE",
        "invitations": "SELECT, INSERT, UPDATE",
        "webhook_endpoints": "SELECT, INSERT, UPDATE, DELETE",
        "webhook_secrets": "SELECT (endpoint_id, expires_at), INSERT, UPDATE (expires_at)",  # never the secrets
        "webhook_messages": "SELECT, INSERT, UPDATE",
        "webhook_attempts": READ,
    },
    "trainer": {**_SWEEPS, "labels": "SELECT, INSERT, UPDATE"},  # by consensus
    "scorer": {**_SWEEPS, "labels": "SELECT, INSERT, UPDATE, DELETE"},  # the model's
}


def role(service: str) -> str:
    """The name of a service's account."""
    return f"winnow_{service}"


def standing(tx: Tx) -> tuple[list[str], list[str]]:
    """The services' accounts that there are, and the rights that they lack, a sentence each."""
    known = {row["rolname"] for row in tx.all("SELECT rolname FROM pg_roles")}
    accounts = [service for service in SERVICES if role(service) in known]
    wanted = [
        {"service": service, "account": role(service), "table": table, **_parsed(right)}
        for service in accounts
        for table, rights in RIGHTS[service].items()
        for right in _RIGHT.findall(rights)
    ]
    lacking = [right for right in wanted if not (tx.one(_HAS, right) or {})["has"]]
    return accounts, [f"{right['account']} may not {right['right']} {right['table']}" for right in lacking]


def _parsed(right: str) -> dict[str, Any]:
    verb, _, columns = right.partition(" (")
    return {"right": verb, "columns": [name.strip() for name in columns.rstrip(")").split(",")] if columns else []}


def ensure_roles(url: str, passwords: Mapping[str, str]) -> None:
    """Make the services' accounts, or bring them up to date: their passwords, and exactly the rights of ``RIGHTS``.

    Parameters
    ----------
    passwords : by service. They reach the server as SCRAM verifiers, so no log of statements can hold them.

    Raises ``Retryable`` if Postgres can't be reached, ``WinnowError`` if the account of ``url`` may not make roles.
    """
    try:
        connection = psycopg2.connect(url, connect_timeout=10, application_name="winnow-roles")
    except psycopg2.Error as error:
        raise translate(error) from error
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            cursor.execute("SET LOCAL lock_timeout = '10s'")
            for service, password in passwords.items():
                _ensure_account(cursor, role(service), password)
                _set_rights(cursor, role(service), RIGHTS[service])
                log.info("role.ensured", role=role(service))
    except psycopg2.Error as error:
        raise translate(error) from error
    finally:
        connection.close()


def _ensure_account(cursor: psycopg2.extensions.cursor, name: str, password: str) -> None:
    verifier = psycopg2.extensions.encrypt_password(password, name, cursor.connection, "scram-sha-256")
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
    verb = "ALTER" if cursor.fetchone() else "CREATE"
    cursor.execute(sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier)))


def _set_rights(cursor: psycopg2.extensions.cursor, name: str, rights: Mapping[str, str]) -> None:
    """All at once, with the transaction's end: a service at work never sees the moment between."""
    account = sql.Identifier(name)
    cursor.execute("SELECT current_database()")
    row = cursor.fetchone()
    assert row is not None
    cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(row[0]), account))
    cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(account))
    cursor.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(account))
    for table, privileges in rights.items():
        grant = sql.SQL("GRANT " + privileges + " ON {} TO {}")
        cursor.execute(grant.format(sql.Identifier(table), account))
