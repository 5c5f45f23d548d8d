"""Slows down the guessing of passwords."""

from __future__ import annotations

import threading
from collections import OrderedDict

FAILURES = 8
"""So many failed sign-ins are let through within ``WINDOW_S`` for one user name from one address."""
WINDOW_S = 300.0
_MOST_KEYS = 10_000


class Throttle:
    """Counts failures by (user name, address), in the memory of this process. Thread-safe.

    By both, so that nobody can lock another person out from elsewhere. A restart forgets, and each process counts
    for itself: this makes guessing slow, the length of passwords makes it hopeless. Times are seconds of one
    monotonic clock.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, username: str, address: str, now: float) -> float:
        """How long until another try is let through; 0 if one is now."""
        with self._lock:
            recent = self._recent((username, address), now)
            return recent[-FAILURES] + WINDOW_S - now if len(recent) >= FAILURES else 0.0

    def failed(self, username: str, address: str, now: float) -> None:
        """Note a failure. The keys that failed longest ago are forgotten when there are very many."""
        key = (username, address)
        with self._lock:
            self._failures[key] = [*self._recent(key, now), now][-FAILURES:]
            self._failures.move_to_end(key)
            while len(self._failures) > _MOST_KEYS:
                self._failures.popitem(last=False)

    def succeeded(self, username: str, address: str) -> None:
        with self._lock:
            self._failures.pop((username, address), None)

    def _recent(self, key: tuple[str, str], now: float) -> list[float]:
        return [at for at in self._failures.get(key, []) if at > now - WINDOW_S]
