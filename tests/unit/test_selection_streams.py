"""Streams: the rate is held whatever the scores, and what is asked is the best of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Invalid
from shared.selection.streams import Stream, StreamState, begin, offer


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=400),
    st.floats(0.01, 0.99),
    st.floats(0.01, 1),
    st.sampled_from([0.5, 1.0, 2.3]),
)
@settings(deadline=None)
def test_the_number_asked_is_within_its_bound_for_any_scores(
    scores: list[float], rate: float, step: float, highest: float
) -> None:
    stream = Stream(rate=rate, step=step, highest=highest)
    asked, state = offer(stream, begin(stream), np.array(scores) * highest)
    assert abs(asked.sum() - rate * len(scores)) <= 1 / step + 1 + 1e-6
    assert (state.seen, state.asked) == (len(scores), asked.sum())


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_the_rate_is_held_and_the_best_are_asked_while_the_scores_stay_as_they_are(rate: float) -> None:
    scores, stream = np.random.default_rng(0).beta(2, 5, 20_000), Stream(rate=rate)
    asked, _ = offer(stream, begin(stream, scores[:1000]), scores)
    assert asked.mean() == pytest.approx(rate, abs=0.003)
    best = scores >= np.quantile(scores, 1 - rate)
    assert (asked & best).sum() > 0.8 * best.sum()


@pytest.mark.parametrize("after", [(2, 2), (1, 30)])
def test_the_rate_is_held_after_a_shift_of_the_scores(after: tuple[float, float]) -> None:
    rng, stream = np.random.default_rng(1), Stream(rate=0.1)
    _, state = offer(stream, begin(stream), rng.beta(2, 8, 5000))
    shifted = rng.beta(*after, 5000)
    before_settling, state = offer(stream, state, shifted[:1000])
    settled, _ = offer(stream, state, shifted[1000:])
    assert abs(before_settling.sum() - 100) <= 51
    assert settled.mean() == pytest.approx(0.1, abs=0.01)


def test_scores_that_are_all_alike_are_asked_at_the_rate_too() -> None:
    for score in (0.0, 0.4, 1.0):
        stream = Stream(rate=0.2)
        asked, _ = offer(stream, begin(stream), np.full(5000, score))
        assert asked.mean() == pytest.approx(0.2, abs=0.011)


@given(st.lists(st.floats(0, 1), max_size=60), st.integers(0, 60))
def test_one_by_one_or_stored_in_between_is_the_same_as_all_at_once(scores: list[float], cut: int) -> None:
    stream, values = Stream(rate=0.25, step=0.1), np.array(scores, dtype=np.float64)
    whole, end = offer(stream, begin(stream), values)
    first, state = offer(stream, begin(stream), values[:cut])
    state = StreamState.from_dict(json.loads(json.dumps(state.to_dict())))
    second, last = offer(stream, state, values[cut:])
    assert np.concatenate((first, second)).tolist() == whole.tolist()
    assert last == end


def test_known_scores_spare_the_search_for_the_threshold() -> None:
    scores, stream = np.random.default_rng(2).beta(2, 20, 2000), Stream(rate=0.1)
    with_help, _ = offer(stream, begin(stream, scores), scores[:200])
    alone, _ = offer(stream, begin(stream), scores[:200])
    assert abs(with_help.sum() - 20) < abs(alone.sum() - 20)


@pytest.mark.parametrize(
    "wrong", [{"rate": 0.0}, {"rate": 1.0}, {"step": 0.0}, {"step": 1.5}, {"highest": 0.0}, {"highest": float("inf")}]
)
def test_settings_that_make_no_stream_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(Invalid, match=next(iter(wrong))):
        Stream(**({"rate": 0.5} | wrong))


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.2, np.inf])
def test_a_score_that_can_not_be_is_refused(bad: float) -> None:
    stream = Stream(rate=0.5)
    with pytest.raises(Invalid, match="a score is"):
        offer(stream, begin(stream), np.array([0.5, bad]))
    with pytest.raises(Invalid, match="a score is"):
        begin(stream, np.array([bad]))
