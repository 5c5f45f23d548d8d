"""Stopping rules, automatic labels and the rest to label, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.domain import RoundMode, Scope
from tests.integration.api_support import Api, open_api
from tests.world import World, build

SURE = {"calibration": {"above": {"thresholds": [0.5, 0.9], "n": [400, 350], "right": [390, 350]}}}


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path) as opened:
        yield opened


def finished(api: Api, **settings: Any) -> World:
    """After one round, in which the model labelled the first of two shards, if it may."""
    values: dict[str, Any] = {"pool": 40, "shard_size": 20, "mode": RoundMode.STRICT, "initial": 4, "max_rounds": 1}
    world = build(api.system, **(values | settings))
    world.start()
    world.do_embed()
    world.do_embed()
    world.do_select()
    world.answer(100)
    api.system.rounds.nudge(world.id)
    world.do_train(**SURE)
    world.do_score(confidence=0.95)
    world.do_score(confidence=0.55)
    return world


def test_the_state_tells_what_the_rules_found_and_what_the_model_labelled(api: Api) -> None:
    world = finished(api, auto_label=True)
    state = api.client.get(f"/v1/projects/{world.id}/state").json()
    evidence, auto = state["evidence"], state["auto_labels"]
    assert evidence["round"] == 1
    assert [rule["name"] for rule in evidence["rules"] if rule["met"]] == ["max_rounds"]
    assert (evidence["pool"]["images"], evidence["pool"]["unsure"]) == (36, 20)
    assert (evidence["threshold"]["value"], evidence["threshold"]["at_random"]) == (0.9, False)
    assert evidence["forecast"] is None
    assert (auto["on"], auto["labels"], auto["failed"]) == (True, 16, None)
    assert (auto["audited"]["answers"], auto["audited"]["enough"]) == (0, 913)
    assert (state["labels"]["pool"], state["labels"]["model"]) == (4, 16)
    listed = api.client.get(f"/v1/projects/{world.id}/evidence").json()["items"]
    assert listed == [evidence]


def test_before_there_is_a_model_there_is_no_evidence(api: Api) -> None:
    project = api.new_project()
    state = api.client.get(f"/v1/projects/{project}/state").json()
    assert state["evidence"] is None
    assert (state["auto_labels"]["on"], state["auto_labels"]["labels"]) == (False, 0)
    assert api.client.get(f"/v1/projects/{project}/evidence").json() == {"items": []}


def test_people_are_asked_to_label_the_rest(api: Api) -> None:
    world = finished(api)
    answer = api.client.post(f"/v1/projects/{world.id}/label-rest")
    assert (answer.status_code, answer.json()["state"]) == (200, "running")
    world.do_select()
    assert world.answer(100) == 36
    api.system.rounds.nudge(world.id)
    again = api.client.post(f"/v1/projects/{world.id}/label-rest")
    assert again.status_code == 409 and "nothing is left" in again.json()["detail"]


def test_who_may_only_read_can_not_have_the_rest_labelled(api: Api) -> None:
    world = finished(api)
    assert api.holding(Scope.READ).post(f"/v1/projects/{world.id}/label-rest").status_code == 403


@pytest.mark.parametrize(
    "setting",
    [
        {"auto_label_precision": 1.0},
        {"auto_label_precision": 0.5},
        {"auto_label_audit": 0.0},
        {"auto_label_random": 1.0},
        {"stop_unsure_share": 0.0},
        {"unsure_below": 1.0},
        {"stop_agreement": 1.1},
        {"plateau_rounds": 0},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(api: Api, setting: dict[str, Any]) -> None:
    made = api.client.post("/v1/projects", json={"name": "p", "classes": ["a", "b"], "settings": setting})
    assert made.status_code == 422
    assert made.json()["errors"][0]["field"] == f"settings.{next(iter(setting))}"
