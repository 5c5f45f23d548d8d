"""What becomes of a training that is killed, cancelled, or whose memory runs out, over the real services."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import DigitsProject, Running, digits_project, oracle, project_state, running
from tests.e2e.test_loop import finish, local_env
from tests.waiting import wait_for

LONG = {"epochs": 500, "folds": 0, "augment": "none"}
"""Some ten seconds on the forty digits that are labelled."""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return local_env(tmp_path) | {"WINNOW_TRAINER_JOURNAL_S": "0.3"}


def in_training(stack: Running, epochs: int = 100, **recipe: Any) -> DigitsProject:
    """A project of which so many epochs of the only training are done."""
    settings: dict[str, Any] = {
        "initial": 40,
        "batch_size": 40,
        "max_rounds": 1,
        "epochs": None,
        "recipe": LONG | recipe,
    }
    project = digits_project(stack, pool=100, holdout=40, **settings)
    oracle(stack, project, "ann").run(lambda: bool(training(stack)))
    wait_for(lambda: (training(stack).get("detail") or {}).get("epoch", 0) >= epochs, f"{epochs} epochs")
    return project


def training(stack: Running) -> dict[str, Any]:
    rows = stack.rows("SELECT id, state, error, attempts, fence, detail FROM jobs WHERE kind = 'train'")
    return rows[0] if rows else {}


def history(stack: Running) -> list[int]:
    (row,) = stack.rows("SELECT metrics FROM checkpoints")
    return [report["epoch"] for report in row["metrics"]["history"]]


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "logs" / "trainer.log").read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


def children_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        if fields.get("PPid") == str(pid):
            found.append(int(status.parent.name))
    return found


def test_a_trainer_that_is_killed_leaves_a_training_that_goes_on(
    migrated_database_url: str, tmp_path: Path, env: dict[str, str]
) -> None:
    with running(migrated_database_url, env, tmp_path) as stack:
        project = in_training(stack)
        for _ in range(2):
            stack.kill("trainer")
            before = training(stack)["fence"]
            wait_for(lambda before=before: training(stack)["fence"] > before, "the training to be taken up")  # type: ignore[misc]
            wait_for(
                lambda: (
                    training(stack)["state"] == "done" or (training(stack).get("detail") or {}).get("epoch", 0) > 120
                ),
                "it to go on",
            )
        finish(stack, project)
        assert history(stack) == list(range(1, 501)), "every epoch was done, each once"
        assert events(tmp_path, "training.resumed")
        left = [path for path in (tmp_path / "objects").rglob("*") if "trainings" in path.parts and path.is_file()]
        assert not left, "what lets a training go on goes when it is done"


def test_the_training_process_alone_is_killed_and_the_worker_tries_again(
    migrated_database_url: str, tmp_path: Path, env: dict[str, str]
) -> None:
    with running(migrated_database_url, env, tmp_path) as stack:
        project = in_training(stack)
        servers = children_of(stack.processes.process("trainer").pid)
        (child,) = [pid for server in servers for pid in children_of(server)]
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: training(stack)["fence"] > 1, "the next attempt")
        finish(stack, project)
        assert history(stack) == list(range(1, 501))
        assert training(stack)["attempts"] == 2
        (failed,) = events(tmp_path, "job.retried")
        assert "died with exit code -9" in failed["error"]


def test_a_cancelled_training_ends_at_once_and_goes_on_when_it_is_asked_for_again(
    migrated_database_url: str, tmp_path: Path, env: dict[str, str]
) -> None:
    with running(migrated_database_url, env, tmp_path) as stack, stack.client() as client:
        project = in_training(stack)
        client.cancel_job(project.id, training(stack)["id"])
        row = training(stack)
        assert row["state"] == "dead" and row["error"].startswith("cancelled by key:")
        wait_for(lambda: bool(events(tmp_path, "job.interrupted")), "the worker to let go")
        client.requeue(project.id)
        finish(stack, project)
        assert history(stack) == list(range(1, 501))
        assert events(tmp_path, "training.resumed")
        assert project_state(stack, project) == "finished"
