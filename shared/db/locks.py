"""The lock between backups, which copy objects for hours, and retention, which deletes some.

A backup holds it shared for as long as it reads the database and copies objects; whoever deletes holds it alone. So no
object that a snapshot's rows refer to goes while it is being copied.
"""

from __future__ import annotations

from shared.db.copying import DELETION_LOCK
from shared.db.pool import Tx


def may_delete(tx: Tx) -> bool:
    """Hold the lock alone until the end of the transaction; False if a backup or another deletion is at it."""
    row = tx.one("SELECT pg_try_advisory_xact_lock(%(number)s) AS mine", {"number": DELETION_LOCK})
    return row is not None and bool(row["mine"])
