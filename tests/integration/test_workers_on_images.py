"""The real handlers on real images: digits go in, labels and a model come out."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image as Picture
from prometheus_client import REGISTRY
from sklearn.datasets import load_digits

from services.scorer.embed import EmbedHandler
from services.scorer.models import Models
from services.scorer.score import ScoreHandler
from services.scorer.select import SelectHandler
from services.trainer.gather import Gatherer, Material
from services.trainer.train import TrainHandler
from shared import arrays
from shared.db import images, jobs, labels, projects, rounds, tasks, users
from shared.db.tasks import Lease
from shared.domain import (
    Image,
    ImageState,
    JobState,
    NewImage,
    ProjectId,
    ProjectSettings,
    ProjectState,
    RoundMode,
    RoundState,
    ShardState,
    Split,
    TaskKind,
)
from shared.errors import Permanent
from shared.learning.predict import pick_device
from shared.settings import TrainerSettings, WorkerSettings
from shared.store.base import OPINIONS, features_info_key, features_key, image_key, scores_prefix
from shared.system import System
from shared.worker import Worker
from tests.waiting import wait_for
from tests.world import open_system

POOL, HOLDOUT = 120, 60


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path / "objects") as opened:
        yield opened


def train_handler(system: System, weights_dir: Path | None = None, **settings: Any) -> TrainHandler:
    gatherer = Gatherer(system.database, system.store, weights_dir, most_unlabelled=1000)
    training = TrainerSettings(**settings)
    return TrainHandler(system.ledger, system.rounds, system.store, gatherer, training, "cpu")


@contextmanager
def workers(system: System, weights_dir: Path | None = None) -> Iterator[None]:
    """A trainer and a scorer, as threads."""
    device = pick_device("cpu")
    models = Models(system.store, device, weights_dir)
    parts = (system.ledger, system.rounds, system.store)
    crew = [
        Worker(system.ledger, system.bus, [train_handler(system, weights_dir)], WorkerSettings()),
        Worker(
            system.ledger,
            system.bus,
            [EmbedHandler(*parts, models), ScoreHandler(*parts, models), SelectHandler(*parts)],
            WorkerSettings(),
        ),
    ]
    threads = [threading.Thread(target=worker.run, daemon=True) for worker in crew]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for worker in crew:
            worker.stop()
        for thread in threads:
            thread.join(30)


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Picture.fromarray((pixels * 15.9).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def digits_project(system: System, spoilt: int = 0, **settings: object) -> tuple[ProjectId, dict[int, int]]:
    """A draft project of digits with a labelled holdout, and the true class position by image id.

    The first ``spoilt`` pool images have rows whose objects can't be read as images.
    """
    digits = load_digits()
    chosen = [(png(digits.images[n]), int(digits.target[n])) for n in range(POOL + HOLDOUT)]
    with system.ledger.transaction() as tx:
        defaults = {
            "mode": RoundMode.STRICT,
            "initial": 30,
            "batch_size": 30,
            "channels": 1,
            "epochs": 8,
            "shard_size": 50,
        }
        values = ProjectSettings(**{**defaults, **settings})  # type: ignore[arg-type]
        project = projects.create(tx, "digits", [str(n) for n in range(10)], values)
    new = []
    for at, (body, _) in enumerate(chosen):
        digest = hashlib.sha256(body).hexdigest()
        stored = body[:40] if at < spoilt else body
        system.store.put_bytes(image_key(project.id, digest), stored)
        split = Split.POOL if at < POOL else Split.HOLDOUT
        new.append(
            NewImage(sha256=digest, filename=f"{at}.png", width=8, height=8, bytes=len(body), format="PNG", split=split)
        )
    truth = {n.sha256: target for n, (_, target) in zip(new, chosen, strict=True)}
    with system.ledger.transaction() as tx:
        rows = images.add(tx, project.id, new)
        classes = projects.classes(tx, project.id)
        held_out = {i.sha256: classes[truth[i.sha256]].id for i in rows if i.split is Split.HOLDOUT}
        labels.import_known(tx, project.id, held_out)
    return project.id, {int(i.id): truth[i.sha256] for i in rows}


def in_state(system: System, project_id: ProjectId, number: int, state: RoundState) -> bool:
    with system.ledger.transaction() as tx:
        current = rounds.latest(tx, project_id)
    return current is not None and (current.number, current.state) == (number, state)


def is_finished(system: System, project_id: ProjectId) -> bool:
    with system.ledger.transaction() as tx:
        return projects.get(tx, project_id).state is ProjectState.FINISHED


def answer_until_finished(system: System, project_id: ProjectId, truth: dict[int, int]) -> None:
    answer_until(system, project_id, truth, lambda: is_finished(system, project_id))


def answer_until(system: System, project_id: ProjectId, truth: dict[int, int], over: Callable[[], bool]) -> None:
    with system.ledger.transaction() as tx:
        user = users.add(tx, "ann", "Ann", "-")
        classes = projects.classes(tx, project_id)

    def step() -> bool:
        if over():
            return True
        for task in system.labelling.lease(project_id, user.id, count=20):
            system.labelling.submit(
                project_id,
                user.id,
                Lease(task_id=task.id, fence=task.fence),
                classes[truth[int(task.image_id)]].id,
                key=f"{task.id}-{task.fence}",
            )
        system.rounds.nudge(project_id)
        with system.ledger.transaction() as tx:
            dead = [j for j in jobs.newest(tx, project_id=project_id) if j.state is JobState.DEAD]
            assert not dead, dead[0].error
        return over()

    wait_for(step, "the project to get there", 120)


def start(system: System, project_id: ProjectId) -> None:
    with system.ledger.transaction() as tx:
        system.rounds.start(tx, project_id, "test")


def all_images(system: System, project_id: ProjectId) -> list[Image]:
    with system.ledger.transaction() as tx:
        return images.page(tx, project_id, limit=1000)


@pytest.fixture
def finished(system: System) -> tuple[System, ProjectId]:
    """Two rounds of hybrid, with three images that can't be read."""
    project_id, truth = digits_project(system, spoilt=3, strategy="hybrid", max_rounds=2)
    start(system, project_id)
    with workers(system):
        answer_until_finished(system, project_id, truth)
    return system, project_id


