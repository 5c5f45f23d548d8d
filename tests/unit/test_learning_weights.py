"""Labels that weigh less count less, by the whole way that a training takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shared.errors import Invalid
from shared.learning.config import LearnConfig
from shared.learning.train import Extras, fit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype(np.float32)
Y = (X[:, 0] + 0.3 * RNG.normal(size=60) > 0).astype(np.int64)


def ridge(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> torch.Tensor:
    config = LearnConfig(arch="resnet18", mode="ridge")
    extras = Extras(weights=weights, backbone_id="b")
    weight: torch.Tensor = fit(x, y, n_classes=2, config=config, extras=extras).model.network.state_dict()[
        "classifier.weight"
    ]
    return weight


def test_a_label_that_weighs_nothing_is_as_if_it_were_not_there() -> None:
    weights = np.ones(60)
    weights[:20] = 0.0
    assert torch.equal(ridge(X, Y, weights), ridge(X[20:], Y[20:], None))


def test_labels_that_all_weigh_the_same_are_as_if_none_did() -> None:
    assert torch.allclose(ridge(X, Y, np.full(60, 0.4)), ridge(X, Y, None), rtol=1e-5)


def test_a_label_that_is_wrong_harms_less_the_less_it_weighs() -> None:
    wrong = Y.copy()
    wrong[:15] = 1 - wrong[:15]
    clean = ridge(X, Y, None)
    told = np.where(np.arange(60) < 15, 0.1, 1.0)
    assert (ridge(X, wrong, told) - clean).norm() < (ridge(X, wrong, None) - clean).norm()


def test_nothing_can_be_learnt_where_every_label_weighs_nothing() -> None:
    with pytest.raises(Invalid, match="weighs nothing"):
        ridge(X, Y, np.zeros(60))
