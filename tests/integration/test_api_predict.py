"""Asking a model about pictures over HTTP: the real api, the real scorer, real models."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from typer.testing import CliRunner

from services.scorer.models import KEPT, Models
from services.scorer.predict import PredictHandler
from shared import imaging
from shared.db import images, jobs, rounds
from shared.domain import CheckpointId, JobId, JobKind, JobState, NewImage, Scope
from shared.errors import Retryable
from shared.intake.asking import MAX_PICTURES
from shared.learning import backbones
from shared.learning.checkpoints import manifest, to_bytes
from shared.learning.config import LearnConfig
from shared.learning.model import Model, build_network
from shared.learning.predict import embed, pick_device
from shared.learning.predict import predict as said_by
from shared.learning.train import Extras, fit
from shared.overview import overview
from shared.settings import WorkerSettings
from shared.store.base import image_key, predictions_of
from shared.worker import Worker
from tests.integration.api_support import Api, open_api, picture
from tests.unit.learning_support import squares
from tests.waiting import wait_for
from tests.world import World, build
from winnow import model_commands
from winnow.client import Client

SIDE = 8
CONFIG = LearnConfig(image_size=SIDE, channels=3)


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path / "objects", max_file_bytes=300_000) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks as small as these lose more by waiting for a second thread than it gains them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(seed: int) -> Model:
    """A network that was not trained: two seeds say different things of a picture, and that is all that counts here."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(CONFIG.spec(2)).eval()
    return Model(spec=CONFIG.spec(2), networks=(network,))


def put(api: Api, world: World, checkpoint: int, model: Model, config: LearnConfig = CONFIG) -> None:
    """The model as a trainer leaves it, in the place of a checkpoint that there is a row of."""
    body = to_bytes(model)
    named = [(int(c.id), c.name) for c in world.classes]
    record = manifest(model, body, config=config, classes=named, data_version="v", metrics={})
    with api.system.database.transaction() as tx:
        tx.run(
            "UPDATE checkpoints SET sha256 = decode(%(sha)s, 'hex') WHERE id = %(id)s",
            {"sha": record["sha256"], "id": checkpoint},
        )
        key = rounds.checkpoint(tx, CheckpointId(checkpoint)).key
    api.system.store.put_bytes(key + "model.safetensors", body)
    api.system.store.put_bytes(key + "checkpoint.json", json.dumps(record).encode())


@pytest.fixture
def world(api: Api) -> World:
    """Two models of different weights, the second one newer and scored; none is promoted."""
    world = build(api.system, pool=6, initial=1, batch_size=1, mode="strict", image_size=SIDE)
    world.start()
    world.do_embed()
    world.do_select()
    for number in (1, 2):
        world.answer(1)
        api.system.rounds.nudge(world.id)
        world.do_train()
        put(api, world, number, made(number))
        world.do_score()
        world.do_select()
    return world


@contextmanager
def scorer(api: Api, weights_dir: Path | None = None) -> Iterator[None]:
    models = Models(api.system.store, pick_device("cpu"), weights_dir)
    handler = PredictHandler(api.system.ledger, api.system.store, models)
    worker = Worker(api.system.ledger, api.system.bus, [handler], WorkerSettings())
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(30)


def ask(api: Api, world: World, *files: tuple[str, bytes], **query: Any) -> Any:
    parts = [("files", file) for file in files]
    params = {"wait_s": 60, **query}
    return api.client.post(f"/v1/projects/{world.id}/predict", params=params, files=parts or None)


def expected(model: Model, file: bytes) -> dict[str, float]:
    pixels = imaging.to_pixels(file, size=model.spec.image_size, channels=model.spec.channels)
    (row,) = said_by(model, pixels[None])[0]
    return dict(zip(("a", "b"), map(float, row), strict=True))


def left(api: Api, world: World) -> list[str]:
    return list(api.system.store.list(predictions_of(world.id)))


def add_image(api: Api, world: World, file: bytes) -> int:
    """An image of the project whose bytes are there."""
    digest = "ab" * 32
    api.system.store.put_bytes(image_key(world.id, digest), file)
    new = NewImage(sha256=digest, filename="own.png", width=24, height=16, bytes=len(file), format="PNG")
    with api.system.database.transaction() as tx:
        (added,) = images.add(tx, world.id, [new])
    return int(added.id)


