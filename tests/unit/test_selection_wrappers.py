"""What every strategy may be told beside its own options, and when the cold start gives way to the main strategy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import ProjectSettings
from shared.errors import Invalid, PoolEmpty
from shared.selection import catalog, registry
from shared.selection.base import Labelled, Needs, ShardScores
from shared.selection.wrappers import apart, even_quotas
from tests.unit.test_selection_strategies import choose, cut_pools, make_pool, some_labelled

ALL = {"subsample": 0.5, "balance": True, "distinct": 0.2}
INNER = ["random", "margin", "hybrid", "coreset", "badge", "typiclust"]


@pytest.mark.parametrize("name", INNER)
@given(cut=cut_pools(), options=st.sampled_from([{"subsample": 0.4}, {"balance": True}, {"distinct": 0.3}, ALL]))
@settings(max_examples=40, deadline=None)
def test_one_shard_and_many_select_the_same(name, cut, options) -> None:  # type: ignore[no-untyped-def]
    pool, shards, k, seed = cut
    strategy = registry.make(name, **options)
    whole, pieces = choose(strategy, [pool], k, seed), choose(strategy, shards, k, seed)
    assert whole.ids.tolist() == pieces.ids.tolist()
    assert whole.scores.tolist() == pieces.scores.tolist()
    assert len(whole.ids) == len(set(whole.ids.tolist())) == min(k, len(pool.ids))


@pytest.mark.parametrize("option", ALL)
def test_a_wrapped_strategy_has_its_name_tells_its_needs_and_says_when_nothing_is_left(option: str) -> None:
    strategy = registry.make("random", **{option: ALL[option]})
    more = {
        "subsample": Needs(),
        "balance": Needs(probabilities=True),
        "distinct": Needs(features=True, labelled_features=True),
    }
    assert strategy.name == "random"
    assert strategy.needs == more[option]
    with pytest.raises(PoolEmpty):
        choose(strategy, [make_pool(1, 0).take(np.array([], np.int64))], 3)
    with pytest.raises(Invalid, match="at least 1"):
        choose(strategy, [make_pool(5, 0)], 0)


def test_common_options_are_checked_and_told() -> None:
    for wrong in ({"subsample": 0.0}, {"subsample": 2.0}, {"balance": 1}, {"distinct": -0.1}):
        with pytest.raises(Invalid):
            registry.make("margin", **wrong)
    with pytest.raises(Invalid, match="it has subsample, balance, distinct"):
        registry.make("margin", alpha=0.5)
    assert registry.make("margin", subsample=1.0, balance=False, distinct=0.0) == registry.make("margin")


def test_subsample_looks_at_its_share_another_one_each_time() -> None:
    pool = make_pool(10_000, 3)
    strategy = registry.make("margin", subsample=0.1)
    best = set(choose(registry.make("margin"), [pool], 1000).ids.tolist())
    first, second = (set(choose(strategy, [pool], 900, seed).ids.tolist()) for seed in (0, 1))
    assert 60 < len(first & best) < 140, "a tenth of the most uncertain tenth"
    assert len(first & second) < 200


def test_subsample_takes_the_rest_from_the_others_where_its_share_is_too_small() -> None:
    pool = make_pool(200, 3)
    strategy = registry.make("margin", subsample=0.05)
    assert len(set(choose(strategy, [pool], 150).ids.tolist())) == 150


def rare_pool(n: int = 4000) -> tuple[ShardScores, np.ndarray]:
    """Predictions of which 2% are of class 2 and 18% of class 1, and those predictions."""
    rng = np.random.default_rng(0)
    predicted = rng.choice(3, n, p=[0.8, 0.18, 0.02])
    p = np.full((n, 3), 0.2, np.float32)
    p[np.arange(n), predicted] = 0.6
    p += (0.05 * rng.random((n, 3))).astype(np.float32)
    p /= p.sum(axis=1, keepdims=True)
    return ShardScores(np.arange(n), p, rng.normal(size=(n, 4)).astype(np.float32)), predicted


@pytest.mark.parametrize("name", ["random", "margin", "badge"])
def test_balance_evens_out_what_is_labelled(name: str) -> None:
    pool, predicted = rare_pool()
    labelled = Labelled(np.arange(60) + 10**6, np.repeat([0, 1, 2], [40, 15, 5]), 3)
    plain = choose(registry.make(name), [pool], 60, labelled=replace(labelled, features=np.zeros((60, 4), np.float32)))
    assert (predicted[plain.ids] == 2).sum() < 10
    even = choose(registry.make(name, balance=True), [pool], 60, labelled=labelled)
    assert np.bincount(predicted[even.ids], minlength=3).tolist() == [0, 25, 35]
    # Any beginning of it evens out, too: the rarest class first.
    assert predicted[even.ids[:10]].tolist() == [2] * 10
    assert np.bincount(predicted[even.ids[:20]], minlength=3).tolist() == [0, 5, 15]


def test_balance_asks_the_inner_strategys_best_of_each_class() -> None:
    pool, predicted = rare_pool()
    labelled = Labelled(np.arange(60) + 10**6, np.repeat([0, 1, 2], [40, 15, 5]), 3)
    even = choose(registry.make("margin", balance=True), [pool], 60, labelled=labelled)
    everything = choose(registry.make("margin"), [pool], 4000).ids
    for of, quota in ((1, 25), (2, 35)):
        assert even.ids[predicted[even.ids] == of].tolist() == everything[predicted[everything] == of][:quota].tolist()


def test_balance_takes_other_classes_where_a_class_is_used_up() -> None:
    pool, predicted = rare_pool(500)
    labelled = Labelled(np.arange(60) + 10**6, np.repeat([0, 1, 2], [30, 30, 0]), 3)
    even = choose(registry.make("margin", balance=True), [pool], 100, labelled=labelled)
    found = np.bincount(predicted[even.ids], minlength=3)
    assert found[2] == (predicted == 2).sum()
    assert abs(found[0] - found[1]) <= 1


@given(
    classes=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=6), k=st.integers(0, 90)
)
def test_quotas_are_what_giving_one_label_after_the_other_to_the_poorest_gives(
    classes: list[tuple[int, int]], k: int
) -> None:
    counts, supply = (np.array(column) for column in zip(*classes, strict=True))
    given_ = np.zeros_like(counts)
    for _ in range(min(k, int(supply.sum()))):
        open_ = np.flatnonzero(given_ < supply)
        given_[open_[np.argmin((counts + given_)[open_])]] += 1
    assert even_quotas(counts, supply, k).tolist() == given_.tolist()


def bursts(scenes: int, each: int) -> ShardScores:
    """Scenes of which each was taken several times; the later a scene, the surer the model."""
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(scenes, 8)), each, axis=0) + 0.01 * rng.normal(size=(scenes * each, 8))
    lead = np.repeat(np.linspace(0, 0.9, scenes), each)
    p = np.stack((0.5 + lead / 2, 0.5 - lead / 2), axis=1).astype(np.float32)
    return ShardScores(np.arange(scenes * each), p, features.astype(np.float32))


@pytest.mark.parametrize("name", ["margin", "entropy", "hybrid"])
def test_distinct_asks_one_of_a_burst(name: str) -> None:
    pool = bursts(60, 10)
    plain = choose(registry.make(name), [pool], 30)
    assert len(set(plain.ids // 10)) < 15
    found = choose(registry.make(name, distinct=0.1), [pool], 30, labelled=no_features())
    assert len(set(found.ids // 10)) == 30


def no_features() -> Labelled:
    return Labelled.nothing(2)


def test_distinct_asks_none_that_is_next_to_a_labelled_one() -> None:
    pool = bursts(40, 5)
    assert pool.features is not None
    labelled = Labelled(np.arange(3) + 10**6, np.zeros(3, np.int64), 2, pool.features[[0, 7, 12]] + np.float32(0.01))
    found = choose(registry.make("margin", distinct=0.1), [pool], 20, labelled=labelled)
    assert (found.ids // 5).tolist() == list(range(3, 23))


def test_distinct_asks_doubles_rather_than_too_few() -> None:
    found = choose(registry.make("margin", distinct=0.1), [bursts(5, 10)], 20, labelled=no_features())
    assert len(set(found.ids[:5] // 10)) == 5
    assert len(set(found.ids.tolist())) == 20


@given(seed=st.integers(0, 500), known=st.integers(0, 5), k=st.integers(1, 60))
@settings(max_examples=50, deadline=None)
def test_apart_is_the_greedy_choice(seed: int, known: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(-8, 9, size=(50, 2)).astype(np.float32)
    before = rng.integers(-8, 9, size=(known, 2)).astype(np.float32)
    expected: list[int] = []
    for row, point in enumerate(points):
        others = np.concatenate((before, points[expected]))
        if len(expected) < k and (np.sqrt(((others - point) ** 2).sum(axis=1)) >= 2.5).all():
            expected.append(row)
    assert apart(points, before, 2.5, k).tolist() == expected


FROZEN = ProjectSettings(train_mode="head", strategy="margin", cold_labels_per_class=3)
TRAINED = replace(FROZEN, train_mode="scratch")


@pytest.mark.parametrize(
    ("project", "labels", "has_model", "expected"),
    [
        (FROZEN, 0, False, "typiclust"),
        (FROZEN, 29, True, "typiclust"),
        (FROZEN, 30, True, "margin"),
        (FROZEN, 300, False, "typiclust"),
        (TRAINED, 0, False, "random"),
        (TRAINED, 29, True, "random"),
        (TRAINED, 30, True, "margin"),
        (replace(TRAINED, cold_start="typiclust"), 0, False, "random"),
        (replace(TRAINED, cold_start="typiclust"), 10, True, "typiclust"),
        (replace(FROZEN, cold_start="random"), 0, False, "random"),
        (replace(FROZEN, cold_labels_per_class=0), 0, True, "margin"),
    ],
)
def test_the_cold_start_goes_on_up_to_some_labels_per_class(
    project: ProjectSettings, labels: int, has_model: bool, expected: str
) -> None:
    assert registry.scheduled(project, labels, 10, has_model=has_model).name == expected


def test_the_cold_start_keeps_to_the_common_options() -> None:
    project = replace(FROZEN, strategy_options={"distinct": 0.2, "subsample": 0.5, "balance": True})
    cold = registry.scheduled(project, 0, 10, has_model=False)
    assert cold == registry.make("typiclust", distinct=0.2, subsample=0.5)
    before_features = registry.scheduled(replace(project, train_mode="scratch"), 0, 10, has_model=False)
    assert before_features == registry.make("random", subsample=0.5)


@pytest.mark.parametrize("name", catalog.cold_starts()[1:])
def test_a_cold_start_needs_no_model(name: str) -> None:
    pool = make_pool(300, 2)
    pool = ShardScores(pool.ids, None, pool.features)
    assert len(choose(registry.make(name), [pool], 20, labelled=some_labelled()).ids) == 20


def test_a_cold_start_that_needs_a_model_is_refused() -> None:
    from shared.configuring import Settings, new_settings

    assert new_settings(Settings(cold_start="coverage")).cold_start == "coverage"
    with pytest.raises(Invalid, match="cold_start is 'margin'; it must be one of auto, random"):
        new_settings(Settings(cold_start="margin"))
