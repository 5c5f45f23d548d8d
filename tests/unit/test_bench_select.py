"""The benchmark of selection, at a size that takes no time."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.select import GOALS, PEERS, Pool, Size, measure
from shared.selection.registry import names


def test_goals_and_peers_are_of_strategies_that_there_are() -> None:
    assert set(GOALS) | set(PEERS) <= set(names())


@pytest.mark.parametrize("name", ["random", "bald", "badge", "variance"])
def test_a_strategy_is_measured_over_what_it_needs(name: str) -> None:
    measured = measure(name, Size(images=3000, k=30))
    assert 0 < measured.seconds < 100
    assert measured.read_s > 0


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_chooses_as_many(name: str) -> None:
    pool = Pool.of(600, members=False)
    p = np.concatenate([shard.needed_probabilities() for shard in pool.shards])
    features = np.concatenate([shard.needed_features() for shard in pool.shards])
    *_, peer_name, peer = PEERS[name]
    if peer_name == "scikit-activeml":
        pytest.importorskip("skactiveml")
    assert len(np.unique(np.asarray(peer((p, features, pool.labelled), 12)()))) == 12
