"""Where the points of a map lie: t-SNE of features, reduced by their principal components. The only user of openTSNE.

One thread, whatever the machine has: the same features, seed and start then give the same map, and the worker beside
has the other cores. After Kobak and Berens (2019), The art of using t-SNE for single-cell transcriptomics, which begins
from principal components, and with a learning rate of n / 12.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from openTSNE import TSNEEmbedding, affinity

Floats = NDArray[np.float32]
Places = NDArray[np.float64]
COMPONENTS = 50
PERPLEXITY = 30
EARLY, LATE = 250, 500
"""Steps while clusters form, exaggerated, and after."""
EXAGGERATION = 12
AGAIN = 250
"""Steps of a map that begins from one before: it is moved, not made anew."""
TINY = 1e-4
"""Spread of the places that t-SNE begins from."""
_EXACT_UP_TO = 1_000
_ROWS_AT_ONCE = 4_096
_LOOK_EVERY = 10
OnStep = Callable[[float], None]


def layout(features: Floats, *, seed: int, before: Places | None, on_step: OnStep) -> Floats:
    """Places, float32 (n, 2), of features (n, D), at least 4 of them.

    Parameters
    ----------
    features : are changed.
    before : float64 (n, 2), where they were on the map before, NaN for those that are new; None for a first map.
    on_step : is told now and then which share is done, and may raise to end it.
    """
    reduced = principal(features, COMPONENTS)
    on_step(0.1)
    neighbours = affinity.PerplexityBasedNN(
        reduced,
        perplexity=min(PERPLEXITY, (len(reduced) - 1) / 3),
        method="exact" if len(reduced) <= _EXACT_UP_TO else "annoy",
        n_jobs=1,
        random_state=seed,
    )
    on_step(0.25)
    known = None if before is None else ~np.isnan(before[:, 0])
    if before is not None and known is not None and 2 * known.sum() >= len(known):
        return _moved(_joined(before, known, neighbours.P), neighbours, on_step)
    start = reduced[:, :2].astype(np.float64)
    return _made(TINY * start / max(start[:, 0].std(), 1e-12), neighbours, on_step)


def principal(features: Floats, components: int) -> Floats:
    """The first principal components, float32 (n, min(components, D)), of features (n, D), which are centred in place.

    By the eigenvectors of the covariance: exact, so that there is no seed to it. Each is turned so that its largest
    part is positive.
    """
    features -= features.mean(axis=0, dtype=np.float64).astype(np.float32)
    covariance = np.zeros((features.shape[1], features.shape[1]))
    for first in range(0, len(features), _ROWS_AT_ONCE):
        rows = features[first : first + _ROWS_AT_ONCE]
        covariance += rows.T @ rows
    axes = np.linalg.eigh(covariance)[1][:, ::-1][:, :components]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    found: Floats = features @ (axes * np.sign(largest)).astype(np.float32)
    return found


def _joined(before: Places, known: NDArray[np.bool_], near: object) -> Places:
    """Where all begin: new ones amid those of their neighbours that were there before, or in the middle of all."""
    places = before.copy()
    if known.all():
        return places
    weights = near[~known][:, known]  # type: ignore[index]  # a sparse matrix of affinities
    total = np.asarray(weights.sum(axis=1)).reshape(-1, 1)
    amid = weights @ before[known]
    middle = before[known].mean(axis=0)
    places[~known] = np.where(total > 0, amid / np.maximum(total, 1e-300), middle)
    return places


def _made(start: Places, neighbours: affinity.Affinities, on_step: OnStep) -> Floats:
    points = _embedding(start, neighbours)
    _optimise(points, EARLY, 0.25, 0.5, on_step, exaggeration=EXAGGERATION, momentum=0.5)
    _optimise(points, LATE, 0.5, 1.0, on_step, momentum=0.8)
    return np.asarray(points, np.float32)


def _moved(start: Places, neighbours: affinity.Affinities, on_step: OnStep) -> Floats:
    points = _embedding(start, neighbours)
    _optimise(points, AGAIN, 0.25, 1.0, on_step, momentum=0.8)
    return np.asarray(points, np.float32)


def _embedding(start: Places, neighbours: affinity.Affinities) -> TSNEEmbedding:
    return TSNEEmbedding(start, neighbours, n_jobs=1, learning_rate="auto")


def _optimise(points: TSNEEmbedding, steps: int, done: float, then: float, on_step: OnStep, **how: float) -> None:
    """Take ``steps`` in place, from the share ``done`` of the whole to the share ``then``."""

    def look(step: int, error: float, embedding: object) -> None:
        on_step(done + (then - done) * step / steps)

    points.optimize(
        steps, inplace=True, propagate_exception=True, callbacks=look, callbacks_every_iters=_LOOK_EVERY, **how
    )
