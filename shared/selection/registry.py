"""Strategies by the names that projects and commands use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.domain import ProjectSettings
from shared.selection import catalog
from shared.selection.base import Strategy
from shared.selection.committee import COMMITTEE_MEASURES, Committee, PowerBald
from shared.selection.coverage import Coverage
from shared.selection.density import Density
from shared.selection.error_reduction import ErrorReduction
from shared.selection.gradient import ExpectedGradient
from shared.selection.greedy import Badge, Coreset
from shared.selection.hybrid import Hybrid
from shared.selection.power import Power
from shared.selection.synthesis import Synthesis
from shared.selection.turns import ClusterMargin, KMeans, TypiClust
from shared.selection.uncertainty import MEASURES, Random, Uncertainty
from shared.selection.variance import Variance
from shared.selection.wrappers import Balanced, Distinct, Subsampled

COLD_START = "random"
"""The strategy for a project that has no model yet and no features either."""

_MAKERS: Mapping[str, Callable[..., Strategy]] = {
    "random": Random,
    **{name: (lambda name=name: Uncertainty(name)) for name in MEASURES},
    **{name: (lambda name=name: Committee(name)) for name in COMMITTEE_MEASURES},
    "power_bald": PowerBald,
    "power": Power,
    "density": Density,
    "expected_gradient": ExpectedGradient,
    "variance": Variance,
    "error_reduction": ErrorReduction,
    "synthesis": Synthesis,
    "hybrid": Hybrid,
    "cluster_margin": ClusterMargin,
    "kmeans": KMeans,
    "coreset": Coreset,
    "badge": Badge,
    "typiclust": TypiClust,
    "coverage": Coverage,
}

names = catalog.names


def make(name: str, **options: Any) -> Strategy:
    """The strategy of that name; options that aren't given have their defaults. Raises ``Invalid``.

    Options that every strategy has wrap it: ``balance`` innermost, so that ``distinct`` takes away from an order whose
    beginnings are all balanced, and ``subsample`` outermost.
    """
    values = catalog.complete(name, options)
    subsample, balance, distinct = (values.pop(common) for common in catalog.COMMON)
    strategy = _MAKERS[name](**values)
    if balance:
        strategy = Balanced(strategy)
    if distinct:
        strategy = Distinct(strategy, distinct)
    return Subsampled(strategy, subsample) if subsample < 1 else strategy


def from_settings(settings: ProjectSettings) -> Strategy:
    """The strategy that a project has chosen. Raises ``Invalid``."""
    return make(settings.strategy, **catalog.options_of(settings))


def scheduled(settings: ProjectSettings, labels: int, n_classes: int, *, has_model: bool) -> Strategy:
    """The strategy for a round: the cold start up to so many labels per class, then the one that was chosen.

    ``labels`` are those to train on, the holdout left out. Before there is a model it is the cold start in any case,
    and random where that needs features: those of a frozen network are there from the beginning, a trained network's
    with its first model. ``subsample`` and ``distinct`` hold for the cold start too. Raises ``Invalid``.
    """
    if has_model and labels >= settings.cold_labels_per_class * n_classes:
        return from_settings(settings)
    has_features = settings.on_features or has_model
    name = settings.cold_start
    if name == catalog.COLD_START:
        name = "typiclust" if settings.on_features else COLD_START
    if catalog.entry(name).needs.features and not has_features:
        name = COLD_START
    common = ("subsample", "distinct") if has_features else ("subsample",)
    return make(name, **{key: settings.strategy_options[key] for key in common if key in settings.strategy_options})
