"""Committees and power sampling, against their formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Invalid
from shared.selection import registry
from shared.selection.base import ShardScores
from shared.selection.committee import COMMITTEE_MEASURES, disagreement, vote_entropy
from shared.selection.power import powered

SINGLE = ["vote_entropy", "consensus_entropy", "mean_kl", "bald", "power_bald"]


def members_of(n: int, seed: int, size: int = 4, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.6), (n, size)).astype(np.float32)


def plain_entropy(p: list[float]) -> float:
    return -math.fsum(x * math.log(x) for x in p if x > 0)


def test_bald_is_the_mutual_information_of_label_and_member() -> None:
    for image, score in zip(members_of(50, 1), disagreement(members_of(50, 1)), strict=True):
        # sum over the joint distribution of a member, all alike, and the label it gives
        joint = image.astype(float) / len(image)
        labels = joint.sum(axis=0)
        information = math.fsum(
            joint[m, c] * math.log(joint[m, c] / (labels[c] / len(image)))
            for m in range(joint.shape[0])
            for c in range(joint.shape[1])
            if joint[m, c] > 0
        )
        assert score == pytest.approx(information, abs=1e-6)  # float32 members sum to 1 but for 1e-7


def test_consensus_entropy_is_that_of_the_mean() -> None:
    members = members_of(50, 2)
    expected = [plain_entropy(image.mean(axis=0).tolist()) for image in members.astype(float)]
    assert COMMITTEE_MEASURES["consensus_entropy"](members) == pytest.approx(expected, abs=1e-12)


def test_members_that_agree_leave_no_disagreement_however_unsure_they_are() -> None:
    members = np.repeat(members_of(30, 3, size=1), 5, axis=1)
    assert disagreement(members) == pytest.approx(np.zeros(30), abs=1e-12)
    assert (disagreement(members) >= 0).all()
    assert vote_entropy(members).tolist() == [0.0] * 30
    assert (COMMITTEE_MEASURES["consensus_entropy"](members) > 0).any()


def test_members_sure_of_different_classes_disagree_by_the_logarithm_of_their_number() -> None:
    members = np.eye(3, dtype=np.float32)[None]
    for name in COMMITTEE_MEASURES:
        assert COMMITTEE_MEASURES[name](members).tolist() == pytest.approx([math.log(3)])


@given(st.permutations(range(7)), st.lists(st.integers(0, 6), min_size=5, max_size=5))
def test_votes_that_are_split_alike_are_equal_to_the_last_bit(order: list[int], votes: list[int]) -> None:
    one, other = np.eye(7, dtype=np.float32)[votes], np.eye(7, dtype=np.float32)[np.array(order)[votes]]
    a, b = vote_entropy(np.stack((one, other)))
    assert a == b


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.5])
def test_a_members_probability_that_is_none_is_refused_with_the_image(name: str, bad: float) -> None:
    members = members_of(8, 4)
    members[5, 1, 2] = bad
    with pytest.raises(Invalid, match="image 5, have a member's probability"):
        registry.make(name).select(lambda: [ShardScores(np.arange(8), members=members)], 3, np.random.default_rng(0))


def test_members_stored_in_half_precision_are_taken() -> None:
    pool = ShardScores(np.arange(40), members=members_of(40, 5).astype(np.float16))
    assert len(registry.make("bald").select(lambda: [pool], 10, np.random.default_rng(0)).ids) == 10


def test_images_are_drawn_as_often_as_the_power_of_their_score_says() -> None:
    scores, ids, draws = np.array([0.1, 0.2, 0.4, 0.8]), np.arange(4), 20_000
    firsts = [powered(ids, scores, 2.0, np.uint64(key)).argmax() for key in range(draws)]
    expected = scores**2 / (scores**2).sum()
    # Five standard errors of a share of 20,000 draws are at most 0.018.
    assert np.bincount(firsts, minlength=4) / draws == pytest.approx(expected, abs=0.018)


def test_a_high_beta_takes_the_top_and_beta_zero_takes_any() -> None:
    p = np.random.default_rng(6).dirichlet(np.ones(4), 300).astype(np.float32)
    pool = ShardScores(np.arange(300), p)

    def chosen(name: str, **options: float) -> set[int]:
        return set(registry.make(name, **options).select(lambda: [pool], 30, np.random.default_rng(0)).ids.tolist())

    # The 30 highest margins are close to each other, so even with much weight the noise exchanges a few.
    assert len(chosen("power", beta=100.0) & chosen("margin")) >= 25
    assert len(chosen("power", beta=0.0) & chosen("margin")) <= 10


def test_certain_images_are_drawn_last_and_with_finite_scores() -> None:
    members = np.concatenate((np.repeat(members_of(20, 7, size=1), 4, axis=1), members_of(20, 8)))
    pool = ShardScores(np.arange(40), members=members)
    chosen = registry.make("power_bald").select(lambda: [pool], 40, np.random.default_rng(0))
    assert set(chosen.ids[:20].tolist()) == set(range(20, 40))
    assert np.isfinite(chosen.scores).all()
