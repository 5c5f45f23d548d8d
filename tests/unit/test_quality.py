"""Consensus, agreement and people's figures, against published examples and other people's code."""

from __future__ import annotations

from itertools import pairwise

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from shared.errors import Invalid
from shared.quality.agreement import krippendorff_alpha, pairwise_kappa
from shared.quality.answers import Answers, votes
from shared.quality.consensus import dawid_skene, majority
from shared.quality.people import confusions, speeds
from shared.quality.skill import accuracy, training_weight, vote_weight

# Dawid and Skene (1979), table 1: 45 patients; the first anaesthetist judged each three times, the other four once.
TABLE_1 = """
1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343 1111111 2223212 1211111
1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222 1111111 1111111 2322222 1111111 1111111 1121121
1111111 3333233 1111111 2222222 2223232 4334343 2212232 2323233 3333432 1111111 1111111 1212111 2322222 1211111 2222222
"""


def anaesthetists() -> Answers:
    said = np.array([[int(c) - 1 for c in row] for row in TABLE_1.split()])
    patients, _ = np.indices(said.shape)
    observers = np.tile([0, 0, 0, 1, 2, 3, 4], (len(said), 1))
    return Answers(
        items=patients.ravel(),
        annotators=observers.ravel(),
        classes=said.ravel(),
        n_items=45,
        n_annotators=5,
        n_classes=4,
    )


