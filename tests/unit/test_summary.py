"""What several runs say together, on figures that can be reckoned by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from winnow.summary import Curves, chance_beyond, compared, labels_to_reach, summarise
from winnow.tune import least_difference

LABELS = (100, 200, 400)


def rounds(*accuracy: float, distinct: int | None = None) -> list[dict[str, Any]]:
    made = [
        {
            "labels": labels,
            "accuracy": value,
            "macro_f1": value / 2,
            "per_class": {"cat": value, "dog": None},
            "train_s": 2.0,
            "score_s": 1.0,
            "select_s": 0.5,
        }
        for labels, value in zip(LABELS, accuracy, strict=False)
    ]
    return made if distinct is None else [row | {"distinct": distinct} for row in made]


RANDOM = Curves(label="random", by_seed={0: rounds(0.50, 0.60, 0.70), 1: rounds(0.52, 0.62, 0.74)})
MARGIN = Curves(label="margin", by_seed={0: rounds(0.50, 0.70, 0.80), 1: rounds(0.52, 0.70, 0.80)})


def test_differences_are_paired_by_seed() -> None:
    found = summarise([RANDOM, MARGIN], ["cat", "dog"])["margin"]
    last = found["budgets"][2]["accuracy"]
    assert last["mean"] == pytest.approx(0.8) and last["se"] == pytest.approx(0)
    assert last["diff"] == pytest.approx(0.08)
    assert last["diff_se"] == pytest.approx(np.std([0.10, 0.06], ddof=1) / math.sqrt(2))
    assert (last["wins"], last["beyond"]) == (2, 1)
    first = found["budgets"][0]["accuracy"]
    assert (first["diff"], first["diff_se"], first["wins"], first["beyond"]) == (0, 0, 0, 0)
    assert found["budgets"][1]["macro_f1"]["diff"] == pytest.approx(0.045)


def test_the_area_is_that_of_simulate_and_compared_in_the_same_way() -> None:
    found = summarise([RANDOM, MARGIN], ["cat"])["margin"]["aulc"]
    areas = [(0.60 * 100 + 0.75 * 200) / 300, (0.61 * 100 + 0.75 * 200) / 300]
    baseline = [(0.55 * 100 + 0.65 * 200) / 300, (0.57 * 100 + 0.68 * 200) / 300]
    assert found["mean"] == pytest.approx(np.mean(areas))
    assert found["diff"] == pytest.approx(np.mean(areas) - np.mean(baseline))
    assert found["wins"] == 2


def test_labels_to_reach_go_by_straight_lines_and_are_none_where_it_is_not_reached() -> None:
    assert labels_to_reach(LABELS, [0.5, 0.6, 0.8], 0.7) == pytest.approx(300)
    assert labels_to_reach(LABELS, [0.5, 0.6, 0.8], 0.6) == 200
    assert labels_to_reach(LABELS, [0.5, 0.6, 0.8], 0.4) == 100
    assert labels_to_reach(LABELS, [0.5, 0.6, 0.8], 0.81) is None
    assert labels_to_reach(LABELS, [0.5, 0.9, 0.6], 0.7) == pytest.approx(150)


def test_each_seed_is_held_against_its_own_random_and_the_mean_wants_all_of_them() -> None:
    found = summarise([RANDOM, MARGIN], ["cat"])["margin"]["labels_to_reach"]
    assert found["by_seed"] == {"0": pytest.approx(200), "1": pytest.approx(280)}
    assert (found["reached"], found["mean"]) == (2, pytest.approx(240))
    assert found["target"] == pytest.approx(0.72) and found["of_mean_curve"] == pytest.approx(240)
    slow = Curves(label="slow", by_seed={0: rounds(0.5, 0.6, 0.71), 1: rounds(0.5, 0.6, 0.71)})
    found = summarise([RANDOM, slow], ["cat"])["slow"]["labels_to_reach"]
    assert found["by_seed"]["1"] is None
    assert (found["reached"], found["mean"], found["of_mean_curve"]) == (1, None, None)


def test_a_seed_that_failed_on_either_side_is_left_out_of_the_differences() -> None:
    three = Curves(label="margin", by_seed={**MARGIN.by_seed, 2: rounds(0.9, 0.9, 0.9)})
    found = summarise([RANDOM, three], ["cat"])["margin"]
    assert (found["runs"], found["paired"]) == (3, 2)
    assert found["budgets"][2]["accuracy"]["mean"] == pytest.approx(2.5 / 3)
    assert found["budgets"][2]["accuracy"]["diff"] == pytest.approx(0.08)


def test_without_random_or_with_one_seed_nothing_is_marked() -> None:
    alone = summarise([MARGIN], ["cat"])["margin"]
    assert alone["aulc"]["diff"] is None and alone["labels_to_reach"]["target"] is None
    single = compared(np.array([0.8]), np.array([0.7]))
    assert (single["se"], single["diff_se"], single["beyond"]) == (None, None, None)
    assert single["diff"] == pytest.approx(0.1)
    assert chance_beyond(1) is None


def test_a_strategy_without_a_run_is_left_out() -> None:
    assert list(summarise([RANDOM, Curves(label="margin", by_seed={})], ["cat"])) == ["random"]


def test_near_duplicates_and_absent_classes_are_reported() -> None:
    many = Curves(label="random", by_seed={0: rounds(0.5, 0.6, 0.7, distinct=40)})
    found = summarise([many], ["cat", "dog"])["random"]
    assert found["budgets"][0]["distinct"]["mean"] == 40
    assert found["per_class"] == {"cat": [0.5, 0.6, 0.7], "dog": [None, None, None]}
    assert found["seconds"] == {"train_s": 2.0, "score_s": 1.0, "select_s": 0.5}


@pytest.mark.parametrize(("seeds", "share"), [(2, 0.2952), (3, 0.1835), (5, 0.1161), (30, 0.0549)])
def test_how_often_chance_is_beyond_two_errors_is_that_of_students_t(seeds: int, share: float) -> None:
    assert chance_beyond(seeds) == pytest.approx(share, abs=1e-3)


def test_the_best_of_many_equal_settings_seldom_passes_for_better() -> None:
    """Pure noise, 12 settings and 3 seeds: the best may pass for better than a baseline in 5 of 100 grids."""
    rng, passed = np.random.default_rng(0), 0
    for _ in range(400):
        areas = 0.7 + rng.normal(0, 0.02, 3) + rng.normal(0, 0.01, (13, 3))  # a seed lifts all alike
        passed += float((areas[1:] - areas[0]).mean(axis=1).max()) > least_difference(areas, 12)
    assert passed <= 30


def test_a_setting_that_is_far_better_passes() -> None:
    rng = np.random.default_rng(0)
    areas = 0.7 + rng.normal(0, 0.01, (13, 3))
    areas[5] += 0.06
    assert float((areas[5] - areas[0]).mean()) > least_difference(areas, 12)
