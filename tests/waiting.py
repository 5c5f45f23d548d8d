"""Waiting for what must happen, with a deadline and without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.bus.base import Delivery, Subscription

DEADLINE_S = 60.0


def wait_for(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_S) -> None:
    """Poll until ``condition`` holds; fail, naming ``what`` was waited for, after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.02)


def hear(subscription: Subscription, seconds: float = DEADLINE_S) -> Delivery:
    """The next delivery, however many turns it takes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        delivery = subscription.poll(0.5)
        if delivery is not None:
            return delivery
    raise AssertionError(f"no wake-up came within {seconds:.0f} s")
