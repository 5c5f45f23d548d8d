"""Where the points of a map lie."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from services.scorer.layout import layout, principal

N, GROUPS = 400, 4


def features(model: int = 1) -> NDArray[np.float32]:
    """Of images of four groups; another model mixes the same directions in other ways."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(GROUPS, 24)) * 2
    plain = centres[groups()] + random.normal(size=(N, 24))
    own = np.random.default_rng(model)
    mixed = plain @ own.normal(size=(24, 24)) + 0.1 * own.normal(size=(N, 24))
    return mixed.astype(np.float32)


def groups() -> NDArray[np.int64]:
    return np.arange(N) % GROUPS


def drawn(x: NDArray[np.float32], before: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
    return layout(x, seed=3, before=before, on_step=lambda share: None)


def share_of_like_neighbours(places: NDArray[np.float32]) -> float:
    """Of the five nearest points of each, how many are of its group."""
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    near = np.argsort(distances, axis=1)[:, 1:6]
    return float((groups()[near] == groups()[:, None]).mean())


def test_like_images_lie_side_by_side() -> None:
    assert share_of_like_neighbours(drawn(features())) > 0.95


def test_the_same_features_and_seed_give_the_same_map() -> None:
    assert np.array_equal(drawn(features()), drawn(features()))


def test_a_map_that_begins_from_another_leaves_images_where_they_were() -> None:
    before = drawn(features(1)).astype(np.float64)
    after = drawn(features(2), before)
    fresh = drawn(features(2))
    spread = before.std()
    moved = np.median(np.linalg.norm(after - before, axis=1)) / spread
    assert moved < 0.3 < np.median(np.linalg.norm(fresh - before, axis=1)) / spread
    assert share_of_like_neighbours(after) > 0.95


def test_new_images_come_amid_their_like() -> None:
    before = drawn(features()).astype(np.float64)
    before[::3] = np.nan
    assert share_of_like_neighbours(drawn(features(), before)) > 0.95


def test_a_map_of_which_most_is_new_is_made_anew() -> None:
    before = np.full((N, 2), np.nan)
    before[:10] = 5.0
    assert np.array_equal(drawn(features(), before), drawn(features()))


def test_images_that_are_all_the_same_can_be_drawn() -> None:
    assert np.isfinite(drawn(np.ones((12, 5), np.float32))).all()


def test_whoever_watches_may_end_it() -> None:
    def stop(share: float) -> None:
        if share > 0.4:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        layout(features(), seed=0, before=None, on_step=stop)


def test_its_progress_only_grows_and_ends_at_one() -> None:
    told: list[float] = []
    layout(features(), seed=0, before=None, on_step=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_the_components_are_those_of_scikit_learn() -> None:
    x = features()
    ours, theirs = principal(x.copy(), 5), PCA(5, svd_solver="full").fit_transform(x)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-3)
