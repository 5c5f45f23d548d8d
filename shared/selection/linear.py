"""A linear head, fitted where images are selected: ridge regression on the features of what is labelled.

Some strategies ask what a further label would do to the model. For ridge regression the answer has a closed form, so
they work with this head whatever the network: one class against the rest, targets of 1 for the class and -1 for the
others, with an intercept. How strongly the weights are held back is decided by the exact leave-one-out error (Hastie,
Tibshirani and Friedman, "The Elements of Statistical Learning", eq. 7.64; Rifkin and Lippert 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid
from shared.selection.base import Floats, Labelled, Scores
from shared.selection.sums import Columns

Matrix = npt.NDArray[np.float64]

POWERS = np.arange(-5.0, 3.01, 0.5)
"""Powers of ten of the penalty as a multiple of the number of examples."""
STD_FLOOR = 0.1
"""No feature is scaled by less than this share of the typical deviation: one that hardly differs among a few labelled
images may differ much in the pool, and would drown the others."""
_RANK_TOLERANCE = 1e-10
_ROUNDING = 1e-9
_LEAST_FREEDOM = 1e-12


@dataclass(frozen=True)
class LinearHead:
    """``f(x) = weight' (1, (x - mean) / scale)``, the first row of the weights being the intercept.

    mean and scale float64 (D,), weight float64 (D + 1, C). ``rows`` float64 (m, D + 1): what it was fitted to, the
    ones included. ``left_out`` float64 (m, C): for each labelled image the outputs of a fit without it. ``penalty`` is
    that of the summed squares of the weights; the intercept has none.
    """

    mean: Scores
    scale: Scores
    weight: Matrix
    rows: Matrix
    left_out: Matrix
    penalty: float

    def standardised(self, columns: Columns) -> Columns:
        """Features, float64 (D, r), as the head sees them, with a row of ones above: (D + 1, r), element by element."""
        if len(columns) != len(self.mean):
            widths = f"{len(columns)} and {len(self.mean)}"
            raise Invalid(f"the pool and what is labelled have features of different widths: {widths}")
        inner = (columns - self.mean[:, None]) / self.scale[:, None]
        return np.concatenate((np.ones((1, inner.shape[1])), inner))

    def outputs(self, features: Floats) -> Matrix:
        """float64 (n, C), the higher the likelier; a row may differ in its last bits with the rows beside it."""
        result: Matrix = self.standardised(features.T.astype(np.float64)).T @ self.weight
        return result

    def covariance(self, weights: Scores | None = None) -> Matrix:
        """``(X' G X + penalty)^-1``, (D + 1, D + 1), with G the weights (m,) of the rows X, or ones."""
        weighted = self.rows if weights is None else self.rows * weights[:, None]
        information = self.rows.T @ weighted
        information[np.arange(1, len(information)), np.arange(1, len(information))] += self.penalty
        inverse = np.linalg.inv(information)
        result: Matrix = (inverse + inverse.T) / 2
        return result


def can_fit(labelled: Labelled) -> bool:
    """Whether there is anything to tell apart: two classes with a label. Those who ask have another way if not."""
    return len(np.unique(labelled.classes)) > 1


def fit_head(labelled: Labelled) -> LinearHead:
    """The head of what is labelled. Raises ``Invalid`` where its features are missing or not finite.

    Costs a decomposition of a matrix of the lesser of m and D on a side.
    """
    if labelled.features is None:
        raise Invalid("this strategy needs the features of what is labelled")
    x = labelled.features.astype(np.float64)
    if not np.isfinite(x).all():
        raise Invalid("labelled images have features that are not finite numbers")
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    typical = np.sqrt((deviation**2).mean()) or 1.0
    scale = np.maximum(deviation, STD_FLOOR * typical)
    z = (x - mean) / scale
    targets = np.where(labelled.classes[:, None] == np.arange(labelled.n_classes), 1.0, -1.0)
    solver = _Solver(z, targets)
    penalty = min((len(x) * 10.0**power for power in POWERS), key=solver.error)
    rows = np.concatenate((np.ones((len(z), 1)), z), axis=1)
    return LinearHead(mean, scale, solver.weight(penalty), rows, solver.left_out(penalty), penalty)


class _Solver:
    """The decomposition ``z = U S V'`` of centred rows, and what follows from it for any penalty."""

    def __init__(self, z: Matrix, targets: Matrix) -> None:
        self.z, self.targets, self.bias = z, targets, targets.mean(axis=0)
        # The lesser of the two Gram matrices; its eigenvalues are the squared singular values.
        if len(z) <= z.shape[1]:
            squares, u = np.linalg.eigh(z @ z.T)
            kept = squares > _RANK_TOLERANCE * max(squares.max(), 1e-300)
            self.squares, self.u = squares[kept], u[:, kept]
        else:
            squares, v = np.linalg.eigh(z.T @ z)
            kept = squares > _RANK_TOLERANCE * max(squares.max(), 1e-300)
            self.squares, self.u = squares[kept], z @ (v[:, kept] / np.sqrt(squares[kept]))
        centred = targets - self.bias
        self.projected = self.u.T @ centred
        self.outside = centred - self.u @ self.projected
        # What neither the intercept nor any weight can follow; with fewer images than features that is rounding.
        free = 1 - 1 / len(z) - (self.u**2).sum(axis=1)
        self.free = np.where(free < _ROUNDING, 0.0, free)

    def left_out(self, penalty: float) -> Matrix:
        """``t - (t - f) / (1 - leverage)``; both small differences are made of their parts, so as to stay exact."""
        held = penalty / (self.squares + penalty)
        residual = self.outside + self.u @ (held[:, None] * self.projected)
        freedom = np.maximum(self.free + self.u**2 @ held, _LEAST_FREEDOM)
        result: Matrix = self.targets - residual / freedom[:, None]
        return result

    def error(self, penalty: float) -> float:
        return float(((self.left_out(penalty) - self.targets) ** 2).mean())

    def weight(self, penalty: float) -> Matrix:
        """(D + 1, C), the intercept first."""
        inner = self.z.T @ (self.u @ (self.projected / (self.squares + penalty)[:, None]))
        return np.concatenate((self.bias[None, :], inner))
