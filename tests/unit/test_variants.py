"""Pools with rare classes and with near-duplicates: which images they are made of, and that seeds fix them."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import Invalid
from winnow.variants import near_duplicates, pool_rows, validation_rows

LABELS = np.repeat(np.arange(5), 200)


def rows(**changes: object) -> np.ndarray:
    settings = {"size": None, "imbalance": 1.0, "duplicates": 1, "rng": np.random.default_rng(0)} | changes
    return pool_rows(LABELS, **settings)  # type: ignore[arg-type]


def counts(chosen: np.ndarray) -> list[int]:
    return sorted(np.bincount(LABELS[chosen], minlength=5).tolist(), reverse=True)


def test_the_pool_is_everything_unless_told_otherwise() -> None:
    assert rows().tolist() == list(range(1000))


def test_a_smaller_pool_is_drawn_without_repeats() -> None:
    chosen = rows(size=100)
    assert len(set(chosen.tolist())) == 100 and (np.diff(chosen) > 0).all()
    assert chosen.tolist() == rows(size=100).tolist()
    assert chosen.tolist() != rows(size=100, rng=np.random.default_rng(1)).tolist()


def test_an_imbalance_of_twenty_makes_a_long_tail_from_all_of_a_class_to_a_twentieth() -> None:
    assert counts(rows(imbalance=20.0)) == [200, 95, 45, 21, 10]


def test_which_class_is_rare_is_drawn() -> None:
    rarest = {int(np.bincount(LABELS[rows(imbalance=20.0, rng=np.random.default_rng(s))]).argmin()) for s in range(20)}
    assert len(rarest) > 2


def test_a_size_shrinks_all_classes_of_an_imbalanced_pool_alike() -> None:
    found = counts(rows(imbalance=16.0, size=155))
    assert found == [80, 40, 20, 10, 5]


def test_the_rarest_class_keeps_an_image() -> None:
    assert counts(rows(imbalance=10_000.0))[-1] == 1


@pytest.mark.parametrize(("changes", "originals"), [({}, 100), ({"size": 500}, 50), ({"size": 5}, 1)])
def test_near_duplicates_leave_the_size_and_take_fewer_originals(changes: dict[str, int], originals: int) -> None:
    assert len(rows(duplicates=10, **changes)) == originals


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"size": 1001}, {"imbalance": 0.5}, {"imbalance": float("inf")}, {"duplicates": 0}]
)
def test_pools_that_cannot_be_had_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        rows(**wrong)


def test_a_single_class_has_none_that_is_rarer() -> None:
    with pytest.raises(Invalid, match="a single one"):
        pool_rows(np.zeros(9, np.int64), size=None, imbalance=2.0, duplicates=1, rng=np.random.default_rng(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_near_duplicates_look_alike_and_no_two_are_the_same(channels: int) -> None:
    ramp = np.linspace(30, 220, 32)
    pixels = np.repeat(((ramp[:, None] + ramp[None]) / 2)[..., None], channels, axis=2).astype(np.uint8)
    copies = list(near_duplicates(pixels, 6, np.random.default_rng(0)))
    assert len(copies) == 6 and copies[0] is pixels
    assert {(one.shape, one.dtype) for one in copies} == {(pixels.shape, np.dtype(np.uint8))}
    assert len({one.tobytes() for one in copies}) == 6
    far = [float(np.abs(one.astype(int) - pixels.astype(int)).mean()) for one in copies]
    assert max(far) < 40 and min(far[1:]) > 0
    again = near_duplicates(pixels, 6, np.random.default_rng(0))
    assert all((one == other).all() for one, other in zip(copies, again, strict=True))


def test_a_validation_share_is_taken_of_every_class_and_leaves_each_something() -> None:
    labels = np.array([0] * 100 + [1] * 10 + [2] * 2 + [3])
    held = validation_rows(labels, 0.2, np.random.default_rng(0))
    assert np.bincount(labels[held], minlength=4).tolist() == [20, 2, 1, 0]
    assert (validation_rows(labels, 0.99, np.random.default_rng(0)) < 1).sum() >= 4
    for share in (0.0, 1.0, -0.1):
        with pytest.raises(Invalid):
            validation_rows(labels, share, np.random.default_rng(0))
