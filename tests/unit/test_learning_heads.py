"""Softmax heads: the solution, the decay found by folds, and what the folds say of each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from shared.errors import Retryable
from shared.learning.heads import DECAYS, HeadFit, fit_linear, fit_mlp
from tests.unit.learning_support import blobs


def logits(fit: HeadFit, x: np.ndarray) -> np.ndarray:
    standard = (torch.from_numpy(np.asarray(x, np.float64)) - fit.mean) / fit.std
    if "hidden.weight" in fit.state:
        standard = torch.relu(standard @ fit.state["hidden.weight"].T + fit.state["hidden.bias"])
    return (standard @ fit.state["classifier.weight"].T + fit.state["classifier.bias"]).numpy()


@pytest.mark.parametrize(("n", "dim"), [(120, 20), (25, 60)], ids=["tall", "wide"])
@pytest.mark.parametrize("decay", [0.01, 0.3])
def test_it_solves_the_same_problem_as_scikit_learn(n: int, dim: int, decay: float) -> None:
    x, y = blobs(n, dim=dim)
    weights = np.random.default_rng(0).uniform(0.5, 2, n)
    weights /= weights.mean()
    fit = fit_linear(x, y, n_classes=3, seed=0, decay=decay, weights=weights)
    z = ((torch.from_numpy(x.astype(np.float64)) - fit.mean) / fit.std).numpy()
    peer = LogisticRegression(C=1 / (n * decay), tol=1e-10, max_iter=5000).fit(z, y, sample_weight=weights)
    assert fit.state["classifier.weight"].numpy() == pytest.approx(peer.coef_, abs=2e-3)


def test_the_decay_is_the_one_by_which_folds_predict_each_other_best() -> None:
    x, y = blobs(100, dim=60)
    x = x + np.random.default_rng(1).normal(size=x.shape).astype(np.float32) * 2

    def unseen_loss(decay: float) -> float:
        fit = fit_linear(x, y, n_classes=3, seed=0, decay=decay)
        assert fit.out_of_fold is not None
        return torch.nn.functional.cross_entropy(torch.from_numpy(fit.out_of_fold), torch.from_numpy(y)).item()

    found = fit_linear(x, y, n_classes=3, seed=0).decay
    assert unseen_loss(found) <= min(unseen_loss(decay) for decay in DECAYS) + 0.01


@pytest.mark.parametrize("fit_head", [fit_linear, lambda *a, **k: fit_mlp(*a, dropout=0.2, **k)], ids=["linear", "mlp"])
def test_what_the_folds_say_was_not_learnt_by_heart(fit_head: object) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 80)).astype(np.float32), rng.integers(0, 2, 100)
    fit = fit_head(x, y, n_classes=2, seed=0, decay=1e-3)  # type: ignore[operator]
    assert (logits(fit, x).argmax(axis=1) == y).mean() > 0.9
    assert (fit.out_of_fold.argmax(axis=1) == y).mean() < 0.7, "there is nothing to learn"


def test_the_mlp_learns_what_no_line_can_part() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4)).astype(np.float32)
    y = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(np.int64)
    fit = fit_mlp(x[:400], y[:400], n_classes=2, seed=0, dropout=0.1)
    assert (logits(fit, x[400:]).argmax(axis=1) == y[400:]).mean() > 0.85
    line = fit_linear(x[:400], y[:400], n_classes=2, seed=0)
    assert (logits(line, x[400:]).argmax(axis=1) == y[400:]).mean() < 0.7


@pytest.mark.parametrize("n", [1, 2, 9, 11])
def test_few_labels_and_absent_classes_are_borne(n: int) -> None:
    x, y = blobs(n)
    for fit in (fit_linear(x, y, n_classes=7, seed=0), fit_mlp(x, y, n_classes=7, seed=0, dropout=0.2)):
        assert np.isfinite(logits(fit, x)).all()
        assert (fit.out_of_fold is None) == (n < 10)


def test_it_stops_when_told() -> None:
    def stop() -> None:
        raise Retryable("enough")

    with pytest.raises(Retryable, match="enough"):
        fit_linear(*blobs(60), n_classes=3, seed=0, go_on=stop)
    with pytest.raises(Retryable, match="enough"):
        fit_mlp(*blobs(60), n_classes=3, seed=0, dropout=0.2, go_on=stop)
