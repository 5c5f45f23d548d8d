"""Strategies by the names that projects and commands use."""

from __future__ import annotations

from shared.domain import ProjectSettings
from shared.errors import Invalid
from shared.selection.base import Strategy
from shared.selection.hybrid import Hybrid
from shared.selection.uncertainty import MEASURES, Random, Uncertainty

COLD_START = "random"
"""The strategy for a project that has no model yet."""

_DEFAULTS = ProjectSettings()


def names() -> tuple[str, ...]:
    """All strategies that ``make`` knows."""
    return ("random", *MEASURES, "hybrid")


def make(
    name: str,
    *,
    measure: str = _DEFAULTS.measure,
    alpha: float = _DEFAULTS.alpha,
    clusters: int = _DEFAULTS.clusters,
) -> Strategy:
    """The strategy of that name; the settings matter to ``hybrid`` alone. Raises ``Invalid``."""
    if name == "random":
        return Random()
    if name in MEASURES:
        return Uncertainty(name)
    if name == "hybrid":
        return Hybrid(measure=measure, alpha=alpha, clusters=clusters)
    raise Invalid(f"unknown strategy {name!r}; known are {', '.join(names())}")


def from_settings(settings: ProjectSettings) -> Strategy:
    """The strategy that a project has chosen. Raises ``Invalid``."""
    return make(settings.strategy, measure=settings.measure, alpha=settings.alpha, clusters=settings.clusters)
