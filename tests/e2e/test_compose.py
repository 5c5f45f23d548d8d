"""The stack as teams run it. Skipped where there is no Docker, or the images can't be had."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.composed import SERVICES, Composed, compose_command, require_images
from tests.e2e.running import (
    PASSWORD,
    DigitsProject,
    assert_nothing_lost_or_doubled,
    digits_project,
    project_state,
)
from tests.servers import Unavailable
from tests.waiting import wait_for
from winnow.oracle import Oracle

LOOP_S = 600.0
SETTINGS: dict[str, Any] = {"initial": 40, "batch_size": 40, "label_budget": 120}
COUNTED = ("projects", "images", "tasks", "annotations", "labels", "checkpoints", "rounds")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    try:
        compose_command()
        require_images()
    except Unavailable as reason:
        pytest.skip(str(reason))
    composed = Composed(tmp_path_factory.mktemp("compose"))
    composed.make_secrets()
    try:
        composed.up()
        yield composed
    finally:
        composed.try_compose("down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="module")
def labelled(stack: Composed) -> DigitsProject:
    """A project that went through the whole loop while every container was killed once."""
    project = digits_project(stack, pool=300, holdout=100, **SETTINGS)
    stack.add_user("ann", PASSWORD)
    annotator = Oracle(stack.ui_url, "ann", PASSWORD, project.id, project.truth, ahead=10)
    done = threading.Event()
    thread = annotator.in_thread(done.is_set)
    for number, service in enumerate(SERVICES):
        at = (number + 1) * 10
        wait_for(lambda at=at: annotator.answered >= at, f"{at} answers\n{stack.logs()[-4000:]}", LOOP_S)  # type: ignore[misc]
        stack.kill(service)
    wait_for(lambda: project_state(stack, project) == "finished", "the project to finish", LOOP_S)
    done.set()
    thread.join(60)
    assert annotator.answered == 120
    return project


def counts(stack: Composed) -> dict[str, int]:
    parts = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in COUNTED)
    (row,) = stack.rows(f"SELECT {parts}")
    return {table: int(row[table]) for table in COUNTED}


def test_everything_is_healthy(stack: Composed) -> None:
    assert {service: stack.health(service) for service in SERVICES} == {service: ["healthy"] for service in SERVICES}


def test_one_port_is_open_from_outside(stack: Composed) -> None:
    published = {
        service: [port for port, bound in stack.inspect(one)["NetworkSettings"]["Ports"].items() if bound]
        for service in SERVICES
        for one in stack.containers(service)
    }
    assert {service: ports for service, ports in published.items() if ports} == {"caddy": ["8080/tcp"]}


@pytest.mark.parametrize("service", ["api", "ui", "trainer", "scorer", "caddy"])
def test_our_containers_are_not_root_and_cannot_write_their_root_file_system(stack: Composed, service: str) -> None:
    (container,) = stack.containers(service)
    assert stack.compose("exec", "-T", service, "id", "-u").strip() == "10001"
    assert stack.inspect(container)["HostConfig"]["ReadonlyRootfs"] is True


def test_metrics_stay_inside(stack: Composed) -> None:
    assert httpx.get(f"{stack.ui_url}/metrics").status_code == 404


def test_a_caller_without_credentials_is_asked_for_a_key(stack: Composed) -> None:
    answer = httpx.get(f"{stack.ui_url}/v1/projects")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_the_loop_survives_the_death_of_every_container(stack: Composed, labelled: DigitsProject) -> None:
    assert_nothing_lost_or_doubled(stack, labelled, 120)
    assert stack.rows("SELECT kind, error FROM jobs WHERE state = 'dead'") == []


def test_a_restart_of_everything_loses_nothing(stack: Composed, labelled: DigitsProject) -> None:
    before = counts(stack)
    stack.compose("restart")
    stack.wait_healthy()
    assert counts(stack) == before


def test_one_id_leads_through_the_logs_of_all_services(stack: Composed, labelled: DigitsProject) -> None:
    (job,) = stack.rows("SELECT id, trace_id FROM jobs WHERE kind = 'train' ORDER BY id LIMIT 1")
    lines = [line for line in stack.log_lines() if line.get("trace_id") == job["trace_id"]]
    assert {"job.queued", "job.claimed", "job.done"} <= {line["event"] for line in lines}
    assert {"trainer", "scorer"} <= {line["service"] for line in lines}


def test_scorers_can_be_added(stack: Composed) -> None:
    stack.compose("up", "-d", "--no-recreate", "--scale", "scorer=3")
    wait_for(lambda: stack.health("scorer") == ["healthy"] * 3, "three healthy scorers", 120)


def test_the_doctor_finds_nothing_wrong(stack: Composed, labelled: DigitsProject) -> None:
    assert "FAIL" not in stack.winnow("doctor")


def test_a_backup_brings_everything_back_after_the_volumes_are_gone(stack: Composed, labelled: DigitsProject) -> None:
    before = counts(stack)
    stack.winnow("backup", "/backups")
    stack.down(volumes=True)
    stack.compose("up", "-d", "postgres", "rabbitmq", "s3", seconds=300)
    stack.winnow("restore", "/backups")
    stack.up()
    assert counts(stack) == before
    assert_nothing_lost_or_doubled(stack, labelled, 120)
    with stack.client() as client:
        assert client.state(labelled.id)["labels"]["human"] == 120


def test_a_trivial_secret_is_refused_before_anything_starts(stack: Composed, tmp_path: Path) -> None:
    careless = Composed(tmp_path)
    careless.make_secrets()
    secret = tmp_path / "deploy" / "secrets" / "rabbitmq_api"
    secret.chmod(0o644)
    secret.write_text("guest")
    try:
        started = careless.try_compose("up", "-d", "--no-build", "postgres")
        assert started.returncode != 0
        assert careless.containers("postgres") == []
        assert "rabbitmq_api" in careless.logs("prepare")
    finally:
        careless.try_compose("down", "--volumes")
