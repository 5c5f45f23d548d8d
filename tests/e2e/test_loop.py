"""The whole loop over the four services, in local mode and over RabbitMQ and S3."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tests.e2e.running import (
    DigitsProject,
    Running,
    assert_nothing_lost_or_doubled,
    digits_project,
    oracle,
    project_state,
    running,
)
from tests.servers.rabbit import RabbitServer
from tests.servers.s3 import S3Server
from tests.waiting import wait_for

LOOP_S = 300.0
SETTINGS: dict[str, Any] = {"initial": 40, "batch_size": 40, "label_budget": 120}


def local_env(folder: Path) -> dict[str, str]:
    return {
        "WINNOW_BUS_KIND": "local",
        "WINNOW_STORE_KIND": "disk",
        "WINNOW_STORE_PATH": str(folder / "objects"),
    }


def cluster_env(rabbit: RabbitServer, s3: S3Server, bucket: str) -> dict[str, str]:
    return {
        "WINNOW_BUS_KIND": "amqp",
        "WINNOW_BUS_URL": rabbit.url,
        "WINNOW_STORE_KIND": "s3",
        "WINNOW_STORE_ENDPOINT": s3.endpoint,
        "WINNOW_STORE_ACCESS_KEY": s3.access_key,
        "WINNOW_STORE_SECRET_KEY": s3.secret_key,
        "WINNOW_STORE_REGION": s3.region,
        "WINNOW_STORE_BUCKET": bucket,
    }


def finish(stack: Running, project: DigitsProject, seconds: float = LOOP_S) -> None:
    def finished() -> bool:
        stack.processes.tend()
        dead = stack.rows("SELECT kind, error FROM jobs WHERE state = 'dead'")
        assert not dead, f"{dead}\n{stack.logs()}"
        return project_state(stack, project) == "finished"

    try:
        wait_for(finished, "the project to finish", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{stack.logs()}") from None


def assert_learnt(stack: Running, project: DigitsProject) -> None:
    with stack.client() as client:
        state = client.state(project.id)
    accuracies = [point["metrics"]["accuracy"] for point in state["curve"]]
    assert [point["labels"] for point in state["curve"]] == [40, 80, 120]
    assert accuracies[-1] > 0.8, accuracies
    assert accuracies[-1] > accuracies[0], accuracies


def loop(stack: Running) -> None:
    project = digits_project(stack, pool=300, holdout=150, **SETTINGS)
    annotator = oracle(stack, project, "ann")
    done = threading.Event()
    thread = annotator.in_thread(done.is_set)
    finish(stack, project)
    done.set()
    thread.join(30)
    assert annotator.answered == 120
    assert_nothing_lost_or_doubled(stack, project, 120)
    assert_learnt(stack, project)


def test_the_loop_in_local_mode(migrated_database_url: str, tmp_path: Path) -> None:
    with running(migrated_database_url, local_env(tmp_path), tmp_path) as stack:
        loop(stack)


def test_the_loop_over_rabbitmq_and_s3(
    migrated_database_url: str, rabbit: RabbitServer, s3: S3Server, unique: str, tmp_path: Path
) -> None:
    with running(migrated_database_url, cluster_env(rabbit, s3, unique), tmp_path) as stack:
        loop(stack)


def test_the_broker_is_killed_in_the_middle_and_the_loop_finishes(
    migrated_database_url: str, killable_rabbit: RabbitServer, s3: S3Server, unique: str, tmp_path: Path
) -> None:
    with running(migrated_database_url, cluster_env(killable_rabbit, s3, unique), tmp_path) as stack:
        project = digits_project(stack, pool=300, holdout=150, **SETTINGS)
        annotator = oracle(stack, project, "ann")
        done = threading.Event()
        thread = annotator.in_thread(done.is_set)
        wait_for(lambda: annotator.answered >= 50, "the second round's answers", LOOP_S)
        killable_rabbit.kill()
        wait_for(lambda: annotator.answered >= 60, "people to go on answering while the broker is down", LOOP_S)
        killable_rabbit.start()
        finish(stack, project)
        done.set()
        thread.join(30)
        assert_nothing_lost_or_doubled(stack, project, annotator.answered)
        assert annotator.answered == 120
        assert_learnt(stack, project)
