"""What takes a while is found once for many, and the seldomer the longer it takes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.ui.keeping import Keeping


def test_many_who_ask_at_once_wait_for_one() -> None:
    keeping: Keeping[int] = Keeping(least_s=60)
    found: list[int] = []

    def find() -> int:
        time.sleep(0.05)
        found.append(1)
        return len(found)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: keeping.get("a", find), range(8))) == [1] * 8
    assert found == [1]


def test_what_took_long_is_kept_longer() -> None:
    keeping: Keeping[float] = Keeping(least_s=0.0)

    def slow() -> float:
        time.sleep(0.02)
        return time.monotonic()

    first = keeping.get("slow", slow)
    time.sleep(0.1)  # five times what it took
    assert keeping.get("slow", slow) == first


def test_none_is_an_answer_that_is_kept() -> None:
    keeping: Keeping[None] = Keeping(least_s=60)
    asked = threading.Event()
    keeping.get("size", lambda: asked.set())
    asked.clear()
    keeping.get("size", lambda: asked.set())
    assert not asked.is_set()


def test_an_error_is_not_kept() -> None:
    keeping: Keeping[int] = Keeping(least_s=60)

    def broken() -> int:
        raise ValueError("away")

    with pytest.raises(ValueError, match="away"):
        keeping.get("a", broken)
    assert keeping.get("a", lambda: 3) == 3
