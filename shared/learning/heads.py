"""Softmax heads on the features of a frozen backbone: linear, or with one hidden layer.

How strongly to hold the weights back is found by cross-validation on the labels, all folds at once; what the folds
predict of each other is kept, to calibrate on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from shared.learning.calibration import stratified_folds

STD_FLOOR = 1e-3
FOLDS = 5
DECAYS = tuple(10.0 ** (half / 2) for half in range(2, -9, -1))
"""From the strongest on; the search ends when the folds get worse."""
MAX_ITERATIONS = 500
_REPORT_EVERY = 10
_TOLERANCE = 1e-6
_CV_ITERATIONS = 40
HIDDEN = 128
MLP_DECAYS = (0.01, 0.1, 1.0)
MLP_STEPS = 600
_MLP_BATCH = 128
_MLP_RATE = 2e-3

OnPart = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class HeadFit:
    """What a head's layers hold, by the names of its state dict, on standardised features: float64 on the CPU.

    mean, std : (D,), by which the features are standardised.
    decay : the weight of half the summed squares of the weights beside the mean loss.
    out_of_fold : float (n, C), logits for each label by a head that had not seen it; None with too few labels.
    history : (mean loss in nats, accuracy) on the labels, as the solution went.
    """

    state: dict[str, Tensor]
    mean: Tensor
    std: Tensor
    decay: float
    out_of_fold: npt.NDArray[np.float64] | None
    history: tuple[tuple[float, float], ...]


def fit_linear(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    *,
    n_classes: int,
    seed: int,
    decay: float | None = None,
    weights: npt.NDArray[Any] | None = None,
    device: torch.device | str = "cpu",
    go_on: OnPart = lambda: None,
) -> HeadFit:
    """Multinomial logistic regression: least mean cross-entropy + decay / 2 |W|^2; the bias is not held back.

    Parameters
    ----------
    x : float (n, D) features. ``y`` : integers (n,), columns; classes without any example are allowed.
    decay : None to find the one by which the folds predict each other best.
    weights : float (n,), how much each example counts.
    go_on : called often; what it raises ends the fit.

    The problem is turned to the axes of the features' covariance, which changes neither the penalty nor the solution.
    There the curvature is known up to a bound (Boehning 1992), so that L-BFGS needs some tens of steps.
    """
    problem = _Problem(x, y, n_classes, weights, device)
    folds = stratified_folds(np.asarray(y), FOLDS, seed) if len(y) >= 2 * FOLDS else None
    out_of_fold = None
    if folds is not None:
        decay, out_of_fold = _cross_validated(problem, folds, decay, go_on)
    chosen = 0.1 if decay is None else decay
    solution, history = _solved(problem, chosen, go_on)
    return HeadFit(
        state={"classifier.weight": (problem.axes @ solution[:-1]).T.cpu(), "classifier.bias": solution[-1].cpu()},
        mean=problem.mean.cpu(),
        std=problem.std.cpu(),
        decay=chosen,
        out_of_fold=out_of_fold,
        history=tuple(history),
    )


class _Problem:
    """The examples on the axes of their covariance: ``z = standardised x @ axes``, (n, r) with r at most n and D."""

    def __init__(
        self,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        n_classes: int,
        weights: npt.NDArray[Any] | None,
        device: torch.device | str,
    ) -> None:
        features = torch.from_numpy(np.asarray(x, np.float64)).to(device)
        self.y = torch.from_numpy(np.asarray(y, np.int64)).to(device)
        w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
        self.w = torch.from_numpy(w / w.mean()).to(device)
        self.n_classes = n_classes
        share = (self.w / len(x))[:, None]
        self.mean = (features * share).sum(0)
        self.std = ((features - self.mean).square() * share).sum(0).sqrt().clamp_min(STD_FLOOR)
        standard = (features - self.mean) / self.std
        if len(standard) < standard.shape[1]:
            squares, u = torch.linalg.eigh(standard @ standard.T)
            kept = squares > 1e-10 * squares.max().clamp_min(1e-300)
            self.squares = squares[kept]
            self.axes = standard.T @ (u[:, kept] / self.squares.sqrt())
        else:
            self.squares, self.axes = torch.linalg.eigh(standard.T @ standard)
            self.squares = self.squares.clamp_min(0)
        self.z = standard @ self.axes

    def scale(self, decay: float) -> Tensor:
        """By what to divide each coordinate so that the loss is about as curved along all, (r + 1, 1)."""
        curvature = torch.cat((self.squares / (2 * len(self.z)), self.squares.new_full((1,), 0.5)))
        penalty = torch.cat((self.squares.new_full((len(self.squares),), decay), self.squares.new_zeros(1)))
        return (curvature + penalty).sqrt()[:, None]


def _cross_validated(
    problem: _Problem, folds: npt.NDArray[np.int64], decay: float | None, go_on: OnPart
) -> tuple[float, npt.NDArray[np.float64]]:
    """The decay with the least out-of-fold loss, and the logits of its folds (n, C).

    Every fold's head is a block of columns of one matrix, so that the features are read once for all of them.
    """
    z = problem.z.float()
    y, n, classes = problem.y, len(z), problem.n_classes
    fold = torch.from_numpy(folds).to(z.device)
    inside = (fold[:, None] != torch.arange(FOLDS, device=z.device)).float() * problem.w.float()[:, None]  # (n, FOLDS)
    inside = inside / inside.sum(0, keepdim=True)
    start = torch.zeros(z.shape[1] + 1, FOLDS * classes, device=z.device)
    best: tuple[float, float, Tensor] | None = None
    for candidate in DECAYS if decay is None else (decay,):
        scale = problem.scale(candidate).float()

        def loss_of(scaled: Tensor, candidate: float = candidate, scale: Tensor = scale) -> Tensor:
            w = scaled / scale
            logits = (z @ w[:-1] + w[-1]).reshape(n, FOLDS, classes)
            losses = F.cross_entropy(logits.transpose(1, 2), y[:, None].expand(-1, FOLDS), reduction="none")
            return (losses * inside).sum() + candidate / 2 * w[:-1].square().sum()

        start = _minimised(loss_of, start * scale, _CV_ITERATIONS, go_on) / scale
        logits = (z @ start[:-1] + start[-1]).reshape(n, FOLDS, classes)
        unseen = logits[torch.arange(n, device=z.device), fold]
        loss = float((F.cross_entropy(unseen, y, reduction="none") * problem.w.float()).mean())
        if best is None or loss < best[0]:
            best = (loss, candidate, unseen)
        elif loss > 1.02 * best[0]:
            break
    assert best is not None
    return best[1], best[2].double().cpu().numpy()


def _minimised(loss_of: Callable[[Tensor], Tensor], start: Tensor, iterations: int, go_on: OnPart) -> Tensor:
    parameter = start.clone().requires_grad_(True)
    solver = torch.optim.LBFGS(
        [parameter], max_iter=iterations, line_search_fn="strong_wolfe", tolerance_grad=1e-5, tolerance_change=1e-7
    )

    def closure() -> Tensor:
        go_on()
        solver.zero_grad()
        loss = loss_of(parameter)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    return parameter.detach()


def _solved(problem: _Problem, decay: float, go_on: OnPart) -> tuple[Tensor, list[tuple[float, float]]]:
    """The solution on the problem's axes (r + 1, C), the bias last, and how it went."""
    z, y, w = problem.z, problem.y, problem.w
    scale = problem.scale(decay)
    parameter = torch.zeros(z.shape[1] + 1, problem.n_classes, dtype=torch.float64, device=z.device, requires_grad=True)
    solver = torch.optim.LBFGS(
        [parameter], max_iter=_REPORT_EVERY, line_search_fn="strong_wolfe", tolerance_grad=_TOLERANCE
    )

    def losses() -> tuple[Tensor, Tensor, Tensor]:
        unscaled = parameter / scale
        logits = z @ unscaled[:-1] + unscaled[-1]
        loss = (F.cross_entropy(logits, y, reduction="none") * w).mean()
        return loss + decay / 2 * unscaled[:-1].square().sum(), loss, logits

    def closure() -> Tensor:
        go_on()
        solver.zero_grad()
        total, _, _ = losses()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    history: list[tuple[float, float]] = []
    before = math.inf
    for _ in range(MAX_ITERATIONS // _REPORT_EVERY):
        solver.step(closure)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            total, loss, logits = losses()
        history.append((loss.item(), (logits.argmax(1) == y).double().mean().item()))
        if before - total.item() < _TOLERANCE:
            break
        before = total.item()
    return (parameter / scale).detach(), history


def fit_mlp(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    *,
    n_classes: int,
    seed: int,
    dropout: float,
    decay: float | None = None,
    weights: npt.NDArray[Any] | None = None,
    device: torch.device | str = "cpu",
    go_on: OnPart = lambda: None,
) -> HeadFit:
    """A head with one hidden layer of 128 and ReLU, by AdamW under a falling rate; arguments as ``fit_linear``'s.

    ``decay`` is AdamW's. All folds of one decay are trained at once, as one stack of matrices.
    """
    features = np.asarray(x, np.float32)
    w = np.ones(len(x), np.float32) if weights is None else np.asarray(weights, np.float32)
    w = w / w.mean()
    share = (w / len(x))[:, None]
    mean = (features * share).sum(0)
    std = np.maximum(np.sqrt(((features - mean) ** 2 * share).sum(0)), STD_FLOOR)
    data = _Stacked(
        z=torch.from_numpy((features - mean) / std).to(device),
        y=torch.from_numpy(np.asarray(y, np.int64)).to(device),
        w=torch.from_numpy(w).to(device),
        n_classes=n_classes,
        dropout=dropout,
        go_on=go_on,
    )
    out_of_fold, everything = None, [np.arange(len(y))]
    chosen = MLP_DECAYS[1] if decay is None else decay
    if len(y) >= 2 * FOLDS:
        folds = stratified_folds(np.asarray(y), FOLDS, seed)
        rest = [np.flatnonzero(folds != fold) for fold in range(FOLDS)]
        best = math.inf
        for candidate in MLP_DECAYS if decay is None else (decay,):
            layers, _ = data.trained(rest, candidate, seed)
            said = data.logits(layers, data.z).cpu()
            unseen = said[torch.from_numpy(folds), torch.arange(len(y))]
            loss = F.cross_entropy(unseen, data.y.cpu()).item()
            if loss < best:
                best, chosen, out_of_fold = loss, candidate, unseen.double().numpy()
    layers, history = data.trained(everything, chosen, seed)
    first, first_bias, last, last_bias = (layer[0].double().cpu() for layer in layers)
    return HeadFit(
        state={
            "hidden.weight": first.T.contiguous(),
            "hidden.bias": first_bias[0],
            "classifier.weight": last.T.contiguous(),
            "classifier.bias": last_bias[0],
        },
        mean=torch.from_numpy(mean).double(),
        std=torch.from_numpy(std).double(),
        decay=chosen,
        out_of_fold=out_of_fold,
        history=tuple(history),
    )


@dataclass(frozen=True, kw_only=True)
class _Stacked:
    """Several networks of one shape, trained side by side on parts of the same examples."""

    z: Tensor
    y: Tensor
    w: Tensor
    n_classes: int
    dropout: float
    go_on: OnPart

    def trained(
        self, parts: list[npt.NDArray[np.int64]], decay: float, seed: int
    ) -> tuple[list[Tensor], list[tuple[float, float]]]:
        """The layers of one network for each of ``parts`` (rows): (P, D, H), (P, 1, H), (P, H, C), (P, 1, C)."""
        device, count, dim = self.z.device, len(parts), self.z.shape[1]
        rng = torch.Generator().manual_seed(seed)
        bounds = (1 / math.sqrt(dim), 1 / math.sqrt(HIDDEN))
        shapes = ((dim, HIDDEN), (1, HIDDEN), (HIDDEN, self.n_classes), (1, self.n_classes))
        layers = []
        for index, shape in enumerate(shapes):
            drawn = (2 * torch.rand(1, *shape, generator=rng) - 1) * bounds[index // 2]
            layers.append(drawn.expand(count, *shape).clone().to(device).requires_grad_(True))
        optimizer = torch.optim.AdamW(
            [{"params": layers[::2], "weight_decay": decay}, {"params": layers[1::2], "weight_decay": 0.0}],
            lr=_MLP_RATE,
        )
        order = np.random.default_rng(seed)
        batch = min(_MLP_BATCH, *(len(part) for part in parts))
        history = []
        for step in range(MLP_STEPS):
            self.go_on()
            for group in optimizer.param_groups:
                group["lr"] = _MLP_RATE * 0.5 * (1 + math.cos(math.pi * step / MLP_STEPS))
            rows = np.stack([order.choice(part, batch, replace=len(part) < 2 * batch) for part in parts])
            chosen = torch.from_numpy(rows).to(device)
            keep = (torch.rand(count, batch, HIDDEN, generator=rng) >= self.dropout).float() / (1 - self.dropout)
            logits = self.logits(layers, self.z[chosen], keep.to(device))
            losses = F.cross_entropy(logits.transpose(1, 2), self.y[chosen], reduction="none") * self.w[chosen]
            optimizer.zero_grad()
            losses.mean(1).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if (step + 1) % (MLP_STEPS // 10) == 0:
                right = (logits.argmax(2) == self.y[chosen]).double().mean().item()
                history.append((losses.mean().item(), right))
        return [layer.detach() for layer in layers], history

    @staticmethod
    def logits(layers: list[Tensor], z: Tensor, keep: Tensor | None = None) -> Tensor:
        """(P, n, C), of examples (n, D) or (P, n, D); ``keep`` (P, n, H) is dropout's."""
        first, first_bias, last, last_bias = layers
        hidden = F.relu(z @ first + first_bias)
        return (hidden if keep is None else hidden * keep) @ last + last_bias
