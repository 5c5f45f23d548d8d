"""Heads and ridges as networks: what ``heads`` and ``ridge`` find, put into the form that checkpoints hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from shared.learning.config import RIDGE, NetworkSpec
from shared.learning.heads import HeadFit, fit_linear, fit_mlp
from shared.learning.loop import Examples, Surroundings
from shared.learning.model import build_network
from shared.learning.networks import LinearHead, MlpHead, Network
from shared.learning.recipe import Recipe
from shared.learning.ridge import RidgeFit, fit_ridge


@dataclass(frozen=True, kw_only=True)
class Solved:
    """A network that is ready but for its temperature, unless ``temperature`` says it.

    out_of_fold : logits (n, C) of labels by fits that had not seen them, and the true columns (n,).
    history : (loss in nats, accuracy) on the labels, as the solution went.
    details : what the search found, for people.
    """

    network: Network
    temperature: float | None
    out_of_fold: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None
    history: tuple[tuple[float, float], ...]
    details: dict[str, Any]


def solve(data: Examples, spec: NetworkSpec, recipe: Recipe, *, seed: int, around: Surroundings) -> Solved:
    """Fit the head or the ridge that ``spec`` describes to features (n, D). Raises ``Retryable`` when told to stop."""
    around.go_on()
    weights = data.weight if recipe.imbalance == "none" else data.weight * _by_class(data)
    power, ridge = _better_power(data, weights, around)
    if spec.mode == RIDGE:
        return _ridge(data, spec, ridge, power)
    x = data.x**power
    found = (
        fit_mlp(
            x,
            data.y,
            n_classes=data.n_classes,
            seed=seed,
            dropout=spec.dropout,
            decay=recipe.head_decay,
            weights=weights,
            device=around.device,
            go_on=around.go_on,
        )
        if spec.head == "mlp"
        else fit_linear(
            x,
            data.y,
            n_classes=data.n_classes,
            seed=seed,
            decay=recipe.head_decay,
            weights=weights,
            device=around.device,
            go_on=around.go_on,
        )
    )
    out = None if found.out_of_fold is None else (found.out_of_fold, data.y)
    return Solved(
        network=_network(spec, found, power),
        temperature=None,
        out_of_fold=out,
        history=found.history,
        details={"head_decay": found.decay, "feature_power": power},
    )


def _better_power(data: Examples, weights: npt.NDArray[np.float32], around: Surroundings) -> tuple[float, RidgeFit]:
    """Whether the features or their square roots are the better ones, by the leave-one-out error of a ridge.

    What a ReLU gives is skewed: the root makes large activations count less (Hu et al. 2021, "Leveraging the Feature
    Distribution in Transfer-based Few-Shot Learning", section 3.1). Features below zero are left as they are.
    """
    powers = (1.0, 0.5) if data.x.min() >= 0 else (1.0,)
    best: tuple[float, RidgeFit] | None = None
    for power in powers:
        around.go_on()
        x = data.x**power
        found = fit_ridge(x, data.y, n_classes=data.n_classes, weights=weights, device=around.device)
        if best is None or found.loo_error < best[1].loo_error:
            best = (power, found)
    assert best is not None
    return best


def _ridge(data: Examples, spec: NetworkSpec, found: RidgeFit, power: float) -> Solved:
    state = {"classifier.weight": found.weight, "classifier.bias": found.bias}
    linear = HeadFit(
        state=state, mean=found.mean, std=found.std, decay=found.penalty, out_of_fold=found.left_out, history=()
    )
    scores = torch.from_numpy(found.left_out) / found.temperature
    truth = torch.from_numpy(data.y)
    loss = torch.nn.functional.cross_entropy(scores, truth).item()
    return Solved(
        network=_network(spec, linear, power),
        temperature=found.temperature,
        out_of_fold=(found.left_out, data.y),
        history=((loss, (scores.argmax(1) == truth).double().mean().item()),),
        details={"ridge_penalty": found.penalty, "loo_error": found.loo_error, "feature_power": power},
    )


def _network(spec: NetworkSpec, found: HeadFit, power: float) -> Network:
    network = build_network(spec)
    assert isinstance(network, LinearHead | MlpHead)
    with torch.no_grad():
        for name, value in found.state.items():
            network.get_parameter(name).copy_(value)
    network.power.fill_(power)
    network.standardise_with(found.mean, found.std)
    return network.eval().requires_grad_(False)


def _by_class(data: Examples) -> npt.NDArray[np.float32]:
    """Every class that is there counts the same in sum: drawing evenly would come to this, for a convex problem."""
    counts = np.bincount(data.y, minlength=data.n_classes)
    return (len(data.y) / (counts[data.y] * np.count_nonzero(counts))).astype(np.float32)
