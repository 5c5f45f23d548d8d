"""When a project is finished, and what each rule says of how things stand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from shared import stopping
from shared.selection.summary import PoolSummary, map_summary, reduce_summaries
from shared.stopping import Rule, first_met


@pytest.mark.parametrize(
    ("rule", "met"),
    [
        (stopping.label_budget(99, 100), False),
        (stopping.label_budget(100, 100), True),
        (stopping.target_accuracy(0.95, 0.899, 0.9), False),
        (stopping.target_accuracy(0.95, 0.9, 0.9), True),
        (stopping.target_accuracy(None, None, 0.9), False),
        (stopping.unsure_share(0.1, 0.6, 0.1), False),
        (stopping.unsure_share(0.099, 0.6, 0.1), True),
        (stopping.unsure_share(None, 0.6, 0.1), False),
        (stopping.plateau([0.8, 0.9, 0.91, 0.905], 2, 0.01), True),
        (stopping.plateau([0.8, 0.9, 0.92, 0.905], 2, 0.01), False),
        (stopping.plateau([0.9, 0.9], 2, 0.01), False),
        (stopping.training_error(0.01, 0.01), True),
        (stopping.training_error(0.011, 0.01), False),
        (stopping.training_error(None, 0.01), False),
        (stopping.agreement([0.99, 0.995, 0.99], 3, 0.99), True),
        (stopping.agreement([0.99, 0.98, 0.99], 3, 0.99), False),
        (stopping.agreement([0.99, None, 0.99], 3, 0.9), False),
        (stopping.agreement([0.99, 0.99], 3, 0.9), False),
        (stopping.max_rounds(2, 2), True),
        (stopping.max_rounds(1, 2), False),
        (stopping.pool_exhausted(False, 10, 10), True),
        (stopping.pool_exhausted(True, 9, 10), False),
    ],
)
def test_a_rule_is_met_at_its_limit_and_not_before(rule: Rule, met: bool) -> None:
    assert rule.on and rule.met is met
    assert rule.done is None or 0 <= rule.done <= 1
    assert rule.text.startswith(rule.text.split(":")[0] + ":")


@pytest.mark.parametrize(
    "rule",
    [
        stopping.label_budget(10**6, None),
        stopping.target_accuracy(1.0, 1.0, None),
        stopping.unsure_share(0.0, 0.6, None),
        stopping.plateau([0.9] * 20, 5, None),
        stopping.training_error(0.0, None),
        stopping.agreement([1.0] * 9, 3, None),
        stopping.max_rounds(10**6, None),
    ],
)
def test_a_rule_that_is_off_is_never_met_and_still_tells_how_things_stand(rule: Rule) -> None:
    assert not rule.on and not rule.met
    assert any(character.isdigit() for character in rule.text)


def test_the_first_rule_that_is_met_ends_the_project() -> None:
    rules = [stopping.label_budget(1, 2), stopping.max_rounds(3, 3), stopping.pool_exhausted(False, 1, 1)]
    met = first_met(rules)
    assert met is not None and met.text == "rounds: 3 of 3"
    assert first_met(rules[:1]) is None


# The pool in numbers


@st.composite
def pools(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[int]]:
    n, classes = draw(st.integers(0, 40)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    now, before = (rng.dirichlet(np.full(classes, 0.3), n).astype(np.float32).reshape(n, classes) for _ in range(2))
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=4)))
    return now, before, cuts


@given(pools())
def test_one_shard_says_what_many_say(pool: tuple[np.ndarray, np.ndarray, list[int]]) -> None:
    now, before, cuts = pool
    whole = map_summary(now, before, unsure_below=0.6)
    parts = [
        map_summary(a, b, unsure_below=0.6) for a, b in zip(np.split(now, cuts), np.split(before, cuts), strict=True)
    ]
    assert reduce_summaries(parts) == reduce_summaries(reversed(parts)) == whole
    assert sum(whole.histogram) == whole.images == len(now)
    assert PoolSummary.from_dict(whole.to_dict()) == whole


def test_kappa_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    now = rng.dirichlet(np.full(4, 0.3), 500).astype(np.float32)
    before = (0.6 * now + 0.4 * rng.dirichlet(np.full(4, 0.3), 500)).astype(np.float32)
    found = map_summary(now, before, unsure_below=0.6)
    assert found.kappa == pytest.approx(cohen_kappa_score(now.argmax(1), before.argmax(1)))


def test_shards_that_the_model_before_had_not_seen_do_not_count_in_kappa() -> None:
    now = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    seen, new = map_summary(now, now, unsure_below=0.6), map_summary(now, None, unsure_below=0.6)
    both = reduce_summaries([seen, new])
    assert both is not None and (both.images, both.compared, both.kappa) == (8, 4, 1.0)
    assert new.kappa is None and new.unsure_share == 0.0


def test_where_both_models_know_one_class_only_they_agree() -> None:
    now = np.eye(2, dtype=np.float32)[[0, 0, 0]]
    assert map_summary(now, now, unsure_below=0.6).kappa == 1.0


def test_no_shards_say_nothing() -> None:
    assert reduce_summaries([]) is None
    assert map_summary(np.empty((0, 3), np.float32), None, unsure_below=0.6).unsure_share is None