def test_the_loop_ends_with_labels_models_and_probabilities(finished: tuple[System, ProjectId]) -> None:
    system, project_id = finished
    with system.ledger.transaction() as tx:
        curve = rounds.curve(tx, project_id)
        counts = labels.counts(tx, project_id)
        newest = rounds.latest_scored(tx, project_id)
        shards = images.shards(tx, project_id)
        assert tasks.live_counts(tx, project_id).open == 0
    assert [point.labels for point in curve] == [30, 60]
    assert (counts.pool, counts.human, counts.holdout) == (60, 60, HOLDOUT)
    for point in curve:
        assert point.metrics["n"] == HOLDOUT
        assert point.metrics["accuracy"] > 0.5, "far above the one in ten of guessing"
        assert len(point.metrics["per_class"]) == 10
        assert np.asarray(point.metrics["confusion"]).sum() == HOLDOUT
        assert len(point.metrics["history"]) >= 1
    assert newest is not None and newest.id == curve[-1].checkpoint_id
    for shard in shards:
        prefix = scores_prefix(project_id, newest.id, shard.id)
        probabilities = arrays.load(system.store, prefix + "probabilities.npy")
        assert probabilities.shape == (shard.image_count, 10)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
        assert arrays.load(system.store, prefix + "features.npy").shape[0] == shard.image_count

    spoilt = [i for i in all_images(system, project_id) if i.state is ImageState.UNREADABLE]
    assert len(spoilt) == 3 and all(i.error for i in spoilt), "an unreadable image is marked, with the reason"
    assert not {i.id for i in spoilt} & {e.image_id for e in _examples(system, project_id)}, (
        "and it is never asked about"
    )

    manifest = json.loads(system.store.get(newest.key + "checkpoint.json"))
    assert manifest["sha256"] == newest.sha256
    assert hashlib.sha256(system.store.get(newest.key + "model.safetensors")).hexdigest() == newest.sha256
    assert [c["name"] for c in manifest["classes"]] == [str(n) for n in range(10)]

    system.store.put_bytes(newest.key + "model.safetensors", b"not what was trained")
    with pytest.raises(Permanent):
        Models(system.store, pick_device("cpu"), None).checkpoint(newest)


