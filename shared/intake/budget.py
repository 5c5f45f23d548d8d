"""A budget of memory that threads share."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Invalid


class MemoryBudget:
    """A semaphore with weights. First come, first served, so that small claims never starve a large one."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Hold ``size`` bytes, waiting until they are free. Raises ``Invalid`` for more than there can ever be."""
        if size > self._total:
            raise Invalid(f"decoding it may take {_mib(size)} MiB of memory; this service allows {_mib(self._total)}")
        with self._changed:
            ticket = object()
            self._queue.append(ticket)
            self._changed.wait_for(lambda: self._queue[0] is ticket and size <= self._free)
            self._queue.popleft()
            self._free -= size
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f}"