def simulated(seed: int, accuracies: list[float], items: int = 400, classes: int = 5) -> tuple[Answers, np.ndarray]:
    """Everybody answers everything."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=items)
    said = []
    for q in accuracies:
        wrong = (truth + rng.integers(1, classes, size=items)) % classes
        said.append(np.where(rng.random(items) < q, truth, wrong))
    people = len(accuracies)
    made = Answers(
        items=np.tile(np.arange(items), people),
        annotators=np.repeat(np.arange(people), items),
        classes=np.concatenate(said),
        n_items=items,
        n_annotators=people,
        n_classes=classes,
    )
    return made, truth


def test_dawid_skene_finds_the_marginals_that_its_authors_found() -> None:
    found = dawid_skene(anaesthetists(), smoothing=0.0, max_iterations=1000, tolerance=1e-9)
    assert found.converged
    assert found.prior.round(2).tolist() == [0.40, 0.42, 0.11, 0.07]


def test_dawid_skene_finds_the_error_rates_that_its_authors_found() -> None:
    """Table 2, observer 1."""
    found = dawid_skene(anaesthetists(), smoothing=0.0, max_iterations=1000, tolerance=1e-9)
    assert found.errors[0, 0].round(2).tolist() == [0.89, 0.11, 0.0, 0.0]
    assert found.errors[0, 1].round(2).tolist() == [0.07, 0.88, 0.05, 0.0]


def test_dawid_skene_tells_the_good_from_the_bad_where_a_majority_can_not() -> None:
    answers, truth = simulated(0, [0.95, 0.9, 0.35, 0.35, 0.35], items=2000)
    right = (dawid_skene(answers).probabilities.argmax(axis=1) == truth).mean()
    by_vote = (majority(answers).argmax(axis=1) == truth).mean()
    assert right > by_vote + 0.05


def test_each_iteration_makes_the_answers_likelier() -> None:
    answers, _ = simulated(1, [0.8, 0.6, 0.5])

    def likelihood(iterations: int) -> float:
        found = dawid_skene(answers, smoothing=0.0, max_iterations=iterations, tolerance=0.0)
        logs = np.tile(np.log(found.prior), (answers.n_items, 1))
        for c in range(answers.n_classes):
            said = np.log(found.errors[answers.annotators, c, answers.classes])
            logs[:, c] += np.bincount(answers.items, said, minlength=answers.n_items)
        return float(np.logaddexp.reduce(logs, axis=1).sum())

    told = [likelihood(n) for n in range(1, 8)]
    assert all(after >= before - 1e-9 for before, after in pairwise(told))


def test_an_item_without_an_answer_gets_the_prior() -> None:
    answers, _ = simulated(2, [0.9, 0.9], items=50)
    wider = Answers(
        items=answers.items,
        annotators=answers.annotators,
        classes=answers.classes,
        n_items=51,
        n_annotators=2,
        n_classes=5,
    )
    found = dawid_skene(wider)
    assert found.probabilities[50] == pytest.approx(found.prior, abs=1e-3)


def test_a_tie_stays_a_tie() -> None:
    tied = Answers(
        items=np.array([0, 0]),
        annotators=np.array([0, 1]),
        classes=np.array([0, 1]),
        n_items=2,
        n_annotators=2,
        n_classes=2,
    )
    assert majority(tied).tolist() == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_that_of_the_package_krippendorff(seed: int) -> None:
    answers, _ = simulated(seed, [0.9, 0.7, 0.5, 0.4], items=60)
    kept = np.random.default_rng(seed).random(len(answers)) < 0.6
    sparse = Answers(
        items=answers.items[kept],
        annotators=answers.annotators[kept],
        classes=answers.classes[kept],
        n_items=60,
        n_annotators=4,
        n_classes=5,
    )
    peer = krippendorff.alpha(value_counts=votes(sparse).astype(int), level_of_measurement="nominal")
    assert krippendorff_alpha(sparse) == pytest.approx(peer)


def test_alpha_is_unknown_where_nothing_can_be_compared() -> None:
    alone, _ = simulated(0, [0.9])
    assert krippendorff_alpha(alone) is None


def test_kappa_is_that_of_scikit_learn() -> None:
    answers, _ = simulated(3, [0.9, 0.6, 0.2], items=200)
    said = answers.classes.reshape(3, 200)
    kappas, shared = pairwise_kappa(answers)
    assert kappas[0, 2] == pytest.approx(cohen_kappa_score(said[0], said[2]))
    assert kappas[1, 2] == kappas[2, 1] == pytest.approx(cohen_kappa_score(said[1], said[2]))
    assert shared.tolist() == [[200] * 3] * 3


def test_two_who_share_no_image_have_no_kappa() -> None:
    apart = Answers(
        items=np.array([0, 1]),
        annotators=np.array([0, 1]),
        classes=np.array([0, 1]),
        n_items=2,
        n_annotators=2,
        n_classes=2,
    )
    kappas, shared = pairwise_kappa(apart)
    assert np.isnan(kappas[0, 1]) and shared[0, 1] == 0


def test_confusions_leave_out_what_is_not_known() -> None:
    answers = Answers(
        items=np.array([0, 1, 2, 0]),
        annotators=np.array([0, 0, 0, 1]),
        classes=np.array([0, 1, 1, 1]),
        n_items=3,
        n_annotators=2,
        n_classes=2,
    )
    assert confusions(answers, np.array([0, 0, -1])).tolist() == [[[1, 1], [0, 0]], [[0, 1], [0, 0]]]


def test_who_answers_in_a_tenth_of_the_time_stands_out() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(6), 50)
    seconds = rng.lognormal(1.0, 0.3, size=300)
    seconds[people == 5] /= 20
    found = speeds(people, seconds, 7)
    assert found.outlier.tolist() == [False] * 5 + [True, False]
    assert found.z[5] < -3.5 and np.isnan(found.median_s[6])


def test_a_few_answers_judge_nobodys_speed() -> None:
    people = np.array([0] * 50 + [1] * 9)
    seconds = np.array([2.0, 2.5] * 25 + [0.01] * 9)
    assert not speeds(people, seconds, 2).outlier.any()


def test_who_guesses_weighs_nothing_and_who_is_unknown_counts_as_mostly_right() -> None:
    assert vote_weight([0.1, 0.05], classes=10).tolist() == [pytest.approx(0.0), 0.0]
    assert training_weight([1.0, 0.1, 0.0], classes=10).tolist() == [1.0, pytest.approx(0.0), 0.0]
    assert accuracy(0, 0) == pytest.approx(0.8)
    assert accuracy(0, 20) < 0.2


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(Invalid):
        Answers(
            items=np.array([3]), annotators=np.array([0]), classes=np.array([0]), n_items=3, n_annotators=1, n_classes=2
        )
