"""SIGTERM in the middle of work: the process ends well, and somebody else does the work."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.e2e.running import Running, assert_nothing_lost_or_doubled, digits_project, oracle, running
from tests.e2e.test_loop import finish, local_env
from tests.waiting import wait_for


def running_jobs(stack: Running, kind: str) -> int:
    (row,) = stack.rows(f"SELECT count(*) AS n FROM jobs WHERE kind = '{kind}' AND state = 'running'")
    return int(row["n"])


def test_a_training_is_given_back_and_done_by_the_next_trainer(migrated_database_url: str, tmp_path: Path) -> None:
    with running(migrated_database_url, local_env(tmp_path), tmp_path) as stack:
        # Thousands of epochs: this training is in the middle whenever it is looked at.
        project = digits_project(stack, pool=200, holdout=50, initial=30, batch_size=30, label_budget=60, epochs=1000)
        annotator = oracle(stack, project, "ann")
        done = threading.Event()
        thread = annotator.in_thread(done.is_set)
        wait_for(lambda: running_jobs(stack, "train") == 1, "a training")
        trainer = stack.processes.process("trainer")
        trainer.terminate()
        assert trainer.wait(60) == 0, "told to stop, it ends well"
        (job,) = stack.rows("SELECT state, attempts, worker FROM jobs WHERE kind = 'train'")
        assert job == {"state": "queued", "attempts": 0, "worker": None}, "given back at once, at no cost"
        with stack.client() as client:
            client.set_settings(project.id, {"epochs": 5})
        finish(stack, project)
        done.set()
        thread.join(30)
        assert_nothing_lost_or_doubled(stack, project, 60)


def test_every_service_ends_well_when_told_to(migrated_database_url: str, tmp_path: Path) -> None:
    with running(migrated_database_url, local_env(tmp_path), tmp_path) as stack:
        for name in ("trainer", "scorer"):
            wait_for(lambda n=name: "worker.started" in stack.processes.log_tail(n), f"{name} to listen")  # type: ignore[misc]
        for name in ("api", "ui", "trainer", "scorer"):
            process = stack.processes.process(name)
            process.terminate()
            assert process.wait(60) == 0, f"{name}:\n{stack.processes.log_tail(name)}"
