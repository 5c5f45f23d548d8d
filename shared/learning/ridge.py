"""Ridge regression on the features of a frozen backbone, one class against the rest: solved, not trained.

How strongly to hold the weights back is decided by the exact leave-one-out error, which costs no refits: one
decomposition of the features serves every strength (Hastie, Tibshirani, Friedman, "The Elements of Statistical
Learning", eq. 7.64; Rifkin and Lippert 2007).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.learning.calibration import fit_temperature, golden_section

STD_FLOOR = 1e-3
GRID = np.arange(-5.0, 3.01, 0.5)
"""Powers of ten of the penalty as a multiple of the number of examples; the best is refined."""
_RANK_TOLERANCE = 1e-10
_ROUNDING = 1e-9
_LEAST_FREEDOM = 1e-12
"""What is left of an example that the fit reproduces whatever it is: the only one with such features."""


@dataclass(frozen=True, kw_only=True)
class RidgeFit:
    """``logits = ((x - mean) / std) @ weight.T + bias``; ``softmax(logits / temperature)`` are the probabilities.

    weight (C, D), bias (C,), mean and std (D,), float64 on the CPU. ``penalty`` is that of the summed squares.
    ``left_out`` float64 (n, C): for every example the logits of a fit without it. ``loo_error`` is their mean squared
    error against targets of 1 for the class and -1 for the others.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    std: Tensor
    penalty: float
    temperature: float
    left_out: npt.NDArray[np.float64]
    loo_error: float


def fit_ridge(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    *,
    n_classes: int,
    weights: npt.NDArray[Any] | None = None,
    penalty: float | None = None,
    device: torch.device | str = "cpu",
) -> RidgeFit:
    """Solve ``min sum_i w_i |t_i - W z_i - b|^2 + penalty |W|^2`` for standardised features z.

    Parameters
    ----------
    x : float (n, D) features. ``y`` : integers (n,), columns; classes without any example are allowed.
    weights : float (n,), how much each example counts; a 2 is worth the example twice, but for the leaving out.
    penalty : None to find the one with the least leave-one-out error.
    """
    features = torch.from_numpy(np.asarray(x, np.float64)).to(device)
    w = torch.ones(len(x), dtype=torch.float64, device=features.device)
    if weights is not None:
        w = torch.from_numpy(np.asarray(weights, np.float64)).to(features.device)
    targets = -torch.ones(len(x), n_classes, dtype=torch.float64, device=features.device)
    targets[torch.arange(len(x)), torch.from_numpy(np.asarray(y, np.int64))] = 1.0
    share = (w / w.sum())[:, None]
    mean = (features * share).sum(0)
    std = ((features - mean).square() * share).sum(0).sqrt().clamp_min(STD_FLOOR)
    search = _Search((features - mean) / std, targets, w)
    if penalty is None:
        penalty = search.best()
    left_out = search.left_out(penalty).cpu().numpy()
    weight, bias = search.solution(penalty)
    return RidgeFit(
        weight=weight.cpu(),
        bias=bias.cpu(),
        mean=mean.cpu(),
        std=std.cpu(),
        penalty=penalty,
        temperature=fit_temperature(left_out, y),
        left_out=left_out,
        loo_error=search.error(penalty),
    )


class _Search:
    """The decomposition ``sqrt(w) z = U S V'`` and what follows from it for any penalty."""

    def __init__(self, z: Tensor, targets: Tensor, w: Tensor) -> None:
        self.targets, self.w = targets, w
        self.offset = (targets * w[:, None]).sum(0) / w.sum()
        root = w.sqrt()[:, None]
        rows, self.t = root * z, root * (targets - self.offset)
        self.rows = rows
        # The smaller of the two Gram matrices; its eigenvalues are the squared singular values.
        if len(rows) < rows.shape[1]:
            squares, self.u = torch.linalg.eigh(rows @ rows.T)
        else:
            squares, v = torch.linalg.eigh(rows.T @ rows)
            self.u = rows @ (v / squares.clamp_min(1e-300).sqrt())
        kept = squares > _RANK_TOLERANCE * squares.max().clamp_min(1e-300)
        self.squares, self.u = squares[kept], self.u[:, kept]
        self.projected = self.u.T @ self.t
        self.u_squared = self.u.square()
        # What no penalty touches: the part outside the span of the features. The intercept takes its share of it. With
        # fewer examples than features there is none, but for rounding.
        self.outside = self.t - self.u @ self.projected
        self.free = (1 - self.u_squared.sum(1) - w / w.sum()).clamp_min(0)
        self.free[self.free < _ROUNDING] = 0

    def left_out(self, penalty: float) -> Tensor:
        """The logits that each example would get of a fit without it (n, C)."""
        # 1 - leverage and the residual are both small where the fit is close; as sums of small terms they stay exact.
        held = penalty / (self.squares + penalty)
        residual = self.outside + self.u @ (held[:, None] * self.projected)
        freedom = (self.free + self.u_squared @ held).clamp_min(_LEAST_FREEDOM)
        out: Tensor = self.targets - residual / (freedom * self.w.sqrt())[:, None]
        return out

    def error(self, penalty: float) -> float:
        squared = (self.left_out(penalty) - self.targets).square().mean(1)
        return float((squared * self.w).sum() / self.w.sum())

    def best(self) -> float:
        """The penalty with the least leave-one-out error: on the grid, then refined between its neighbours."""
        n = len(self.targets)
        errors = [self.error(n * 10.0**power) for power in GRID]
        middle = float(GRID[int(np.argmin(errors))])
        power = golden_section(lambda p: self.error(n * 10.0**p), middle - 0.5, middle + 0.5, tolerance=0.02)
        return float(n * 10.0**power) if math.isfinite(power) else float(n)

    def solution(self, penalty: float) -> tuple[Tensor, Tensor]:
        """weight (C, D) and bias (C,)."""
        # W' = V S / (S^2 + penalty) U' t, and V S U' = rows'.
        shrunk = self.u @ (self.projected / (self.squares + penalty)[:, None])
        return (self.rows.T @ shrunk).T.contiguous(), self.offset
