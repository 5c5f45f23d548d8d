"""From which confidence on a model may label, and when an audit takes its labels back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import beta

from shared.errors import Invalid
from shared.learning.metrics import CONFIDENCES, right_above
from shared.selection import autolabel
from shared.selection.autolabel import audit, audits_wanted, enough_answers, fewest, lower_bound, threshold, upper_bound


def above(thresholds: list[float], n: list[int], right: list[int]) -> dict[str, list[Any]]:
    return {"thresholds": thresholds, "n": n, "right": right}


def drawn(
    n: int, rng: np.random.Generator, target: float = 0.95
) -> tuple[dict[str, list[Any]], npt.NDArray[np.float64]]:
    """``n`` labels of a model whose precision above a confidence falls below ``target`` under 0.9, and the precisions
    above each of ``CONFIDENCES``. The worst case is drawn: just below the target everywhere under there."""

    def precision(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(confidence >= 0.9, target, target - 0.04)

    confidence = rng.uniform(0.5, 1.0, n)
    wrong = rng.random(n) >= precision(confidence)
    probabilities = np.stack((confidence, 1 - confidence), axis=1)
    true = target - 0.04 * np.clip(0.9 - CONFIDENCES, 0, None) / (1 - CONFIDENCES)
    return right_above(probabilities, wrong.astype(np.int64)), true


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 5), (5, 5), (298, 300), (299, 299), (9_950, 10_000), (60, 1_000)])
def test_bounds_are_those_of_clopper_and_pearson(right: int, n: int) -> None:
    low = beta.ppf(0.05, right, n - right + 1) if right else 0.0
    high = beta.ppf(0.95, right + 1, n - right) if right < n else 1.0
    assert lower_bound(right, n) == pytest.approx(low, abs=1e-9)
    assert upper_bound(right, n) == pytest.approx(high, abs=1e-9)


def test_nothing_is_known_of_no_labels() -> None:
    assert (lower_bound(0, 0), upper_bound(0, 0)) == (0.0, 1.0)


def test_what_lies_above_a_confidence_is_counted() -> None:
    probabilities = np.array([[0.95, 0.05], [0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    found = right_above(probabilities, np.array([0, 1, 0, 1]))
    at = int(np.searchsorted(CONFIDENCES, 0.65))
    assert (found["n"][0], found["right"][0]) == (4, 3)
    assert (found["n"][at], found["right"][at]) == (3, 2)


def test_the_lowest_confidence_that_is_shown_to_be_precise_is_chosen() -> None:
    found = threshold(above([0.5, 0.7, 0.9], [500, 400, 320], [450, 400, 320]), 0.99)
    assert (found.value, found.labels, found.right, found.reason) == (0.7, 400, 400, "")
    assert found.low == pytest.approx(lower_bound(400, 400))


def test_the_search_ends_at_the_first_confidence_that_fails() -> None:
    # At 0.5 the labels would pass again; a search that tried everything would take it.
    found = threshold(above([0.5, 0.7, 0.9], [4000, 330, 310], [3995, 320, 310]), 0.99)
    assert found.value == 0.9


def test_more_labels_give_the_search_a_second_start() -> None:
    # One error among the few that are surest of all ends the first sequence, and 2 among 1,200 the second does not.
    found = threshold(above([0.5, 0.7, 0.9], [2400, 1200, 370], [2100, 1198, 369]), 0.99)
    assert found.value == 0.7


def test_labels_drawn_at_random_are_the_evidence_once_there_are_enough() -> None:
    picked = above([0.5, 0.9], [600, 400], [500, 340])
    drawn_at_random = above([0.5, 0.9], [299, 200], [299, 200])
    found = threshold(picked, 0.99, at_random=drawn_at_random)
    assert (found.value, found.at_random) == (0.5, True)
    too_few = above([0.5, 0.9], [298, 200], [298, 200])
    assert threshold(picked, 0.99, at_random=too_few) == threshold(picked, 0.99)


def test_too_few_labels_show_nothing() -> None:
    found = threshold(above([0.5, 0.9], [298, 100], [298, 100]), 0.99)
    assert found.value is None
    assert found.reason == "299 labels predicted out of fold with the same high confidence are the least; there are 298"
    assert threshold(above([0.5, 0.9], [299, 100], [299, 100]), 0.99).value == 0.5


def test_without_out_of_fold_predictions_nothing_is_labelled() -> None:
    assert threshold(None, 0.99).value is None


def test_after_an_audit_that_failed_the_threshold_is_higher() -> None:
    evidence = above([0.5, 0.7, 0.9], [900, 800, 320], [900, 800, 320])
    assert threshold(evidence, 0.99).value == 0.5
    assert threshold(evidence, 0.99, floor=0.5).value == 0.7
    nothing = threshold(evidence, 0.99, floor=0.9)
    assert nothing.value is None and "audit failed at 0.9000" in nothing.reason


@pytest.mark.parametrize("target", [0.5, 1.0, 1.2])
def test_a_target_that_can_not_be_shown_is_refused(target: float) -> None:
    with pytest.raises(Invalid):
        threshold(above([0.5], [10], [10]), target)


@pytest.mark.parametrize("n", [200, 1_000, 4_000])
def test_a_threshold_below_the_target_is_chosen_at_most_once_in_twenty_times(n: int) -> None:
    rng = np.random.default_rng(n)
    runs, wrong, chosen = 1_000, 0, 0
    for _ in range(runs):
        evidence, true = drawn(n, rng)
        value = threshold(evidence, 0.95).value
        if value is not None:
            chosen += 1
            wrong += bool(true[np.searchsorted(CONFIDENCES, value)] < 0.95 - 1e-9)
    assert chosen > 0
    assert wrong / runs <= autolabel.ERROR + 0.01


def test_a_model_that_is_right_mostly_gets_its_threshold() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(200):
        confidence = rng.uniform(0.5, 1.0, 2_000)
        wrong = rng.random(2_000) >= np.where(confidence >= 0.7, 0.998, 0.8)
        found.append(
            threshold(right_above(np.stack((confidence, 1 - confidence), 1), wrong.astype(np.int64)), 0.99).value
        )
    values = [value for value in found if value is not None]
    assert len(values) >= 180
    assert 0.65 <= np.median(values) <= 0.75


# The audit


def test_one_wrong_answer_alone_proves_nothing_and_a_few_do() -> None:
    assert not audit([False], 0.99).failed
    assert not audit([True] * 50 + [False], 0.99).failed
    failed = audit([True] * 20 + [False] * 4, 0.99)
    assert failed.failed and "shows a precision below 0.99" in failed.reason


def test_an_audit_without_answers_says_nothing() -> None:
    found = audit([], 0.99)
    assert (found.answers, found.low, found.high, found.failed) == (0, 0.0, 1.0, False)


def test_the_alarm_rarely_rings_on_labels_that_are_as_good_as_they_must_be() -> None:
    rng = np.random.default_rng(0)
    rung = sum(autolabel._alarm(rng.random(2_000) < 0.99, 0.99) is not None for _ in range(1_000))
    assert rung / 1_000 <= autolabel.ERROR + 0.01, "though it is looked at after every one of 2,000 answers"


def test_the_alarm_rings_soon_on_bad_labels() -> None:
    rng = np.random.default_rng(0)
    after = [autolabel._alarm(rng.random(900) < 0.9, 0.99) for _ in range(200)]
    assert None not in after
    assert np.median([n for n in after if n is not None]) < 60


def test_bad_labels_stand_after_the_verdict_at_most_once_in_twenty_times() -> None:
    rng = np.random.default_rng(0)
    enough = enough_answers(0.95)
    stand = sum(not audit(rng.random(enough) < 0.949, 0.95).failed for _ in range(1_000))
    assert stand / 1_000 <= autolabel.ERROR + 0.01


def test_the_verdict_waits_for_enough_answers() -> None:
    enough = enough_answers(0.99)
    wrong = [False] + [True] * 120 + [False] + [True] * 120 + [False] + [True] * 120 + [False]
    told = wrong + [True] * (enough - len(wrong) - 2)
    assert lower_bound(sum(told), len(told)) < 0.99
    assert not audit(told, 0.99).failed
    assert audit([*told, True, False], 0.99).failed


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95, 0.99, 0.999])
def test_labels_with_a_quarter_of_the_errors_allowed_mostly_pass(target: float) -> None:
    rng = np.random.default_rng(0)
    enough = enough_answers(target)
    assert enough >= fewest(target, 0.05)
    good = 1 - (1 - target) / 4
    passed = sum(not audit(rng.random(enough) < good, target).failed for _ in range(300))
    assert passed / 300 > 0.85


def test_audits_are_a_share_but_never_drown_the_queries() -> None:
    assert audits_wanted(1_000, 0, 0.05, 200, None) == 50
    assert audits_wanted(950, 50, 0.05, 200, None) == 0
    assert audits_wanted(10_000, 0, 0.05, 100, None) == 50, "half a batch"
    assert audits_wanted(10_000, 0, 0.05, 100, 20) == 10, "half of what the budget leaves"
    assert audits_wanted(10_000, 0, 0.05, 100, 1) == 0
    assert audits_wanted(3, 0, 0.05, 100, None) == 1
    assert audits_wanted(0, 0, 0.05, 100, None) == 0
