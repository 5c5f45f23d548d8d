"""Strategies by the names that projects and commands use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.domain import ProjectSettings
from shared.selection import catalog
from shared.selection.base import Strategy
from shared.selection.committee import COMMITTEE_MEASURES, Committee, PowerBald
from shared.selection.density import Density
from shared.selection.error_reduction import ErrorReduction
from shared.selection.gradient import ExpectedGradient
from shared.selection.hybrid import Hybrid
from shared.selection.power import Power
from shared.selection.synthesis import Synthesis
from shared.selection.uncertainty import MEASURES, Random, Uncertainty
from shared.selection.variance import Variance

COLD_START = "random"
"""The strategy for a project that has no model yet."""

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
}

names = catalog.names


def make(name: str, **options: Any) -> Strategy:
    """The strategy of that name; options that aren't given have their defaults. Raises ``Invalid``."""
    values = catalog.complete(name, options)
    return _MAKERS[name](**values)


def from_settings(settings: ProjectSettings) -> Strategy:
    """The strategy that a project has chosen. Raises ``Invalid``."""
    return make(settings.strategy, **catalog.options_of(settings))
