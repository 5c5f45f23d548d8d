"""Selection over a pool of 200,000 images with 10 classes and 64 features, in 49 shards; K = 2,000.

The limit is one plain read of the arrays that the strategy needs (a sum over them). The peer is the same choice made
over one big array in memory: NumPy's sort for uncertainty, scikit-learn's KMeans and its distances for hybrid.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.cluster import KMeans

from benchmarks.report import Row, best_of
from shared.selection.base import ShardScores
from shared.selection.registry import make, names

IMAGES, CLASSES, FEATURES, SHARD, K = 200_000, 10, 64, 4096, 2_000
ALPHA, CLUSTERS = 0.5, 20


def run() -> list[Row]:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(CLASSES, 0.3), IMAGES).astype(np.float32)
    features = rng.standard_normal((IMAGES, FEATURES), np.float32)
    ids = np.arange(IMAGES, dtype=np.int64)
    cuts = [slice(at, at + SHARD) for at in range(0, IMAGES, SHARD)]
    shards = [ShardScores(ids[cut], probabilities[cut], features[cut]) for cut in cuts]
    peers = _peers(probabilities, features)
    rows = []
    for name in names():
        strategy = make(name, measure="margin", alpha=ALPHA, clusters=CLUSTERS)
        needed = [
            array
            for array, wanted in (
                (ids, True),
                (probabilities, strategy.needs.probabilities),
                (features, strategy.needs.features),
            )
            if wanted
        ]
        peer_name, peer = peers[name]
        rows.append(
            Row(
                case=f"{name}, {IMAGES:,} images, K={K:,}",
                metric="time",
                value=best_of(lambda s=strategy: s.select(lambda: shards, K, np.random.default_rng(0))),  # type: ignore[misc]
                unit="s",
                better="lower",
                limit=best_of(lambda arrays=needed: [array.sum() for array in arrays]),  # type: ignore[misc]
                peer=best_of(peer),
                peer_name=peer_name,
            )
        )
    return rows


def _peers(probabilities: np.ndarray, features: np.ndarray) -> dict[str, tuple[str, Callable[[], object]]]:
    def entropy() -> np.ndarray:
        return np.argsort(np.sum(probabilities * np.log(np.maximum(probabilities, 1e-12)), axis=1))[:K]

    def margin() -> np.ndarray:
        ordered = np.sort(probabilities, axis=1)
        return np.argsort(ordered[:, -1] - ordered[:, -2])[:K]

    def hybrid() -> np.ndarray:
        first = margin()[: round(ALPHA * K)]
        means = KMeans(CLUSTERS, n_init=1, random_state=0).fit(features[first])
        return np.argsort(means.transform(features).min(axis=1))[: K - len(first)]

    sort = "one array, NumPy"
    return {
        "random": (sort, lambda: np.random.default_rng(0).permutation(len(probabilities))[:K]),
        "least_confidence": (sort, lambda: np.argsort(probabilities.max(axis=1))[:K]),
        "margin": (sort, margin),
        "entropy": (sort, entropy),
        "hybrid": ("one array, scikit-learn", hybrid),
    }
