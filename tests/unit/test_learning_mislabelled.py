"""Labels that are likely wrong come first."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import Invalid
from shared.learning.mislabelled import likely_mislabelled


def test_a_label_that_the_model_contradicts_confidently_is_found() -> None:
    said = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]])
    assert likely_mislabelled(said, np.array([0, 0, 1, 1, 1])).tolist() == [4]


def test_the_most_doubtful_label_comes_first_and_equals_go_by_row() -> None:
    sure = np.tile([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]], (10, 1))
    wrong = np.array([[0.95, 0.05, 0.0], [1.0, 0.0, 0.0], [0.95, 0.05, 0.0]])
    labels = np.concatenate((np.tile([0, 1, 2], 10), [1, 1, 1]))
    assert likely_mislabelled(np.concatenate((sure, wrong)), labels).tolist() == [31, 30, 32]


def test_a_model_that_is_sure_of_nothing_accuses_nobody() -> None:
    assert not len(likely_mislabelled(np.full((6, 3), 1 / 3), np.array([0, 0, 0, 0, 0, 0])))
    assert not len(likely_mislabelled(np.empty((0, 2)), np.empty(0, int)))


def test_most_of_the_labels_that_were_changed_are_found_and_few_others() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=1000)
    said = rng.dirichlet(np.ones(4), 1000) * 0.3
    said[np.arange(1000), truth] += 0.7
    labels, changed = truth.copy(), rng.choice(1000, 100, replace=False)
    labels[changed] = (truth[changed] + rng.integers(1, 4, size=100)) % 4
    found = likely_mislabelled(said, labels)
    right = set(found.tolist()) & set(changed.tolist())
    assert len(right) >= 90 and len(right) / len(found) >= 0.9


def test_what_does_not_fit_together_is_refused() -> None:
    for labels in (np.array([0]), np.array([0, 2]), np.array([-1, 0])):
        with pytest.raises(Invalid, match="don't fit"):
            likely_mislabelled(np.full((2, 2), 0.5), labels)
