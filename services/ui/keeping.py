"""Answers that take a while, kept for a while: many who ask at once wait for one, and it is asked again the later the
longer it took."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
_MOST = 256
_TIMES = 20
"""An answer is kept for so many times what it took: finding it never takes more than a twentieth of a processor."""


@dataclass
class _Slot(Generic[T]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    until: float = 0.0
    kept: list[T] = field(default_factory=list)


class Keeping(Generic[T]):
    """Thread-safe. The least recently asked for are forgotten."""

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self._slots: OrderedDict[Hashable, _Slot[T]] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: Hashable, find: Callable[[], T]) -> T:
        """What ``find`` said, at most ``least_s`` ago or twenty times what it took. Raises what it raises."""
        with self._guard:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > _MOST:
                self._slots.popitem(last=False)
        with slot.lock:
            began = time.monotonic()
            if not slot.kept or began >= slot.until:
                slot.kept = [find()]
                ended = time.monotonic()
                slot.until = ended + max(self._least_s, _TIMES * (ended - began))
            return slot.kept[0]
