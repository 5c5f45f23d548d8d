"""The lock between backups, which copy objects for hours, and retention, which deletes some.

A backup holds it shared from before its snapshot of the database until the last object is copied; whoever deletes
holds it alone. So no object that a snapshot's rows refer to goes while it is being copied.
"""

from __future__ import annotations

import psycopg2.extensions

from shared.db.pool import Tx

_BACKUP = 0x574E4350
"""One number for every advisory lock of this purpose. Migrations, roles and the sweeper have their own."""


def may_delete(tx: Tx) -> bool:
    """Hold the lock alone until the end of the transaction; False if a backup or another deletion is at it."""
    row = tx.one("SELECT pg_try_advisory_xact_lock(%(number)s) AS mine", {"number": _BACKUP})
    return row is not None and bool(row["mine"])


def hold_against_deletion(connection: psycopg2.extensions.connection) -> None:
    """Hold the lock, with other backups if there are any, until the connection ends. Waits for a deletion under way.

    Raises the driver's error when the connection's ``lock_timeout`` is over.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", (_BACKUP,))


def let_deletion_go_on(connection: psycopg2.extensions.connection) -> None:
    """Let go of what ``hold_against_deletion`` holds. Raises the driver's error where the connection was lost."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock_shared(%s)", (_BACKUP,))
