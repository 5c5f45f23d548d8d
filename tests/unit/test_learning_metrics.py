"""Metrics against scikit-learn, against published numbers, and at their edges."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from shared.errors import Invalid
from shared.learning.metrics import (
    auroc,
    evaluate,
    expected_calibration_error,
    reliability,
    wilson_interval,
)


def random_case(n: int = 300, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), labels] += 1.0
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True), labels


def test_it_agrees_with_scikit_learn() -> None:
    probabilities, labels = random_case()
    predicted = probabilities.argmax(axis=1)
    found = evaluate(probabilities, labels)
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted)
    assert found["accuracy"] == pytest.approx((predicted == labels).mean())
    assert found["macro_precision"] == pytest.approx(precision.mean())
    assert found["macro_recall"] == pytest.approx(recall.mean())
    assert found["macro_f1"] == pytest.approx(f1.mean())
    assert found["per_class"] == pytest.approx(recall.tolist())
    assert found["support"] == support.tolist()
    assert found["confusion"] == confusion_matrix(labels, predicted).tolist()
    assert found["nll"] == pytest.approx(log_loss(labels, probabilities))


def test_it_can_be_written_as_json() -> None:
    found = evaluate(*random_case())
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
)
def test_the_wilson_interval_is_that_of_newcombe_1998_table_1(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_nothing_measured_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_a_class_without_images_is_none_and_outside_the_averages() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.2, 0.7]])
    found = evaluate(probabilities, np.array([0, 1, 1]))
    assert found["per_class"] == [1.0, 0.5, None]
    assert found["macro_recall"] == pytest.approx(0.75)
    assert found["macro_precision"] == 1.0


def test_a_class_that_is_never_predicted_has_precision_zero() -> None:
    found = evaluate(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]))
    assert found["macro_precision"] == pytest.approx(0.25)


def test_a_certain_and_wrong_prediction_costs_much_but_not_infinitely() -> None:
    assert 20 < evaluate(np.array([[1.0, 0.0]]), np.array([1]))["nll"] < 30


def test_calibration_is_perfect_when_confidence_is_accuracy_and_its_gap_otherwise() -> None:
    labels = np.array([0, 0, 0, 1])
    assert expected_calibration_error(np.tile([0.75, 0.25], (4, 1)), labels) == pytest.approx(0.0)
    assert expected_calibration_error(np.tile([0.95, 0.05], (4, 1)), labels) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [(np.zeros((0, 3)), np.zeros(0)), (np.ones((2, 2)), np.zeros(3)), (np.ones((2, 2)), np.array([0, 2]))],
)
def test_what_does_not_fit_is_refused(probabilities: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(Invalid):
        evaluate(probabilities, labels)


def test_metrics_settings_and_selection_load_without_torch() -> None:
    code = "import sys, shared.learning.metrics, shared.learning.config, shared.selection.registry, shared.weights\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([s for s, _ in pairs], float), np.array([int(b) for _, b in pairs])
    high, low = scores[labels == 1], scores[labels == 0]
    found = auroc(scores, labels)
    if not len(high) or not len(low):
        assert found is None
        return
    wins = [(a > b) + 0.5 * (a == b) for a in high for b in low]
    assert found == pytest.approx(np.mean(wins))


def test_the_reliability_diagram_adds_up_to_the_calibration_error() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.5] * 4, 300)
    labels = rng.integers(0, 4, 300)
    bins = reliability(probabilities, labels)
    gaps = sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in bins)
    assert sum(one["n"] for one in bins) == 300
    assert gaps / 300 == pytest.approx(expected_calibration_error(probabilities, labels))
    assert all(one["low"] < one["confidence"] <= one["high"] + 1e-12 for one in bins)


def test_two_classes_have_an_auroc_and_more_have_none() -> None:
    rng = np.random.default_rng(0)
    two, three = rng.dirichlet([1, 1], 50), rng.dirichlet([1, 1, 1], 50)
    labels = rng.integers(0, 2, 50)
    assert evaluate(two, labels)["auroc"] == auroc(two[:, 1], labels)
    assert evaluate(three, labels)["auroc"] is None