def _examples(system: System, project_id: ProjectId) -> list[labels.Example]:
    with system.ledger.transaction() as tx:
        return labels.examples(tx, project_id, Split.POOL)


def test_a_head_on_a_frozen_backbone_learns_from_features_made_once(system: System, tmp_path: Path) -> None:
    torch.manual_seed(0)
    untrained = torchvision.models.squeezenet1_0(weights=None)  # random features serve to see that the parts fit
    torch.save(untrained.state_dict(), tmp_path / "squeezenet1_0.pth")
    project_id, truth = digits_project(
        system, arch="squeezenet1_0", train_mode="head", image_size=64, channels=3, strategy="hybrid", max_rounds=2
    )
    start(system, project_id)
    with workers(system, tmp_path):
        answer_until_finished(system, project_id, truth)
    with system.ledger.transaction() as tx:
        curve = rounds.curve(tx, project_id)
        newest = rounds.latest_scored(tx, project_id)
        shards = images.shards(tx, project_id)
        settings = projects.get(tx, project_id).settings
    assert [point.labels for point in curve] == [30, 60]
    assert curve[-1].metrics["accuracy"] > 0.3, "far above the one in ten of guessing"
    assert newest is not None
    manifest = json.loads(system.store.get(newest.key + "checkpoint.json"))
    for shard in shards:
        place = (project_id, shard.id, settings.features_variant)
        assert json.loads(system.store.get(features_info_key(*place)))["backbone"] == manifest["backbone"]["id"]
        assert arrays.load(system.store, features_key(*place)).shape == (shard.image_count, 512)
        assert not system.store.exists(scores_prefix(project_id, newest.id, shard.id) + "features.npy")


@pytest.mark.parametrize(
    ("mode", "recipe"),
    [
        ("ridge", {"committee": 2}),
        ("head", {"head": "mlp", "mc_dropout": 3}),
        ("finetune", {"epochs": 1, "min_steps": 4, "start": "shrink_perturb", "pseudo_labels": 0.1, "committee": 2}),
        ("finetune", {"epochs": 1, "min_steps": 4, "start": "warm", "consistency": 1.0, "mc_dropout": 2}),
    ],
)
def test_every_mode_goes_through_the_loop_and_members_are_scored(
    system: System, tmp_path: Path, mode: str, recipe: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_0(weights=None).state_dict(), tmp_path / "squeezenet1_0.pth")
    values: dict[str, Any] = {
        "arch": "squeezenet1_0",
        "image_size": 32,
        "channels": 3,
        "strategy": "margin",
        "max_rounds": 2,
    }
    project_id, truth = digits_project(system, train_mode=mode, epochs=None, recipe=recipe, **values)
    start(system, project_id)
    with workers(system, tmp_path):
        answer_until_finished(system, project_id, truth)
    with system.ledger.transaction() as tx:
        curve = rounds.curve(tx, project_id)
        newest = rounds.latest_scored(tx, project_id)
        shard = images.shards(tx, project_id)[0]
    assert newest is not None
    prefix = scores_prefix(project_id, newest.id, shard.id)
    members = arrays.load(system.store, prefix + "members.npy")
    probabilities = arrays.load(system.store, prefix + "probabilities.npy")
    assert members.dtype == np.float16 and members.shape == (shard.image_count, members.shape[1], 10)
    assert members.shape[1] == max(recipe.get("committee", 1), recipe.get("mc_dropout", 0))
    assert members.astype(np.float64).sum(axis=2) == pytest.approx(1, abs=0.02)
    if "committee" in recipe:
        assert members.mean(axis=1) == pytest.approx(probabilities, abs=2e-3)
    said = curve[-1].metrics
    assert said["recipe"]["kind"] == "signs", "digits are never mirrored"
    assert said["calibration"]["n"] > 0 and said["auroc"] is None and said["reliability"]