def test_every_picture_has_its_own_result_and_one_that_can_not_be_read_fails_alone(api: Api, world: World) -> None:
    api.client.post(f"/v1/projects/{world.id}/checkpoints/1/promote")
    first, last, own = picture(1), picture(2, kind="JPEG"), picture(3)
    image = add_image(api, world, own)
    files = [
        ("first.png", first),
        ("damaged.png", first[: len(first) // 2]),
        ("words.png", b"these are only words"),
        ("large.bmp", picture(4, 400, 300, "BMP")),
        ("last.jpg", last),
    ]
    with scorer(api):
        response = ask(api, world, *files, image_id=[image, 999])
    answer = response.json()
    assert response.status_code == 200, response.text
    assert (answer["checkpoint_id"], answer["round"], answer["promoted"], answer["failed"]) == (1, 1, True, 4)
    results = answer["results"]
    assert [one["filename"] for one in results] == ["own.png", "", *(name for name, _ in files)]
    assert [one["image_id"] for one in results] == [image, 999, *[None] * 5]
    for at, file in ((0, own), (2, first), (6, last)):
        wanted = expected(made(1), file)
        assert results[at]["probabilities"] == pytest.approx(wanted, abs=1e-5)
        assert results[at]["class"] == max(wanted, key=wanted.__getitem__)
        assert results[at]["confidence"] == pytest.approx(max(wanted.values()), abs=1e-5)
        assert (results[at]["checkpoint_id"], results[at]["error"]) == (1, None)
    for at, words in (
        (1, "no image with the id 999"),
        (3, "damaged"),
        (4, "not an image"),
        (5, "the limit is 300,000"),
    ):
        assert words in results[at]["error"]
        assert results[at]["class"] is results[at]["probabilities"] is results[at]["checkpoint_id"] is None


def test_pictures_that_are_asked_about_do_not_join_the_project_and_are_deleted(api: Api, world: World) -> None:
    with scorer(api):
        answer = ask(api, world, ("a.png", picture(1))).json()
        wait_for(lambda: len(left(api, world)) == 1, "the picture to be deleted")
    assert left(api, world)[0].endswith("/result-1.json")
    assert api.client.get(f"/v1/projects/{world.id}/state").json()["images"]["total"] == 6
    again = api.client.get(f"/v1/projects/{world.id}/predictions/{answer['job_id']}")
    assert (again.status_code, again.json()) == (200, answer)


def test_where_none_is_promoted_the_newest_model_answers_and_says_so(api: Api, world: World) -> None:
    file = picture(1)
    with scorer(api):
        newest = ask(api, world, ("a.png", file)).json()
        api.client.post(f"/v1/projects/{world.id}/checkpoints/1/promote")
        promoted = ask(api, world, ("a.png", file)).json()
        api.client.post(f"/v1/projects/{world.id}/checkpoints/rollback")
        again = ask(api, world, ("a.png", file)).json()
    assert [(one["checkpoint_id"], one["round"], one["promoted"]) for one in (newest, promoted, again)] == [
        (2, 2, False),
        (1, 1, True),
        (2, 2, False),
    ]
    assert newest["results"][0]["probabilities"] == pytest.approx(expected(made(2), file), abs=1e-5)
    assert again["results"] == newest["results"] != promoted["results"]


def test_a_promoted_model_whose_scores_were_given_up_still_answers(api: Api, world: World) -> None:
    api.client.post(f"/v1/projects/{world.id}/checkpoints/1/promote")
    with api.system.database.transaction() as tx:
        tx.run("UPDATE checkpoints SET scores_retired_at = now() WHERE id = 1")
    with scorer(api):
        assert ask(api, world, ("a.png", picture(1))).json()["failed"] == 0


def test_without_a_model_nothing_is_taken(api: Api) -> None:
    world = build(api.system, name="young")
    refused = ask(api, world, ("a.png", picture(1)))
    assert refused.status_code == 409 and "no model yet" in refused.json()["detail"]
    assert left(api, world) == []


def test_what_takes_longer_is_fetched_at_the_place_that_the_answer_names(api: Api, world: World) -> None:
    file = picture(1)
    waiting = ask(api, world, ("a.png", file), wait_s=0.2)
    place = waiting.headers["location"]
    assert (waiting.status_code, waiting.json()["state"], waiting.headers["retry-after"]) == (202, "queued", "1")
    assert place == f"/v1/projects/{world.id}/predictions/{waiting.json()['job_id']}"
    assert api.client.get(place).status_code == 202
    with scorer(api):
        wait_for(lambda: api.client.get(place).status_code == 200, "the prediction")
    said = api.client.get(place).json()["results"]
    assert said[0]["probabilities"] == pytest.approx(expected(made(2), file), abs=1e-5)


def test_who_waits_holds_no_connection(migrated_database_url: str, tmp_path: Path) -> None:
    with open_api(migrated_database_url, tmp_path) as api, ThreadPoolExecutor(12) as threads:
        world = build(api.system, pool=6, initial=1, batch_size=1, mode="strict")
        world.start()
        world.do_embed()
        world.do_select()
        world.answer(1)
        api.system.rounds.nudge(world.id)
        world.do_train()
        world.do_score()
        image = add_image(api, world, picture(1))
        asked = [threads.submit(ask, api, world, image_id=[image], wait_s=3) for _ in range(12)]  # the pool has ten
        time.sleep(1)
        for _ in range(20):
            with api.system.database.transaction(wait_s=1):  # raises where none becomes free by then
                pass
        assert {one.result().status_code for one in asked} == {202}


def test_a_prediction_is_only_there_in_its_project_and_is_no_other_job(api: Api, world: World) -> None:
    with scorer(api):
        job = ask(api, world, ("a.png", picture(1))).json()["job_id"]
    other = build(api.system, name="other")
    assert api.client.get(f"/v1/projects/{other.id}/predictions/{job}").status_code == 404
    assert api.client.get(f"/v1/projects/99/predictions/{job}").status_code == 404
    assert api.client.get(f"/v1/projects/{world.id}/predictions/1").status_code == 404, "that is the embed job"
    assert api.client.post("/v1/projects/99/predict?image_id=1").status_code == 404
    own = add_image(api, world, picture(3))
    of_other = ask(api, world, image_id=[own + 1]).json()
    assert "no image with the id" in of_other["results"][0]["error"]


def test_who_may_read_may_ask_and_others_may_not(api: Api, world: World) -> None:
    path = f"/v1/projects/{world.id}/predict?wait_s=0"
    files = [("files", ("a.png", picture(1)))]
    with api.holding(Scope.READ) as reader, api.holding(Scope.INGEST) as other:
        assert reader.post(path, files=files).status_code == 202
        assert other.post(path, files=files).status_code == 403
    with api.holding(Scope.READ, project=int(build(api.system, name="theirs").id)) as stranger:
        assert stranger.post(path, files=files).status_code == 404


def test_a_request_that_asks_too_much_or_nothing_is_refused_and_leaves_nothing(api: Api, world: World) -> None:
    many = [(f"{n}.png", picture(1)) for n in range(MAX_PICTURES + 1)]
    refused = ask(api, world, *many)
    assert refused.status_code == 422 and f"{MAX_PICTURES} pictures at most" in refused.json()["detail"]
    assert left(api, world) == []
    path = f"/v1/projects/{world.id}/predict"
    assert api.client.post(path).status_code == 415
    assert api.client.post(path, json={"files": []}).status_code == 415
    form = {"Content-Type": "multipart/form-data; boundary=frontier"}
    empty = api.client.post(path, content=b"--frontier--\r\n", headers=form)
    assert empty.status_code == 422 and "no picture" in empty.json()["detail"]
    cut = (
        b'--frontier\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n'
        + picture(1)
        + b"\r\n--frontier"
    )
    broken = api.client.post(path, content=cut, headers=form)
    assert broken.status_code == 422 and left(api, world) == []
    assert api.client.post(f"{path}?image_id=0").status_code == 422
    assert api.client.post(f"{path}?image_id=1&wait_s=61").status_code == 422


def test_where_no_picture_can_be_read_nobody_is_asked(api: Api, world: World) -> None:
    answer = ask(api, world, ("a.png", b"words"), image_id=[999])
    assert answer.status_code == 200 and answer.json()["job_id"] is None
    assert [one["error"] is not None for one in answer.json()["results"]] == [True, True]
    with api.system.database.transaction() as tx:
        assert JobKind.PREDICT not in {job.kind for job in jobs.newest(tx, project_id=world.id)}


@pytest.mark.parametrize("mode", ["ridge", "head"])
def test_a_model_on_a_frozen_backbone_sees_pictures_through_it(
    api: Api, world: World, tmp_path: Path, mode: str
) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "squeezenet1_0.pth"
    torch.save(torchvision.models.squeezenet1_0(weights=None).state_dict(), weights)
    backbone = backbones.load("squeezenet1_0", weights.read_bytes())
    config = LearnConfig(arch="squeezenet1_0", mode=mode, image_size=32)
    x, y = squares(30, size=32, channels=3)
    features = embed(backbone, x)
    model = fit(features, y % 2, n_classes=2, config=config, extras=Extras(backbone_id=backbone.id)).model
    put(api, world, 2, model, config)
    file = picture(1)
    with scorer(api, tmp_path):
        said = ask(api, world, ("a.png", file)).json()["results"][0]
    pixels = imaging.to_pixels(file, size=32, channels=3)
    (row,) = said_by(model, embed(backbone, pixels[None]))[0]
    assert list(said["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-5)

    torch.save(torchvision.models.squeezenet1_0(weights=None).state_dict(), weights)
    with scorer(api, tmp_path):
        refused = ask(api, world, ("a.png", file))
    assert refused.status_code == 409 and backbone.id in refused.json()["detail"]


def test_a_prediction_that_failed_says_why_and_stops_no_round(api: Api, world: World) -> None:
    with api.system.database.transaction() as tx:
        key = rounds.checkpoint(tx, CheckpointId(2)).key
    api.system.store.put_bytes(key + "model.safetensors", b"not what was trained")
    with scorer(api):
        refused = ask(api, world, ("a.png", picture(1)))
    assert refused.status_code == 409 and "not the one that was written" in refused.json()["detail"]
    with api.system.database.transaction() as tx:
        now = overview(tx, world.id)
        (dead,) = jobs.newest(tx, project_id=world.id, state=JobState.DEAD)
    assert dead.kind is JobKind.PREDICT
    assert now.dead_jobs == [] and now.doing == "round 2: labelling"


def test_a_model_that_was_given_up_meanwhile_is_no_reason_to_try_again(api: Api, world: World) -> None:
    waiting = ask(api, world, ("a.png", picture(1)), wait_s=0)
    with api.system.database.transaction() as tx:
        tx.run("UPDATE checkpoints SET weights_retired_at = now()")
    with scorer(api):
        wait_for(lambda: api.client.get(waiting.headers["location"]).status_code == 409, "the job to be dead")
    with api.system.database.transaction() as tx:
        job = jobs.get(tx, JobId(waiting.json()["job_id"]))
    assert (job.state, job.attempts) == (JobState.DEAD, 1)


def test_the_model_in_use_and_the_newest_stay_in_memory_together(api: Api, world: World) -> None:
    models = Models(api.system.store, pick_device("cpu"), None)
    with api.system.database.transaction() as tx:
        first, second = (rounds.checkpoint(tx, CheckpointId(n)) for n in (1, 2))
    loaded = [models.checkpoint(one) for one in (first, second, first, second)]
    assert loaded[0] is loaded[2] and loaded[1] is loaded[3]
    assert KEPT == 2
    with api.system.database.transaction() as tx:
        tx.run("UPDATE rounds SET state = 'done' WHERE state <> 'done'")
        tx.run(
            "WITH r AS (INSERT INTO rounds (project_id, number, state, labels) VALUES (%(id)s, 9, 'done', 1) "
            "RETURNING id) INSERT INTO checkpoints (project_id, round_id, key, sha256, arch, data_version, metrics) "
            "SELECT %(id)s, id, 'projects/1/checkpoints/99-1/', sha256(''), 'cnn', 'v', '{}' FROM r",
            {"id": world.id},
        )
    put(api, world, 3, made(3))
    with api.system.database.transaction() as tx:
        third = rounds.checkpoint(tx, CheckpointId(3))
    models.checkpoint(third)
    assert models.checkpoint(second) is loaded[1], "the one used last stays"
    assert models.checkpoint(first) is not loaded[0]


def test_the_command_prints_a_line_for_each_file(
    api: Api, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client("http://testserver", "unused")
    client._client = api.client  # the same requests, to the application in this process
    monkeypatch.setattr(client, "close", lambda: None)
    monkeypatch.setattr(model_commands, "client_of", lambda url, key, data: client)
    monkeypatch.setattr(model_commands, "AT_ONCE", 2)
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for n, path in enumerate(paths):
        path.write_bytes(picture(n) if n != 1 else b"words")
    with scorer(api):
        done = CliRunner().invoke(model_commands.app, ["predict", "letters", *map(str, paths)])
        good = CliRunner().invoke(model_commands.app, ["predict", "letters", str(paths[0])])
    lines = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]  # the log is there too
    assert [line[0] for line in lines] == [str(path) for path in paths]
    wanted = [expected(made(2), path.read_bytes()) for path in (paths[0], paths[2])]
    assert [lines[0][1], lines[2][1]] == [max(one, key=one.__getitem__) for one in wanted]
    assert [float(lines[0][2]), float(lines[2][2])] == pytest.approx([max(one.values()) for one in wanted], abs=1e-3)
    assert lines[1][1] == "" and "not an image" in lines[1][2]
    assert (done.exit_code, good.exit_code) == (1, 0)


def test_the_client_waits_for_what_takes_longer_and_not_for_ever(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client("http://testserver", "unused")
    client._client = api.client
    with pytest.raises(Retryable, match="is a scorer at work"):
        client.predict(int(world.id), [("a.png", picture(1))], patience_s=0.2)
    monkeypatch.setattr("winnow.client.api.WAIT_S", 0)
    with scorer(api):
        assert client.predict(int(world.id), [("a.png", picture(1))])["failed"] == 0
