"""Every strategy: the same choice however the pool is cut, ties by id, and clear words where it can't choose."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import ProjectSettings
from shared.errors import Invalid, PoolEmpty
from shared.selection import catalog, registry
from shared.selection.base import Labelled, Selection, ShardScores, Strategy
from shared.selection.hybrid import Hybrid
from shared.selection.uncertainty import MEASURES, entropy, least_confidence, margin

Pool = ShardScores
NAMES = registry.names()
TIED = [
    *("margin", "entropy", "least_confidence", "hybrid"),
    *("vote_entropy", "consensus_entropy", "mean_kl", "bald", "density", "expected_gradient", "variance"),
    *("error_reduction", "synthesis"),
]
"""Strategies without chance in how they rank."""


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def make_pool(n: int, seed: int, *, coarse: bool = False, classes: int = 4, dim: int = 6) -> Pool:
    """``coarse`` leaves few different values, so that ties are everywhere."""
    rng = np.random.default_rng(seed)
    ids = rng.choice(10 * n + 10, n, replace=False).astype(np.int64)
    logits, features = rng.normal(size=(n, classes)), rng.normal(size=(n, dim))
    if coarse:
        logits, features = np.round(logits), np.round(features / 2)
    said = logits[:, None, :] + (np.round if coarse else np.asarray)(rng.normal(size=(n, 3, classes)))
    members = softmax(said.reshape(3 * n, classes)).reshape(n, 3, classes)
    return Pool(ids, softmax(logits), features.astype(np.float32), members)


def some_labelled(classes: int = 4, dim: int = 6) -> Labelled:
    """Twelve labelled images, with ids that no pool has."""
    rng = np.random.default_rng(12)
    return Labelled(
        np.arange(12) + 10_000_000,
        rng.integers(classes, size=12),
        classes,
        rng.normal(size=(12, dim)).astype(np.float32),
    )


def choose(
    strategy: Strategy, shards: list[ShardScores], k: int, seed: int = 0, labelled: Labelled | None = None
) -> Selection:
    """What the strategy chooses; of what is labelled, features are given only if it says that it reads them."""
    if labelled is None:
        widths = [
            (shard.probabilities.shape[1], shard.features.shape[1])
            for shard in shards
            if shard.probabilities is not None and shard.features is not None
        ]
        labelled = some_labelled(*(widths[0] if widths else (4, 6)))
    if not strategy.needs.labelled_features:
        labelled = replace(labelled, features=None)
    return strategy.select(lambda: iter(shards), k, np.random.default_rng(seed), labelled)


@st.composite
def cut_pools(draw: st.DrawFn) -> tuple[Pool, list[ShardScores], int, int]:
    """A pool, the same pool shuffled and cut at random (empty shards included), k and a seed."""
    n = draw(st.integers(1, 80))
    pool = make_pool(n, draw(st.integers(0, 10_000)), coarse=draw(st.booleans()))
    order = np.array(draw(st.permutations(range(n))), dtype=np.int64)
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=12)))
    shards = [pool.take(rows) for rows in np.split(order, cuts)]
    return pool, shards, draw(st.integers(1, n + 5)), draw(st.integers(0, 1000))


@pytest.mark.parametrize("name", NAMES)
@given(cut=cut_pools(), alpha=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), clusters=st.integers(1, 8))
@settings(max_examples=150, deadline=None)
def test_one_shard_and_many_select_the_same_ids_in_the_same_order(
    name: str, cut: tuple[Pool, list[ShardScores], int, int], alpha: float, clusters: int
) -> None:
    pool, shards, k, seed = cut
    own = {
        key: value
        for key, value in {"alpha": alpha, "clusters": clusters}.items()
        if key in catalog.entry(name).options
    }
    strategy = registry.make(name, **own)
    whole, pieces = choose(strategy, [pool], k, seed), choose(strategy, shards, k, seed)
    assert whole.ids.tolist() == pieces.ids.tolist()
    assert whole.scores.tolist() == pieces.scores.tolist()
    assert len(whole.ids) == min(k, len(pool.ids))
    assert len(set(whole.ids.tolist())) == len(whole.ids)
    assert set(whole.ids.tolist()) <= set(pool.ids.tolist())


@pytest.mark.parametrize("name", NAMES)
def test_a_wide_pool_is_chosen_from_alike_in_one_shard_and_in_a_thousand(name: str) -> None:
    pool = make_pool(3000, seed=5, classes=10, dim=130)
    strategy = registry.make(name)
    pieces = [pool.take(rows) for rows in np.array_split(np.random.default_rng(1).permutation(3000), 1000)]
    k = 20 if name in ("variance", "error_reduction") else 200  # these reckon anew for each image that they choose
    assert choose(strategy, [pool], k).ids.tolist() == choose(strategy, pieces, k).ids.tolist()


@pytest.mark.parametrize("name", MEASURES)
def test_uncertainty_takes_the_highest_scores_as_a_full_sort_does(name: str) -> None:
    pool = make_pool(500, seed=2, coarse=True)
    scores = MEASURES[name](pool.needed_probabilities())
    expected = sorted(zip(-scores, pool.ids, strict=True))[:60]
    chosen = choose(registry.make(name), [pool], 60)
    assert chosen.ids.tolist() == [image for _, image in expected]
    assert chosen.scores.tolist() == [-score for score, _ in expected]


@pytest.mark.parametrize("name", TIED)
def test_images_that_nothing_tells_apart_are_taken_by_ascending_id(name: str) -> None:
    ids = np.array([7, 3, 9, 1, 5], dtype=np.int64)
    pool = Pool(ids, np.full((5, 2), 0.5, np.float32), np.ones((5, 3), np.float32), np.full((5, 3, 2), 0.5, np.float32))
    assert choose(registry.make(name), [pool], 4).ids.tolist() == [1, 3, 5, 7]


def test_the_measures_follow_their_formulas() -> None:
    p = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]], dtype=np.float32)
    assert least_confidence(p).tolist() == [0.5, 0.0, 0.5]
    assert margin(p).tolist() == [0.75, 0.0, 1.0]
    assert entropy(p) == pytest.approx([1.5 * np.log(2), 0.0, np.log(2)])


def test_measures_stay_finite_for_a_single_class_and_for_zeros() -> None:
    single = np.ones((3, 1), dtype=np.float32)
    for measure in MEASURES.values():
        assert measure(single).tolist() == [0.0, 0.0, 0.0]
        assert np.isfinite(measure(np.eye(4, dtype=np.float32))).all()


def test_random_depends_on_the_seed_and_is_spread_evenly() -> None:
    pool = ShardScores(np.arange(10_000, dtype=np.int64))
    first, second = (choose(registry.make("random"), [pool], 1000, seed) for seed in (0, 1))
    assert first.ids.tolist() != second.ids.tolist()
    # About a tenth of the one is in the other, and a tenth of each lies in each tenth of the ids.
    assert 60 < len(set(first.ids.tolist()) & set(second.ids.tolist())) < 150
    assert all(60 < count < 150 for count in np.bincount(first.ids // 1000, minlength=10))


def test_random_needs_no_model_and_the_others_say_that_they_do() -> None:
    pool = ShardScores(np.arange(5, dtype=np.int64))
    assert len(choose(registry.make(registry.COLD_START), [pool], 3).ids) == 3
    for name in set(NAMES) - {"random"}:
        with pytest.raises(Invalid, match="this strategy needs a"):
            choose(registry.make(name), [pool], 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shards", [0, 3])
def test_an_empty_pool_is_told_as_such(name: str, shards: int) -> None:
    empty = make_pool(1, 0).take(np.array([], dtype=np.int64))
    with pytest.raises(PoolEmpty, match="no unlabelled image"):
        choose(registry.make(name), [empty] * shards, 5)


@pytest.mark.parametrize("name", NAMES)
def test_more_than_there_are_gives_all(name: str) -> None:
    pool = make_pool(9, 3)
    assert sorted(choose(registry.make(name), [pool], 50).ids) == sorted(pool.ids)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [0, -1])
def test_asking_for_nothing_is_refused(name: str, k: int) -> None:
    with pytest.raises(Invalid, match="at least 1"):
        choose(registry.make(name), [make_pool(5, 0)], k)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.5])
@pytest.mark.parametrize("name", [name for name in NAMES if catalog.entry(name).needs.probabilities])
def test_a_probability_that_is_none_is_refused_with_the_image(name: str, bad: float) -> None:
    pool = make_pool(8, 4)
    pool.needed_probabilities()[5, 1] = bad
    with pytest.raises(Invalid, match=f"image {pool.ids[5]}, have a probability"):
        choose(registry.make(name), [pool], 3)


@pytest.mark.parametrize("name", [name for name in NAMES if catalog.entry(name).needs.features])
def test_a_feature_that_is_not_finite_is_refused_with_the_image(name: str) -> None:
    pool = make_pool(8, 4)
    pool.needed_features()[2, 0] = np.nan
    with pytest.raises(Invalid, match=f"image {pool.ids[2]}, have a feature"):
        choose(registry.make(name), [pool], 3)


def test_rows_that_do_not_match_the_ids_are_refused() -> None:
    with pytest.raises(Invalid, match="probabilities must be of shape"):
        ShardScores(np.arange(3), np.ones((2, 2), np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_shards_are_streamed_and_not_collected(name: str) -> None:
    pool, given, most_alive = make_pool(60, 6), [], []

    def shards() -> Iterator[ShardScores]:
        for rows in np.array_split(np.arange(60), 12):
            shard = pool.take(rows)
            given.append(weakref.ref(shard.features))
            yield shard
            del shard
            gc.collect()
            most_alive.append(sum(features() is not None for features in given))

    gc.freeze()  # what was there before, libraries and all, need not be looked through again and again
    try:
        registry.make(name).select(shards, 10, np.random.default_rng(0))
    finally:
        gc.unfreeze()
    assert max(most_alive) <= 2


def test_unknown_names_and_settings_are_refused_with_what_is_known() -> None:
    with pytest.raises(Invalid, match=r"known are random, least_confidence, margin, .*, hybrid"):
        registry.make("best")
    for wrong in ({"measure": "luck"}, {"alpha": 1.5}, {"alpha": -0.1}, {"clusters": 0}, {"alpha": "1"}, {"beta": 1}):
        with pytest.raises(Invalid):
            registry.make("hybrid", **wrong)


def test_a_project_gets_the_strategy_it_chose() -> None:
    strategy = registry.from_settings(ProjectSettings(strategy="hybrid", measure="entropy", alpha=0.25, clusters=3))
    assert isinstance(strategy, Hybrid)
    assert (strategy.name, strategy.measure, strategy.alpha, strategy.clusters) == ("hybrid", "entropy", 0.25, 3)
    for name in NAMES:
        assert registry.make(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_the_catalogue_says_what_a_strategy_reads_and_may_be_told(name: str) -> None:
    strategy, entry = registry.make(name), catalog.entry(name)
    assert strategy.needs == entry.needs
    own = {field.name for field in fields(strategy)} - {"name"}  # type: ignore[arg-type]
    assert own == entry.options.keys()
    for option in entry.options:
        with pytest.raises(Invalid, match=option):
            registry.make(name, **{option: object()})