@pytest.mark.parametrize(("gpu", "room", "brought"), [(True, 2**30, 50), (True, 32 * 32 * 20, 20), (False, 2**30, 0)])
def test_only_a_gpu_is_brought_the_unlabelled_pool_of_signs(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool, room: int, brought: int
) -> None:
    monkeypatch.setattr("services.trainer.gather._MOST_BYTES", room)
    project_id, _ = digits_project(system, max_rounds=1)
    start(system, project_id)
    with workers(system):
        wait_for(lambda: in_state(system, project_id, 0, RoundState.LABELLING), "the first questions", 60)
    with system.ledger.transaction() as tx:
        (job, *_) = jobs.newest(tx, project_id=project_id)
        settings, classes = projects.get(tx, project_id).settings, projects.classes(tx, project_id)
        pool = labels.examples(tx, project_id, Split.HOLDOUT)  # nothing else is labelled yet, and it will do
        material = Material(settings=settings, classes=classes, pool=pool, holdout=[], labels_at=labels.read_at(tx))
    Gatherer(system.database, system.store, None, most_unlabelled=50).gather(job, material, tmp_path, gpu=gpu)
    read = tmp_path / "unlabelled.npy"
    assert read.exists() == gpu
    assert not gpu or np.load(read).shape == (brought, 32, 32, 1)


def test_features_of_other_weights_are_refused(system: System, tmp_path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_0(weights=None).state_dict(), tmp_path / "squeezenet1_0.pth")
    project_id, truth = digits_project(
        system, arch="squeezenet1_0", train_mode="head", image_size=64, channels=3, strategy="random", max_rounds=1
    )
    with system.ledger.transaction() as tx:
        labels_by_digest = {i.sha256: truth[int(i.id)] for i in images.page(tx, project_id, limit=1000)}
        classes = projects.classes(tx, project_id)
        labels.import_known(tx, project_id, {d: classes[t].id for d, t in labels_by_digest.items()})
        system.rounds.start(tx, project_id, "test")
    with workers(system, tmp_path):

        def embedded() -> bool:
            with system.ledger.transaction() as tx:
                return not images.shards(tx, project_id, ShardState.SEALED)

        wait_for(embedded, "the shards' features", 120)
    with system.ledger.transaction() as tx:
        first, settings = images.shards(tx, project_id)[0], projects.get(tx, project_id).settings
    other = json.dumps({"backbone": "squeezenet1_0-other"}).encode()
    system.store.put_bytes(features_info_key(project_id, first.id, settings.features_variant), other)
    with system.ledger.transaction() as tx:  # whatever was trained meanwhile, a training anew must refuse
        pool = labels.examples(tx, project_id, Split.POOL)
        material = Material(settings=settings, classes=classes, pool=pool, holdout=[], labels_at=labels.read_at(tx))
    with pytest.raises(Permanent, match="different weights"):
        Gatherer(system.database, system.store, None, 0).backbone_id(project_id, material)


def test_a_training_whose_loss_is_no_number_ends_dead_and_is_counted(system: System) -> None:
    def diverged() -> float:
        return REGISTRY.get_sample_value("winnow_trainings_diverged_total") or 0.0

    before = diverged()
    project_id, truth = digits_project(system, learning_rate=1e30)
    start(system, project_id)
    with workers(system), pytest.raises(AssertionError, match="diverged"):  # that no job may be dead
        answer_until_finished(system, project_id, truth)
    assert diverged() - before == 1


