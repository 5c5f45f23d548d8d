"""The forecast, on curves whose truth is known: what it answers, and how often its interval holds it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.errors import Invalid
from shared.forecast import FARTHEST, Forecast, Outcome, forecast, weigh

CURVES = {
    "steep": (0.05, 8.0, 0.8),
    "slow": (0.0, 1.5, 0.4),
    "between": (0.02, 2.0, 0.5),
}
SPARSE = (100, 200, 400, 800, 1600)
FEW = (100, 200, 300)
ROUNDS = tuple(range(100, 1100, 100))


def error_at(labels: float, curve: tuple[float, float, float]) -> float:
    a, b, c = curve
    return a + b * math.exp(-c * math.log(labels))


def exact(labels: tuple[int, ...], curve: tuple[float, float, float]) -> list[float]:
    return [1 - error_at(n, curve) for n in labels]


def measured(
    labels: tuple[int, ...],
    curve: tuple[float, float, float],
    seed: int,
    *,
    holdout: int = 500,
    training: float = 0.005,
) -> list[float]:
    """The curve as a project would see it: counted on a holdout, each training a little better or worse."""
    rng = np.random.default_rng(seed)
    truth = np.array(exact(labels, curve)) + rng.normal(0, training, len(labels))
    return [float(right) / holdout for right in rng.binomial(holdout, np.clip(truth, 0, 1))]


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_a_curve_without_noise_is_found(curve: tuple[float, float, float]) -> None:
    target = 0.93
    truth = (curve[1] / (1 - target - curve[0])) ** (1 / curve[2])
    found = forecast(ROUNDS, exact(ROUNDS, curve), 10_000_000, target)
    assert found.outcome is Outcome.REACHABLE
    assert found.more is not None and found.low is not None
    assert found.more + ROUNDS[-1] == pytest.approx(truth, rel=0.25)
    assert found.low < found.more


@pytest.mark.parametrize("labels", [FEW, SPARSE, ROUNDS], ids=["3 points", "5 doubled", "10 rounds"])
@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_the_interval_holds_the_truth_about_as_often_as_it_says(
    labels: tuple[int, ...], curve: tuple[float, float, float]
) -> None:
    """It says 90%. Of 100 drawings 80 or more leave room for chance (0.1% of a true 90% are below) and for priors."""
    later = labels[-1] * 4
    truth = 1 - error_at(later, curve)
    held = 0
    for seed in range(100):
        _, low, high = weigh(labels, measured(labels, curve, seed), 500).accuracy(later)
        held += low <= truth <= high
    assert held >= 80


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_the_interval_of_labels_holds_the_truth(curve: tuple[float, float, float]) -> None:
    target = 0.93
    truth = (curve[1] / (1 - target - curve[0])) ** (1 / curve[2])
    held = 0
    for seed in range(100):
        _, low, high = weigh(SPARSE, measured(SPARSE, curve, seed), 500).labels_to(target)
        held += low <= truth <= high
    assert held >= 80


def test_more_points_and_a_larger_holdout_narrow_the_interval() -> None:
    curve = CURVES["between"]

    def width(labels: tuple[int, ...], holdout: int) -> float:
        _, low, high = weigh(labels, exact(labels, curve), holdout).accuracy(4000)
        return high - low

    assert width(tuple(range(50, 1050, 50)), 500) < width(ROUNDS[:5], 500) < width(FEW, 500)
    assert width(ROUNDS, 5000) < width(ROUNDS, 200)


def test_a_ragged_curve_is_less_sure_than_a_smooth_one() -> None:
    smooth = exact(ROUNDS, CURVES["between"])
    ragged = [one + 0.03 * (-1) ** at for at, one in enumerate(smooth)]
    widths = []
    for accuracies in (smooth, ragged):
        _, low, high = weigh(ROUNDS, accuracies, 2000).accuracy(4000)
        widths.append(high - low)
    assert widths[1] > 1.5 * widths[0]


def test_a_curve_that_levels_off_below_the_target_cannot_reach_it() -> None:
    curve = (0.12, 60.0, 1.4)
    found = forecast(ROUNDS, exact(ROUNDS, curve), 5000, 0.95)
    assert (found.outcome, found.more, found.high) == (Outcome.UNREACHABLE, None, None)
    assert found.ceiling == pytest.approx(0.88, abs=0.015)
    assert "95.0% can't be reached by this curve: it levels off at about 8" in found.text


def test_what_is_too_far_out_is_not_promised() -> None:
    curve = (0.0, 0.6, 0.1)
    found = forecast(ROUNDS, exact(ROUNDS, curve), 10_000_000, 0.99)
    assert found.outcome is Outcome.UNREACHABLE
    assert f"more than {FARTHEST} times" in found.text or "can't be reached" in found.text


def test_what_is_measured_already_is_reached() -> None:
    found = forecast(FEW, [0.7, 0.95, 0.91], 500, 0.9)
    assert (found.outcome, found.more, found.low, found.high) == (Outcome.REACHED, 0, 0, 0)
    assert forecast(FEW, [0.7, 0.95, 0.89], 500, 0.9).outcome is not Outcome.REACHED


@pytest.mark.parametrize("labels", [(), (100,), (100, 200), (100, 200, 200, 200)])
def test_too_few_points_are_said_to_be_too_few(labels: tuple[int, ...]) -> None:
    found = forecast(labels, [0.5 + 0.01 * at for at in range(len(labels))], 500, 0.9)
    assert found == Forecast(target=0.9, outcome=Outcome.TOO_FEW, text=found.text)
    assert found.text.startswith("Too few rounds to say")


@pytest.mark.parametrize(
    "accuracies",
    [
        [0.5, 0.5, 0.5, 0.5],
        [0.8, 0.6, 0.4, 0.2],
        [0.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 1.0, 0.99],
        [0.1, 0.9, 0.1, 0.89],
    ],
    ids=["flat", "falling", "all wrong", "nearly perfect", "wild"],
)
def test_whatever_the_curve_looks_like_there_is_an_answer(accuracies: list[float]) -> None:
    for holdout in (1, 200, 1_000_000):
        found = forecast((100, 200, 300, 400), accuracies, holdout, 0.995)
        assert found.text
        assert found.ceiling is not None and math.isfinite(found.ceiling)
        if found.more is not None:
            assert found.low is not None and 0 <= found.low <= found.more
            assert found.high is None or found.more <= found.high


def test_the_answer_is_a_sentence_with_its_interval() -> None:
    found = forecast(SPARSE, exact(SPARSE, CURVES["steep"]), 2000, 0.94)
    assert found.text == (
        f"About {found.more:,} more labels to reach 94.0% (90% interval {found.low:,} "
        + (f"to {found.high:,})." if found.high is not None else "or more: it may never be).")
    )


def test_a_holdout_may_have_grown() -> None:
    accuracies = measured(ROUNDS, CURVES["between"], 1)
    same = forecast(ROUNDS, accuracies, [500] * len(ROUNDS), 0.95)
    assert same == forecast(ROUNDS, accuracies, 500, 0.95)
    assert forecast(ROUNDS, accuracies, list(range(100, 1100, 100)), 0.95) != same


def test_the_order_of_the_points_does_not_matter() -> None:
    accuracies = measured(ROUNDS, CURVES["between"], 2)
    backwards = forecast(ROUNDS[::-1], accuracies[::-1], 500, 0.95)
    assert backwards.text == forecast(ROUNDS, accuracies, 500, 0.95).text


def test_figures_that_are_none_are_refused() -> None:
    good = ([100, 200, 300], [0.5, 0.6, 0.7], 500, 0.9)
    wrong: list[tuple[list[int], list[float], int | list[int], float]] = [
        ([100, 200], good[1], 500, 0.9),
        ([0, 200, 300], good[1], 500, 0.9),
        (good[0], [0.5, 0.6, 1.7], 500, 0.9),
        (good[0], [0.5, 0.6, math.nan], 500, 0.9),
        (good[0], good[1], 0, 0.9),
        (good[0], good[1], [500, 500], 0.9),
        (good[0], good[1], 500, 1.1),
        (good[0], good[1], 500, math.nan),
    ]
    for one in wrong:
        with pytest.raises(Invalid):
            forecast(*one)
    with pytest.raises(Invalid, match="3 different numbers"):
        weigh([100, 200], [0.5, 0.6], 500)
