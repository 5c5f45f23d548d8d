"""Every strategy and its options, by name: what it is, what it reads, and what may be set. No faiss, no torch.

This is the one list of them. The registry builds strategies from it, the HTTP edge checks settings with it, and the
command line and the pages describe strategies in its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain import ProjectSettings
from shared.errors import Invalid
from shared.selection.base import Needs

_DEFAULTS = ProjectSettings()
MEASURE_NAMES = ("least_confidence", "margin", "largest_margin", "entropy")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One setting. ``default`` also says its type; a number lies from ``low`` to ``high``, a word in ``choices``."""

    default: bool | int | float | str
    meaning: str
    low: float = 0.0
    high: float = float("inf")
    choices: tuple[str, ...] = ()

    def checked(self, name: str, value: Any) -> Any:
        """``value``, a whole number as a float where that is the type. Raises ``Invalid``."""
        wanted = type(self.default)
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not wanted:
            raise Invalid(f"{name} is {value!r}, which is not of type {wanted.__name__}")
        if self.choices and value not in self.choices:
            raise Invalid(f"{name} is {value!r}; it must be one of {', '.join(self.choices)}")
        if wanted in (int, float) and not self.low <= float(value) <= self.high:
            raise Invalid(f"{name} is {value}; it must be from {self.low:g} to {self.high:g}")
        return value


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A strategy: its group, what it does in one sentence, what it reads, and its own options by name."""

    group: str
    meaning: str
    needs: Needs
    options: Mapping[str, Option]


UNCERTAINTY = "uncertainty"
REPRESENTATION = "representation"
BOTH = "uncertainty and representation"
BASELINE = "baseline"
COMMITTEE = "committee"
MODEL = "effect on the model"

_MEASURE = Option(
    default=_DEFAULTS.measure, choices=MEASURE_NAMES, meaning="which uncertainty measure ranks the images"
)
_POWER = Option(default=1.0, high=100.0, meaning="how much the score counts beside chance: 0 is random")

_BETA = Option(default=10.0, low=1.0, high=1_000.0, meaning="candidates, the most uncertain, for each image to choose")
_GROUPS = Option(default=500, low=1, high=10_000, meaning="number of k-means clusters at most")


def _candidates(default: int) -> Option:
    return Option(
        default=default,
        low=1,
        high=10_000_000,
        meaning="images, drawn at random, among which is chosen; at least four for each image to choose",
    )


CATALOG: Mapping[str, Entry] = {
    "random": Entry(group=BASELINE, meaning="any images, all equally likely", needs=Needs(), options={}),
    "least_confidence": Entry(
        group=UNCERTAINTY,
        meaning="the lowest probability of the likeliest class",
        needs=Needs(probabilities=True),
        options={},
    ),
    "margin": Entry(
        group=UNCERTAINTY,
        meaning="the smallest lead of the likeliest class over the next",
        needs=Needs(probabilities=True),
        options={},
    ),
    "largest_margin": Entry(
        group=UNCERTAINTY,
        meaning="the smallest lead of the likeliest class over the least likely; a control, known to be poor",
        needs=Needs(probabilities=True),
        options={},
    ),
    "entropy": Entry(
        group=UNCERTAINTY,
        meaning="the most even distribution over all classes",
        needs=Needs(probabilities=True),
        options={},
    ),
    "vote_entropy": Entry(
        group=COMMITTEE,
        meaning="the most evenly split votes of a committee",
        needs=Needs(members=True),
        options={},
    ),
    "consensus_entropy": Entry(
        group=COMMITTEE,
        meaning="the most even mean of a committee's distributions",
        needs=Needs(members=True),
        options={},
    ),
    "mean_kl": Entry(
        group=COMMITTEE,
        meaning="the members of a committee furthest from their mean, by Kullback-Leibler divergence; the same as bald",
        needs=Needs(members=True),
        options={},
    ),
    "bald": Entry(
        group=COMMITTEE,
        meaning="the label that would tell most about which member is right",
        needs=Needs(members=True),
        options={},
    ),
    "power_bald": Entry(
        group=COMMITTEE,
        meaning="images drawn at random, the likelier the higher their bald",
        needs=Needs(members=True),
        options={"beta": _POWER},
    ),
    "power": Entry(
        group=UNCERTAINTY,
        meaning="images drawn at random, the likelier the less the model is sure of them",
        needs=Needs(probabilities=True),
        options={"measure": _MEASURE, "beta": _POWER},
    ),
    "density": Entry(
        group=BOTH,
        meaning="uncertain images that much of the pool is like",
        needs=Needs(probabilities=True, features=True),
        options={
            "measure": _MEASURE,
            "beta": Option(default=1.0, high=100.0, meaning="how much likeness to the pool counts: 0 is the measure"),
        },
    ),
    "expected_gradient": Entry(
        group=MODEL,
        meaning="the label that would move the last layer most",
        needs=Needs(probabilities=True, features=True),
        options={},
    ),
    "variance": Entry(
        group=MODEL,
        meaning="the label that would make predictions on the pool vary least",
        needs=Needs(probabilities=True, features=True, labelled_features=True),
        options={
            "head": Option(
                default="softmax",
                choices=("softmax", "ridge"),
                meaning="whose information counts: a softmax head's weighs uncertain images more, ridge all alike",
            ),
            "candidates": Option(
                default=5000, low=1, high=100_000, meaning="how many of the best to choose among, at least two batches"
            ),
        },
    ),
    "error_reduction": Entry(
        group=MODEL,
        meaning="the label after which a linear head would err least on the pool",
        needs=Needs(probabilities=True, features=True, labelled_features=True),
        options={
            "measure": _MEASURE,
            "candidates": Option(
                default=10, low=1, high=1000, meaning="how many of the most uncertain to try for each image to choose"
            ),
            "reference": Option(
                default=500, low=1, high=10_000, meaning="how many random images of the pool the error is reckoned on"
            ),
        },
    ),
    "synthesis": Entry(
        group=MODEL,
        meaning="the images nearest to points made up on the boundaries of a linear head",
        needs=Needs(probabilities=True, features=True, labelled_features=True),
        options={
            "points": Option(
                default=1000, low=1, high=10_000, meaning="how many points to make up, at most one an image"
            )
        },
    ),
    "hybrid": Entry(
        group=BOTH,
        meaning="part by uncertainty, the rest nearest to clusters of what is uncertain",
        needs=Needs(probabilities=True, features=True),
        options={
            "measure": _MEASURE,
            "alpha": Option(default=_DEFAULTS.alpha, high=1.0, meaning="share of the batch by uncertainty alone"),
            "clusters": Option(default=_DEFAULTS.clusters, low=1, high=10_000, meaning="number of k-means clusters"),
        },
    ),
    # Over features: grouped, or far apart.
    "cluster_margin": Entry(
        group=BOTH,
        meaning="the smallest margins, spread over clusters of images, small clusters first",
        needs=Needs(probabilities=True, features=True),
        options={"beta": _BETA, "groups": _GROUPS},
    ),
    "kmeans": Entry(
        group=BOTH,
        meaning="of what is uncertain, the image nearest to the centre of each of K clusters",
        needs=Needs(probabilities=True, features=True),
        options={
            "measure": _MEASURE,
            "beta": _BETA,
            "weighted": Option(default=False, meaning="whether uncertain images draw the centres more"),
        },
    ),
    "coreset": Entry(
        group=REPRESENTATION,
        meaning="one after the other the image furthest from all labelled and chosen ones (k-center greedy)",
        needs=Needs(features=True, labelled_features=True),
        options={"candidates": _candidates(50_000)},
    ),
    "badge": Entry(
        group=BOTH,
        meaning="a varied draw by the gradients that the images would give the last layer (k-means++)",
        needs=Needs(probabilities=True, features=True),
        options={"candidates": _candidates(50_000)},
    ),
    "typiclust": Entry(
        group=REPRESENTATION,
        meaning="the most typical image of each cluster that has no label yet; fit for a cold start",
        needs=Needs(features=True, labelled_features=True),
        options={"candidates": _candidates(20_000), "groups": _GROUPS},
    ),
    "coverage": Entry(
        group=REPRESENTATION,
        meaning="the images with the most unlabelled ones near to them (ProbCover); fit for a cold start",
        needs=Needs(features=True, labelled_features=True),
        options={
            "candidates": _candidates(20_000),
            "purity": Option(default=0.95, high=1.0, meaning="share of neighbourhoods that must be of one kind"),
        },
    ),
}

COMMON: Mapping[str, Option] = {
    "subsample": Option(
        default=1.0, low=1e-6, high=1.0, meaning="share of the pool that is looked at, another each time"
    ),
    "balance": Option(default=False, meaning="whether rare classes get the larger share of the batch"),
    "distinct": Option(
        default=0.0,
        high=1.0,
        meaning="of images nearer to each other than this share of the typical distance one is asked; 0: all may be",
    ),
}
"""Options that every strategy has beside its own."""

COLD_START = "auto"
"""As ``cold_start``: typiclust where there are features of a frozen network, else random."""


def names() -> tuple[str, ...]:
    """All strategies, in the order in which they are described."""
    return tuple(CATALOG)


def entry(name: str) -> Entry:
    """Raises ``Invalid`` for a name that isn't there."""
    if name not in CATALOG:
        raise Invalid(f"unknown strategy {name!r}; known are {', '.join(CATALOG)}")
    return CATALOG[name]


def options(name: str) -> Mapping[str, Option]:
    """All that may be set of a strategy: its own options, then those that all have. Raises ``Invalid``."""
    return {**entry(name).options, **COMMON}


def cold_starts() -> tuple[str, ...]:
    """What ``cold_start`` may be: ``auto``, or a strategy that needs no trained model's opinion."""
    return (COLD_START, *(name for name, one in CATALOG.items() if not (one.needs.probabilities or one.needs.members)))


def complete(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every option of a strategy, the given ones checked. Raises ``Invalid``, also for unknown options."""
    there = options(name)
    unknown = sorted(set(given) - there.keys())
    if unknown:
        raise Invalid(f"the strategy {name} has no option {', '.join(unknown)}; it has {', '.join(there)}")
    return {key: one.checked(key, given[key]) if key in given else one.default for key, one in there.items()}


def options_of(settings: ProjectSettings) -> dict[str, Any]:
    """What a project has set of its strategy's options; ``measure``, ``alpha`` and ``clusters`` where it has these."""
    own = entry(settings.strategy).options
    flat = {name: getattr(settings, name) for name in ("measure", "alpha", "clusters") if name in own}
    return flat | dict(settings.strategy_options)
