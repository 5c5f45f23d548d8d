"""Selection over 1,000,000 images with 128 features and 10 classes in shards of 4,096; K = 10,000; every strategy.

Each strategy runs in a process of its own: seconds from shards in memory to the selection, and the most memory above
those shards that it takes meanwhile. The limit is one plain read of the arrays that it needs (a sum over them). The
peers, scikit-activeml and scikit-learn, hold what they work on in one array, some with all distances in another, so
they and we run once more on a pool that they can still do. Images are of 200 kinds, 20 to a class; probabilities are a
softmax over nearness to the classes' means.

``python -m benchmarks.select --images 100000 --k 1000 --only margin,badge`` runs a smaller one, or only some.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.report import Row, best_of, report
from shared.selection.base import Labelled, Selection, ShardScores
from shared.selection.registry import make, names

FEATURES, CLASSES, KINDS, MEMBERS, SHARD, LABELLED = 128, 10, 200, 4, 4096, 1_000
GOALS = {"random": 1.0, "least_confidence": 1.0, "margin": 1.0, "largest_margin": 1.0, "entropy": 1.0, "hybrid": 10.0}
GOALS |= {"cluster_margin": 120.0, "badge": 120.0, "typiclust": 120.0}
MEMORY_GOAL = 3 * 1024.0
SHORT = 5.0
"""What takes fewer seconds is measured three times, and the shortest counts."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many images, and how many of them to choose."""

    images: int = 1_000_000
    k: int = 10_000


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Shards, and some labelled images of the same kinds."""

    shards: Sequence[ShardScores]
    labelled: Labelled

    @classmethod
    def of(cls, images: int, *, members: bool) -> Pool:
        rng = np.random.default_rng(0)
        kinds = rng.standard_normal((KINDS, FEATURES), np.float32)
        means = kinds.reshape(CLASSES, -1, FEATURES).mean(axis=1)
        starts = range(0, images, SHARD)
        shards = [_shard(start, min(SHARD, images - start), kinds, means, members=members) for start in starts]
        known = _shard(images, LABELLED, kinds, means, members=False)
        classes = known.needed_probabilities().argmax(axis=1)
        return cls(shards=shards, labelled=Labelled(known.ids, classes, CLASSES, known.features))


def _shard(start: int, n: int, kinds: NDArray[np.float32], means: NDArray[np.float32], *, members: bool) -> ShardScores:
    rng = np.random.default_rng([1, start])
    features = kinds[rng.integers(KINDS, size=n)] + rng.standard_normal((n, FEATURES), np.float32)
    logits = (features @ means.T).astype(np.float32)
    said = None
    if members:
        noise = rng.standard_normal((n, MEMBERS, CLASSES), np.float32)
        said = _softmax(logits[:, None, :] + noise).astype(np.float16)
    return ShardScores(np.arange(start, start + n, dtype=np.int64), _softmax(logits), features, said)


def _softmax(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds of a selection, by the clock and of all processors, and of one read of what it needs; MiB above the
    shards. By the clock a busy machine takes longer, of processors it hardly does."""

    seconds: float
    processor_s: float
    read_s: float
    memory_mib: float


def measure(name: str, size: Size) -> Measured:
    """Runs in a process of its own."""
    strategy = make(name)
    pool = Pool.of(size.images, members=strategy.needs.members)
    before = _peak_mib()

    def select() -> Selection:
        return strategy.select(lambda: pool.shards, size.k, np.random.default_rng(0), pool.labelled)

    started, busy = time.perf_counter(), time.process_time()
    chosen = select()
    seconds, processor_s = time.perf_counter() - started, time.process_time() - busy
    memory = _peak_mib() - before
    assert len(chosen.ids) == size.k
    if seconds < SHORT:
        seconds = min(seconds, best_of(select, 2))
    needed = ["ids"] + [name for name in ("probabilities", "features", "members") if getattr(strategy.needs, name)]
    read_s = best_of(lambda: [getattr(shard, name).sum() for shard in pool.shards for name in needed])
    return Measured(seconds=seconds, processor_s=processor_s, read_s=read_s, memory_mib=memory)


def _peak_mib() -> float:
    """The most that this process has had in memory. Linux's own count, since that of ``getrusage`` begins with what
    the process had that started this one."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def run() -> list[Row]:
    return rows(Size())


def rows(size: Size, only: Sequence[str] = ()) -> list[Row]:
    """For each strategy its time, its memory, and its time beside a peer's where it has one."""
    found = []
    for name in only or names():
        # A fresh process each, so that the memory is the strategy's own.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            measured = process.submit(measure, name, size).result()
            beside = process.submit(beside_peer, name).result()
        case = f"{name}, {size.images:,} images, K={size.k:,}"
        found += [
            Row(
                case=case,
                metric="time",
                value=measured.seconds,
                unit="s",
                better="lower",
                goal=GOALS.get(name),
                limit=measured.read_s,
            ),
            Row(case=case, metric="processor time", value=measured.processor_s, unit="s", better="lower"),
            Row(
                case=case,
                metric="memory above the arrays",
                value=measured.memory_mib,
                unit="MiB",
                better="lower",
                goal=MEMORY_GOAL,
            ),
        ]
        found += [beside] if beside else []
        print(
            f"{case}: {measured.seconds:.2f} s, {measured.processor_s:.2f} s of work, {measured.memory_mib:.0f} MiB",
            file=sys.stderr,
        )
    return found


