"""What a model says of labels, row by row."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import Invalid
from shared.learning.opinions import OPINION, opinions

SAID = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.05, 0.9, 0.05]], np.float32)
LABELS = np.array([0, 0, 1, 1])
UNSEEN = np.ones(4, np.bool_)


def test_each_row_tells_what_was_given_and_what_was_said() -> None:
    found = opinions(np.array([11, 12, 13, 14]), SAID, LABELS, UNSEEN)
    assert found.dtype == OPINION
    assert found["image"].tolist() == [11, 12, 13, 14]
    assert found["said"].tolist() == [0, 1, 1, 1]
    assert found["own"] == pytest.approx([0.9, 0.1, 0.7, 0.9])
    assert found["confidence"] == pytest.approx([0.9, 0.8, 0.7, 0.9])
    assert found["other"].tolist() == [1, 1, 0, 0], "never the label's own"


def test_the_likeliest_wrong_label_comes_first() -> None:
    found = opinions(np.arange(4), SAID, LABELS, UNSEEN)
    assert found["doubt"].tolist() == [-1, 0, -1, -1]


def test_what_a_model_was_trained_on_is_never_in_doubt() -> None:
    found = opinions(np.arange(4), SAID, LABELS, np.array([True, False, True, True]))
    assert found["doubt"].tolist() == [-1] * 4


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(Invalid):
        opinions(np.arange(3), SAID, LABELS, UNSEEN)
    with pytest.raises(Invalid):
        opinions(np.arange(4), SAID[:, :1], LABELS, UNSEEN)