def test_images_that_arrive_are_asked_or_passed_as_they_are_scored(system: System) -> None:
    project_id, truth = digits_project(system, stream_rate=0.25, cold_labels_per_class=0, max_rounds=9)
    start(system, project_id)
    with workers(system):
        answer_until(system, project_id, truth, lambda: in_state(system, project_id, 1, RoundState.LABELLING))
        digits = load_digits()
        arrived = []
        for body in (png(digits.images[n]) for n in range(POOL + HOLDOUT, POOL + HOLDOUT + 60)):
            digest = hashlib.sha256(body).hexdigest()
            system.store.put_bytes(image_key(project_id, digest), body)
            arrived.append(
                NewImage(sha256=digest, filename="new.png", width=8, height=8, bytes=len(body), format="PNG")
            )
        with system.ledger.transaction() as tx:
            new = {image.id for image in images.add(tx, project_id, arrived)}
            system.rounds.ingested(tx, project_id)

        def offered() -> bool:
            with system.ledger.transaction() as tx:
                system.rounds.advance(tx, project_id)
                stream = projects.get(tx, project_id).stream
            return stream is not None and stream["seen"] == 60

        wait_for(offered, "the stream to have seen what arrived", 60)
    with system.ledger.transaction() as tx:
        stream = projects.get(tx, project_id).stream
        asked = [image for image in new if tasks.was_asked(tx, image)]
        ann = users.credentials(tx, "ann")
    assert stream is not None and ann is not None
    assert stream["asked"] == len(asked) and 5 <= len(asked) <= 25, "a quarter, as nearly as the threshold follows"
    first = system.labelling.lease(project_id, ann.user.id, count=len(asked))
    assert {task.image_id for task in first} == set(asked), "who sends a stream is answered first"
    assert {task.kind for task in first} == {TaskKind.STREAM}


@pytest.mark.parametrize("strategy", ["badge", "coreset", "synthesis", "bald"])
def test_strategies_are_handed_all_that_they_read(system: System, strategy: str) -> None:
    """Probabilities and features; the features of what is labelled; what the members of a committee say."""
    committee = {"committee": 2} if strategy == "bald" else {}
    project_id, truth = digits_project(
        system, strategy=strategy, cold_labels_per_class=0, recipe={**committee, "folds": 0}, epochs=3, max_rounds=2
    )
    start(system, project_id)
    with workers(system):
        answer_until_finished(system, project_id, truth)
    with system.ledger.transaction() as tx:
        assert labels.counts(tx, project_id).human == 60


def test_a_training_notes_what_it_says_of_every_label(finished: tuple[System, ProjectId]) -> None:
    system, project_id = finished
    with system.ledger.transaction() as tx:
        newest = rounds.curve(tx, project_id)[-1]
        checkpoint = rounds.checkpoint(tx, newest.checkpoint_id)
        trained = {e.image_id: e.position for e in labels.examples(tx, project_id, Split.POOL)}
        held_out = {e.image_id: e.position for e in labels.examples(tx, project_id, Split.HOLDOUT)}
    noted = arrays.load(system.store, checkpoint.key + OPINIONS)
    assert dict(zip(noted["image"].tolist(), noted["given"].tolist(), strict=True)) == trained | held_out
    unseen = set(noted["image"][noted["unseen"]].tolist())
    assert set(held_out) < unseen, "the holdout is never trained on"
    assert len(unseen - set(held_out)) == pytest.approx(len(trained) / 5, abs=1), "a fifth is set aside for calibration"
    of_holdout = noted[np.isin(noted["image"], list(held_out))]
    accuracy = float((of_holdout["said"] == of_holdout["given"]).mean())
    assert accuracy == pytest.approx(newest.metrics["accuracy"])
    assert sorted(noted["doubt"][noted["doubt"] >= 0].tolist()) == list(range(int((noted["doubt"] >= 0).sum())))
