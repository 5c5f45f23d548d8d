"""Models over HTTP: looked at, promoted, compared, downloaded; and the commands that do it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from services.trainer.order import write_outcome
from shared.db import rounds
from shared.domain import CheckpointId, ProjectId, Scope
from shared.learning.checkpoints import manifest, to_bytes
from shared.learning.config import LearnConfig
from shared.learning.metrics import evaluate
from shared.learning.predict import predict
from shared.learning.train import fit
from tests.integration.api_support import Api, open_api
from tests.unit.learning_support import squares
from tests.world import World, build
from winnow import model_commands


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path / "objects") as opened:
        yield opened


def measured(right: int, n: int = 200) -> dict[str, Any]:
    truth = np.arange(n) % 2
    said = np.where(np.arange(n) < right, truth, 1 - truth)
    return evaluate(np.where(np.eye(2)[said] == 1, 0.9, 0.1), truth)


@pytest.fixture
def world(api: Api) -> World:
    """Three models: of 200 images they get 120, 170 and 172 right."""
    world = build(api.system, pool=20, initial=2, batch_size=1, mode="strict", name="letters")
    world.start()
    world.do_embed()
    world.do_select()
    for right in (120, 170, 172):
        world.answer(2)
        api.system.rounds.nudge(world.id)
        world.do_train(**measured(right))
        world.do_score()
        world.do_select()
    return world


def path(world: World, more: str = "") -> str:
    return f"/v1/projects/{world.id}/checkpoints{more}"


def in_use(api: Api, world: World) -> list[int]:
    models = api.client.get(path(world)).json()["items"]
    return [
        m["checkpoint_id"] for m in models if api.client.get(path(world, f"/{m['checkpoint_id']}")).json()["in_use"]
    ]


def test_the_model_promoted_last_is_in_use_and_a_roll_back_goes_to_the_one_before(api: Api, world: World) -> None:
    assert in_use(api, world) == []
    for checkpoint in (2, 3, 1):
        answer = api.client.post(path(world, f"/{checkpoint}/promote"))
        assert (answer.status_code, answer.json()) == (200, {"checkpoint_id": checkpoint})
        assert in_use(api, world) == [checkpoint]
    for before in (3, 2, None):
        assert api.client.post(path(world, "/rollback")).json() == {"checkpoint_id": before}
        assert in_use(api, world) == ([] if before is None else [before])
    refused = api.client.post(path(world, "/rollback"))
    assert refused.status_code == 409 and "nothing to roll back" in refused.json()["detail"]
    told = [event["kind"] for event in api.client.get(f"/v1/projects/{world.id}/events").json()["items"]]
    assert told[:6] == ["model.rolled_back"] * 3 + ["model.promoted"] * 3


def test_who_may_only_read_promotes_nothing(api: Api, world: World) -> None:
    with api.holding(Scope.READ) as reader:
        assert reader.get(path(world, "/1")).status_code == 200
        assert reader.post(path(world, "/1/promote")).status_code == 403
        assert reader.post(path(world, "/rollback")).status_code == 403
    assert in_use(api, world) == []


def test_a_model_of_another_project_or_of_none_is_not_there(api: Api, world: World) -> None:
    other = api.new_project()
    for project, checkpoint in ((other, 1), (world.id, 99)):
        base = f"/v1/projects/{project}/checkpoints"
        for answer in (
            api.client.get(f"{base}/{checkpoint}"),
            api.client.post(f"{base}/{checkpoint}/promote"),
            api.client.get(f"{base}/compare?a={checkpoint}&b={checkpoint}"),
            api.client.get(f"{base}/{checkpoint}/model.safetensors"),
        ):
            assert answer.status_code == 404
    assert api.client.get(path(world, "/1/passwd")).status_code == 404


@pytest.mark.parametrize("place", ["/rollback", "/1/promote"])
def test_what_changes_something_is_not_asked_with_get(api: Api, world: World, place: str) -> None:
    answer = api.client.get(path(world, place))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_model_whose_weights_were_given_up_is_not_promoted(api: Api, world: World) -> None:
    with api.system.ledger.transaction() as tx:
        tx.run("UPDATE checkpoints SET weights_retired_at = now() WHERE id = 1")
    refused = api.client.post(path(world, "/1/promote"))
    assert refused.status_code == 409 and "given up" in refused.json()["detail"]


def test_a_comparison_says_whether_a_gain_is_beyond_chance(api: Api, world: World) -> None:
    gain = api.client.get(path(world, "/compare?a=1&b=2")).json()
    assert gain["accuracy"] == pytest.approx(0.25) and 0 < gain["low"] < 0.25 < gain["high"]
    assert gain["verdict"] == "b is better, beyond chance"
    assert [one["difference"] > 0 for one in gain["classes"]] == [True, True]
    back = api.client.get(path(world, "/compare?a=2&b=1")).json()
    assert back["accuracy"] == -gain["accuracy"] and back["verdict"] == "a is better, beyond chance"
    even = api.client.get(path(world, "/compare?a=2&b=3")).json()
    assert even["low"] < 0 < even["high"] and even["verdict"] == "no difference beyond chance, on 200 images"


def test_a_model_without_a_holdout_is_compared_with_that_word(api: Api, world: World) -> None:
    with api.system.ledger.transaction() as tx:
        tx.run("UPDATE checkpoints SET metrics = '{}' WHERE id = 1")
    found = api.client.get(path(world, "/compare?a=1&b=2")).json()
    assert found["accuracy"] is None and "not measured" in found["verdict"]


def test_a_model_is_exported_by_the_command_as_onnx(
    api: Api, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = squares(40)
    config = LearnConfig(image_size=8, channels=1, recipe={"epochs": 1, "min_steps": 5})
    model = fit(x, y, n_classes=3, config=config).model
    body = to_bytes(model)
    named = [(1, "left"), (2, "right"), (3, "bottom")]
    record = manifest(model, body, config=config, classes=named, data_version="v", metrics={})
    write_outcome(tmp_path, body, record)
    with api.system.database.transaction() as tx:
        key = rounds.checkpoint(tx, CheckpointId(2)).key
    for name in ("model.safetensors", "checkpoint.json"):
        api.system.store.put_bytes(key + name, (tmp_path / name).read_bytes())
    api.client.post(path(world, "/2/promote"))

    class Direct:
        """The client's part of the command, over the app in this process."""

        def __enter__(self) -> Direct:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def project(self, name: str) -> dict[str, Any]:
            return {"id": ProjectId(world.id)}

        def models(self, project: int) -> Any:
            return api.client.get(path(world)).json()["items"]

        def model_file(self, project: int, checkpoint: int, name: str) -> bytes:
            return bytes(api.client.get(path(world, f"/{checkpoint}/{name}")).content)

    monkeypatch.setattr(model_commands, "client_of", lambda url, key, data: Direct())
    out = tmp_path / "model.onnx"
    monkeypatch.setattr(model_commands.console, "width", 300)
    result = CliRunner().invoke(model_commands.app, ["export", "letters", "--out", str(out)])
    assert result.exit_code == 0 and "model 2 as onnx" in result.stdout, result.output
    images = (x.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    (said,) = onnxruntime.InferenceSession(str(out)).run(None, {"images": images})
    assert said == pytest.approx(predict(model, x)[0], abs=1e-4)
    listed = CliRunner().invoke(model_commands.app, ["list", "letters"])
    assert "0.8500" in listed.stdout and "yes" in listed.stdout
