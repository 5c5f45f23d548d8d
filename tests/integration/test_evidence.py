"""Every stopping rule is asked after each scoring, and what it found stays with the round."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.db import projects, rounds
from shared.domain import JobKind, ProjectState, RoundMode
from shared.learning.metrics import wilson_interval
from shared.system import System
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


def measured(accuracy: float, training: float = 0.9, n: int = 100) -> dict[str, Any]:
    low, high = wilson_interval(round(accuracy * n), n)
    return {
        "n": n,
        "accuracy": accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "history": [{"accuracy": 0.5}, {"accuracy": training}],
    }


def after_round(world: World, metrics: dict[str, Any], **scored: Any) -> tuple[ProjectState, str | None]:
    """Answer what is asked, train and score the next model."""
    world.answer(1000)
    world.system.rounds.nudge(world.id)
    world.do_train(**metrics)
    world.do_score(**scored)
    with world.system.ledger.transaction() as tx:
        project = projects.get(tx, world.id)
    if project.state is ProjectState.RUNNING:
        world.do_select()
    return project.state, project.stop_reason


def begun(system: System, **settings: Any) -> World:
    defaults: dict[str, Any] = {"pool": 60, "mode": RoundMode.STRICT, "initial": 4, "batch_size": 4}
    world = build(system, **(defaults | settings))
    world.start()
    while JobKind.EMBED in world.queued():
        world.do_embed()
    world.do_select()
    return world


def rules_of(world: World) -> dict[str, dict[str, Any]]:
    with world.system.ledger.transaction() as tx:
        evidence = rounds.latest_evidence(tx, world.id)
    assert evidence is not None
    return {rule["name"]: rule for rule in evidence.found["rules"]}


def test_every_rule_leaves_its_evidence_with_the_round_met_or_not(system: System) -> None:
    world = begun(system, label_budget=50, max_rounds=9)
    assert after_round(world, measured(0.8), confidence=0.55)[0] is ProjectState.RUNNING
    found = rules_of(world)
    assert list(found) == [
        "label_budget",
        "target_accuracy",
        "unsure_share",
        "plateau",
        "training_error",
        "agreement",
        "max_rounds",
        "pool_exhausted",
    ]
    assert [name for name, rule in found.items() if rule["on"]] == ["label_budget", "max_rounds", "pool_exhausted"]
    assert not any(rule["met"] for rule in found.values())
    assert found["label_budget"]["text"] == "label budget: 4 of 50 labels"
    assert found["unsure_share"]["text"] == "unsure share: 100.0% of the pool below a confidence of 0.6"
    assert found["training_error"]["value"] == pytest.approx(0.1)
    assert found["pool_exhausted"]["text"] == "pool: 4 of 60 images have a label"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"stop_unsure_share": 0.1}, "unsure share: 0.0% of the pool below a confidence of 0.6, limit 10.0%"),
        ({"stop_training_error": 0.1}, "training error: 0.1000, limit 0.1"),
        ({"label_budget": 4}, "label budget: 4 of 4 labels"),
        ({"target_accuracy": 0.7}, "target accuracy: at least 0.711 on the holdout, target 0.7"),
    ],
)
def test_a_rule_that_is_switched_on_ends_the_project_with_its_reason(
    system: System, settings: dict[str, Any], reason: str
) -> None:
    world = begun(system, **settings)
    assert after_round(world, measured(0.8), confidence=0.65) == (ProjectState.FINISHED, reason)


def test_the_share_of_unsure_images_is_taken_over_all_shards(system: System) -> None:
    world = begun(system, pool=40, shard_size=20, stop_unsure_share=0.6)
    world.answer(1000)
    world.system.rounds.nudge(world.id)
    world.do_train()
    world.do_score(confidence=0.9)
    assert rounds_evidence(world) is None, "not before the last shard is scored"
    world.do_score(confidence=0.55)
    with system.ledger.transaction() as tx:
        project = projects.get(tx, world.id)
    assert project.state is ProjectState.FINISHED
    assert project.stop_reason == "unsure share: 55.6% of the pool below a confidence of 0.6, limit 60.0%"


def rounds_evidence(world: World) -> dict[str, Any] | None:
    with world.system.ledger.transaction() as tx:
        evidence = rounds.latest_evidence(tx, world.id)
    return None if evidence is None else dict(evidence.found)


def test_a_plateau_is_seen_after_as_many_rounds_as_it_needs(system: System) -> None:
    world = begun(system, stop_plateau=0.01, plateau_rounds=2)
    for accuracy in (0.8, 0.9, 0.9):
        assert after_round(world, measured(accuracy))[0] is ProjectState.RUNNING
    state, reason = after_round(world, measured(0.91))
    assert state is ProjectState.FINISHED
    assert reason == "plateau: +0.0100 accuracy in the last 2 rounds, limit 0.01"


def test_models_that_agree_for_long_enough_end_the_project(system: System) -> None:
    world = begun(system, stop_agreement=0.99, agreement_rounds=2)
    assert after_round(world, measured(0.8), column=0)[0] is ProjectState.RUNNING, "nothing to compare with"
    assert after_round(world, measured(0.8), column=0, previous=1)[0] is ProjectState.RUNNING
    assert rules_of(world)["agreement"]["text"] == "stable predictions: 1 of 2 comparisons of successive models"
    assert after_round(world, measured(0.8), column=0, previous=0)[0] is ProjectState.RUNNING
    state, reason = after_round(world, measured(0.8), column=0, previous=0)
    assert state is ProjectState.FINISHED
    assert reason == "stable predictions: kappa 1.0000 over 2 rounds, limit 0.99"


def test_a_finished_project_goes_on_once_the_rule_is_off(system: System) -> None:
    world = begun(system, max_rounds=1)
    assert after_round(world, measured(0.8))[0] is ProjectState.FINISHED
    with system.ledger.transaction() as tx:
        present = projects.get(tx, world.id).settings
        projects.set_settings(tx, world.id, type(present)(**{**present.__dict__, "max_rounds": 3}))
    world.start()
    world.do_train(**measured(0.85))
    world.do_score()
    with system.ledger.transaction() as tx:
        assert projects.get(tx, world.id).state is ProjectState.RUNNING
        assert [one.round_number for one in rounds.evidence(tx, world.id)] == [1, 2]


def test_a_forecast_is_made_for_the_target(system: System) -> None:
    world = begun(system, target_accuracy=0.99, batch_size=8)
    for accuracy in (0.6, 0.75, 0.82, 0.86):
        after_round(world, measured(accuracy, n=1000))
    found = rounds_evidence(world)
    assert found is not None and found["forecast"]["target"] == 0.99
    assert found["forecast"]["text"]


def test_without_a_target_there_is_no_forecast(system: System) -> None:
    world = begun(system)
    after_round(world, measured(0.8))
    found = rounds_evidence(world)
    assert found is not None and found["forecast"] is None
