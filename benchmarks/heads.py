"""Heads and ridges on 10,000 examples of 1,280 features, beside scikit-learn's with as wide a search, in one run.

The features imitate a backbone's: not below zero, correlated, most of the variance in few directions. The peers are
``LogisticRegressionCV`` and ``RidgeCV`` (its efficient leave-one-out); their accuracy on 5,000 further examples is in
the rows beside ours. scikit-learn's logistic regression is searched over three penalties only, since each takes long.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.preprocessing import StandardScaler

from benchmarks.report import Row
from shared.learning.heads import fit_linear
from shared.learning.ridge import GRID, fit_ridge

TRAIN, TEST, FEATURES, CLASSES = 10_000, 5_000, 1_280, 10
PEER_DECAYS = (0.3, 0.1, 0.03)


def run() -> list[Row]:
    x, y, test_x, test_y = _examples()
    scaler = StandardScaler().fit(x)
    z, test_z = scaler.transform(x), scaler.transform(test_x)
    ridge, ridge_s = _timed(lambda: fit_ridge(x, y, n_classes=CLASSES))
    peer_ridge, peer_ridge_s = _timed(lambda: RidgeCV(alphas=TRAIN * 10.0**GRID).fit(z, _one_hot(y)))
    head, head_s = _timed(lambda: fit_linear(x, y, n_classes=CLASSES, seed=0))
    # scikit-learn sums the losses: its C is 1 / (n decay).
    strengths = [1 / (TRAIN * decay) for decay in PEER_DECAYS]
    logistic = LogisticRegressionCV(Cs=strengths, cv=5, scoring="neg_log_loss", use_legacy_attributes=False)
    peer_head, peer_head_s = _timed(lambda: logistic.fit(z, y))

    def of_ridge(features: NDArray[Any]) -> NDArray[Any]:
        said: NDArray[Any] = (
            features - ridge.mean.numpy()
        ) / ridge.std.numpy() @ ridge.weight.numpy().T + ridge.bias.numpy()
        return said

    def of_head(features: NDArray[Any]) -> NDArray[Any]:
        weight, bias = head.state["classifier.weight"].numpy(), head.state["classifier.bias"].numpy()
        said: NDArray[Any] = (features - head.mean.numpy()) / head.std.numpy() @ weight.T + bias
        return said

    def right(said: NDArray[Any]) -> float:
        return float((said == test_y).mean())

    return [
        _time("ridge, 17 penalties and refining", ridge_s, peer_ridge_s, "RidgeCV, 17 penalties"),
        _accuracy("ridge", right(of_ridge(test_x).argmax(1)), right(peer_ridge.predict(test_z).argmax(1)), "RidgeCV"),
        _time("head, decays until the folds get worse", head_s, peer_head_s, "LogisticRegressionCV, 3 penalties"),
        _accuracy("head", right(of_head(test_x).argmax(1)), right(peer_head.predict(test_z)), "LogisticRegressionCV"),
    ]


def _examples() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    n = TRAIN + TEST
    y = rng.integers(0, CLASSES, n)
    hidden = rng.normal(size=(CLASSES, 64))[y] * 0.7 + rng.normal(size=(n, 64)) * np.linspace(3, 0.3, 64)
    mixed = hidden @ rng.normal(size=(64, FEATURES)) / 8 + 0.7 * rng.normal(size=(n, FEATURES))
    x = np.maximum(mixed, 0).astype(np.float32)
    return x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:]


def _one_hot(y: NDArray[np.int64]) -> NDArray[np.float64]:
    return 2 * np.eye(CLASSES)[y] - 1


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


def _time(case: str, seconds: float, peer: float, peer_name: str) -> Row:
    return Row(case=case, metric="time", value=seconds, unit="s", better="lower", peer=peer, peer_name=peer_name)


def _accuracy(case: str, ours: float, peer: float, peer_name: str) -> Row:
    return Row(case=case, metric="accuracy", value=ours, unit="", better="higher", peer=peer, peer_name=peer_name)
