"""Threads that share a budget of memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import Invalid
from shared.imaging import ImageInfo, decode_cost
from shared.intake.budget import MemoryBudget
from shared.settings import ApiSettings
from tests.waiting import wait_for


def test_together_they_never_hold_more_than_there_is() -> None:
    budget, lock = MemoryBudget(100), threading.Lock()
    held: list[int] = []
    peaks: list[int] = []

    def work(size: int) -> None:
        with budget.hold(size):
            with lock:
                held.append(size)
                peaks.append(sum(held))
            with lock:
                held.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [60, 50, 40, 10, 100, 1, 99] * 100))
    assert len(peaks) == 700
    assert max(peaks) <= 100


def test_a_large_claim_is_not_overtaken_for_ever() -> None:
    budget, order = MemoryBudget(100), list[str]()
    with ThreadPoolExecutor(2) as pool:
        with budget.hold(60):
            large = pool.submit(lambda: _hold(budget, 90, order, "large"))
            wait_for(lambda: len(budget._queue) == 1, "the large claim to stand in line")
            small = pool.submit(lambda: _hold(budget, 10, order, "small"))
            wait_for(lambda: len(budget._queue) == 2, "the small claim to stand behind it")
            assert order == []
        large.result(timeout=30)
        small.result(timeout=30)
    assert order[0] == "large"


def _hold(budget: MemoryBudget, size: int, order: list[str], name: str) -> None:
    with budget.hold(size):
        order.append(name)


def test_what_can_never_fit_is_refused_at_once() -> None:
    with pytest.raises(Invalid, match="may take 3 MiB"), MemoryBudget(2 << 20).hold(3 << 20):
        raise AssertionError("it was held")


def test_what_was_held_is_given_back_after_a_failure() -> None:
    budget = MemoryBudget(10)
    with pytest.raises(ValueError), budget.hold(10):
        raise ValueError
    with budget.hold(10):
        pass


def test_the_largest_photograph_allowed_fits_into_the_memory_allowed() -> None:
    settings = ApiSettings()
    side = int(settings.max_pixels**0.5)
    largest = ImageInfo(side, side, "PNG", True, "RGBA")
    assert decode_cost(largest) <= settings.decode_memory_bytes
