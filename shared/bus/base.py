"""What a bus must do, whichever carries it.

A wake-up is a hint: the ledger (``shared.jobs``) sends it again if it is lost and ignores it if it comes twice. So a
bus may lose or double messages, but must say so when it knows (``Retryable`` from ``publish``), and must never go
deaf silently (``Retryable`` from ``poll``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.domain import JobKind, WakeUp


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A wake-up handed to one worker. ``tag`` is the adapter's own handle."""

    wakeup: WakeUp
    tag: int


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a bus knows of itself now."""

    listening: Mapping[JobKind, int]
    """Workers that wait for a wake-up. One with a job in hand may not be among them."""
    dead: int
    """Messages that no worker could use."""


class Subscription(Protocol):
    """One worker's ear: at most one unsettled delivery at a time. Not thread-safe; owned by one thread.

    Wake-ups of urgent kinds are handed out before those that came earlier, in turns with them: neither waits for the
    end of the other's backlog.

    Every method but ``close`` raises ``Retryable`` when the connection is lost; settling a delivery that is not held
    raises ``Conflict``.
    """

    def poll(self, timeout: float) -> Delivery | None:
        """Wait up to ``timeout`` seconds for a delivery, serving heartbeats meanwhile.

        Must be called often, also while a delivery is held: this is what keeps the connection alive.
        Raises ``Retryable`` when the connection or channel is lost: close it and subscribe again.
        """
        ...

    def ack(self, delivery: Delivery) -> None:
        """The work is done, or recorded in the ledger: never deliver this again."""
        ...

    def reject(self, delivery: Delivery) -> None:
        """Put the wake-up back for another worker."""
        ...

    def pause(self) -> None:
        """Take no further deliveries until ``resume``; those already prefetched go back."""
        ...

    def resume(self) -> None:
        """Take deliveries again."""
        ...

    def close(self) -> None:
        """Let go. Unsettled deliveries go back to the queue. Never raises."""
        ...


class Bus(Protocol):
    """A way to send wake-ups and to hear them."""

    def publish(self, wakeup: WakeUp) -> None:
        """Send, and return once the bus has it safely. Thread-safe. Raises ``Retryable`` if that can't be known."""
        ...

    def subscribe(self, kinds: Sequence[JobKind]) -> Subscription:
        """Listen for jobs of these kinds. Raises ``Retryable`` if the bus can't be reached."""
        ...

    def check(self) -> None:
        """Raise ``Retryable`` unless the bus can be reached now (for ``/readyz``)."""
        ...

    def standing(self) -> Standing:
        """Who waits for what. Raises ``Retryable``."""
        ...

    def dead(self, limit: int) -> Sequence[bytes]:
        """Bodies of messages that no worker could use, the oldest first. They stay; a broker may drop one that is
        looked at often. Raises ``Retryable``."""
        ...

    def purge_dead(self) -> int:
        """Drop them all; returns how many. Raises ``Retryable``."""
        ...

    def close(self) -> None:
        """Let go of connections. Never raises."""
        ...