Arrays = tuple[NDArray[np.float32], NDArray[np.float32], Labelled]


def beside_peer(name: str) -> Row | None:
    """Our time and that of other people's code for the same kind of choice, from one array that they can still do."""
    if name not in PEERS:
        return None
    images, k, peer_name, peer = PEERS[name]
    pool = Pool.of(images, members=False)
    p = np.concatenate([shard.needed_probabilities() for shard in pool.shards])
    features = np.concatenate([shard.needed_features() for shard in pool.shards])
    try:
        call = peer((p, features, pool.labelled), k)
    except ModuleNotFoundError as error:
        print(f"{name}: no peer, because {error.name} is not installed", file=sys.stderr)
        return None
    strategy = make(name)
    return Row(
        case=f"{name}, {images:,} images, K={k:,}",
        metric="time",
        value=best_of(lambda: strategy.select(lambda: pool.shards, k, np.random.default_rng(0), pool.labelled)),
        unit="s",
        better="lower",
        peer=best_of(call, 1),
        peer_name=peer_name,
    )


def _active_uncertainty(method: str) -> Callable[[Arrays, int], Callable[[], object]]:
    def peer(arrays: Arrays, k: int) -> Callable[[], object]:
        from skactiveml.pool import uncertainty_scores

        return lambda: np.argsort(-uncertainty_scores(arrays[0], method=method))[:k]

    return peer


def _active(name: str) -> Callable[[Arrays, int], Callable[[], object]]:
    """A strategy of scikit-activeml over pool and labelled images in one array, with a model fitted before."""

    def peer(arrays: Arrays, k: int) -> Callable[[], object]:
        from skactiveml import pool
        from skactiveml.classifier import SklearnClassifier
        from sklearn.linear_model import LogisticRegression

        _, features, labelled = arrays
        assert labelled.features is not None
        x = np.concatenate((features, labelled.features))
        y = np.concatenate((np.full(len(features), np.nan), labelled.classes))
        model = SklearnClassifier(LogisticRegression(), classes=range(CLASSES)).fit(x, y)
        options = {"clf": model, "fit_clf": False} if name == "Badge" else {}
        return lambda: getattr(pool, name)(random_state=0).query(x, y, batch_size=k, **options)

    return peer


def _by_kmeans(arrays: Arrays, k: int) -> Callable[[], object]:
    """Images of small margin in groups by scikit-learn: what hybrid and cluster_margin come to in one array."""
    from sklearn.cluster import KMeans

    p, features, _ = arrays

    def call() -> object:
        ordered = np.sort(p, axis=1)
        first = np.argsort(ordered[:, -1] - ordered[:, -2])[: 9 * k // 10]
        means = KMeans(10, n_init=1, random_state=0).fit(features[first])
        return np.argsort(means.transform(features).min(axis=1))[:k]

    return call


def _k_groups(arrays: Arrays, k: int) -> Callable[[], object]:
    from sklearn.cluster import KMeans

    p, features, _ = arrays

    def call() -> object:
        ordered = np.sort(p, axis=1)
        first = np.argsort(ordered[:, -1] - ordered[:, -2])[: 10 * k]
        means = KMeans(k, n_init=1, max_iter=10, random_state=0).fit(features[first])
        return means.transform(features[first]).argmin(axis=0)

    return call


ACTIVE, LEARN = "scikit-activeml", "scikit-learn"
PEERS: Mapping[str, tuple[int, int, str, Callable[[Arrays, int], Callable[[], object]]]] = {
    "random": (1_000_000, 10_000, "NumPy", lambda arrays, k: lambda: np.random.permutation(len(arrays[0]))[:k]),
    "least_confidence": (1_000_000, 10_000, ACTIVE, _active_uncertainty("least_confident")),
    "margin": (1_000_000, 10_000, ACTIVE, _active_uncertainty("margin_sampling")),
    "entropy": (1_000_000, 10_000, ACTIVE, _active_uncertainty("entropy")),
    "hybrid": (200_000, 2_000, LEARN, _by_kmeans),
    "kmeans": (20_000, 1_000, LEARN, _k_groups),
    "coreset": (4_000, 100, ACTIVE, _active("CoreSet")),
    "badge": (4_000, 100, ACTIVE, _active("Badge")),
    "typiclust": (4_000, 100, ACTIVE, _active("TypiClust")),
    "coverage": (4_000, 100, ACTIVE, _active("ProbCover")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=Size.images)
    parser.add_argument("--k", type=int, default=Size.k)
    parser.add_argument("--only", default="", help="names of strategies, with commas between them")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name]
    report("select", rows(Size(images=given.images, k=given.k), only), given.json, Console())


if __name__ == "__main__":
    main()
