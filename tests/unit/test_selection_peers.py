"""The scores of the measures beside those of scikit-activeml, for the same inputs."""

from __future__ import annotations

import numpy as np
import pytest
from skactiveml.pool import average_kl_divergence, uncertainty_scores, vote_entropy

from shared.selection import registry
from shared.selection.base import ShardScores
from shared.selection.committee import COMMITTEE_MEASURES
from shared.selection.uncertainty import MEASURES

CLASSES = [2, 3, 10]
THEIRS = {"least_confidence": "least_confident", "margin": "margin_sampling", "entropy": "entropy"}


def members_of(classes: int, n: int = 400) -> np.ndarray:
    """(n, 5, classes); spread enough that members often vote apart."""
    return np.random.default_rng(classes).dirichlet(np.full(classes, 0.7), (n, 5)).astype(np.float32)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("name", THEIRS)
def test_uncertainty_scores_are_those_of_scikit_activeml(name: str, classes: int) -> None:
    p = np.random.default_rng(classes).dirichlet(np.full(classes, 0.5), 500).astype(np.float32)
    assert MEASURES[name](p) == pytest.approx(uncertainty_scores(p, method=THEIRS[name]), abs=1e-6)


@pytest.mark.parametrize("name", THEIRS)
def test_the_images_chosen_by_uncertainty_are_the_best_by_their_scores(name: str) -> None:
    p = np.random.default_rng(1).dirichlet(np.full(6, 0.5), 500).astype(np.float32)
    theirs = uncertainty_scores(p.astype(np.float64), method=THEIRS[name])
    pool = ShardScores(np.arange(500), p)
    chosen = registry.make(name).select(lambda: [pool], 50, np.random.default_rng(0))
    assert chosen.ids.tolist() == np.argsort(-theirs, kind="stable")[:50].tolist()


@pytest.mark.parametrize("classes", CLASSES)
def test_vote_entropy_is_that_of_scikit_activeml(classes: int) -> None:
    members = members_of(classes)
    theirs = vote_entropy(members.argmax(axis=2), np.arange(classes))
    assert COMMITTEE_MEASURES["vote_entropy"](members) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("classes", CLASSES)
def test_mean_kl_is_that_of_scikit_activeml(classes: int) -> None:
    # Theirs raises probabilities to 1e-7 and makes them sum to 1 again, so no closer than that.
    members = members_of(classes)
    theirs = average_kl_divergence(members.transpose(1, 0, 2).astype(np.float64))
    assert COMMITTEE_MEASURES["mean_kl"](members) == pytest.approx(theirs, abs=5e-6)


def test_the_images_chosen_by_mean_kl_are_the_best_by_their_scores() -> None:
    # All well above their floor of 1e-7, so that it changes nothing.
    members = (0.9 * members_of(4) + 0.025).astype(np.float32)
    theirs = average_kl_divergence(members.transpose(1, 0, 2).astype(np.float64))
    pool = ShardScores(np.arange(len(members)), members=members)
    chosen = registry.make("mean_kl").select(lambda: [pool], 40, np.random.default_rng(0))
    assert chosen.ids.tolist() == np.argsort(-theirs, kind="stable")[:40].tolist()
