"""Slows down the guessing of passwords."""

from __future__ import annotations

from shared.db import sessions
from shared.db.pool import Database

FAILURES = 8
"""So many failed sign-ins are let through within ``WINDOW_S`` for one user name from one address."""
WINDOW_S = 300.0
_LONGEST_NAME = 100


class Throttle:
    """Counts failures by (user name, address), in the database: for all processes together, over their restarts.

    By both, so that nobody can lock another person out from elsewhere. This makes guessing slow; the length of
    passwords makes it hopeless.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def wait_s(self, username: str, address: str) -> float:
        """How long until another try is let through; 0 if one is now."""
        with self._database.transaction() as tx:
            recent = sessions.failures(tx, username[:_LONGEST_NAME], address, window_s=WINDOW_S, limit=FAILURES)
        return WINDOW_S - recent[-1] if len(recent) >= FAILURES else 0.0

    def failed(self, username: str, address: str) -> None:
        with self._database.transaction() as tx:
            sessions.failed(tx, username[:_LONGEST_NAME], address, window_s=WINDOW_S)

    def succeeded(self, username: str, address: str) -> None:
        """The failures before don't count any more."""
        with self._database.transaction() as tx:
            sessions.succeeded(tx, username[:_LONGEST_NAME], address)
