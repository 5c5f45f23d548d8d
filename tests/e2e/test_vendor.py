"""A vendor over the real services: the example, the script of its guide, and an api that is killed in mid-bulk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Retryable
from tests.e2e.running import DigitsProject, Running, digits_project, running
from tests.e2e.test_loop import local_env
from tests.integration.batch_support import vendor_key
from tests.waiting import wait_for
from tests.world import open_system
from winnow.client import Answer, Orders, Result, Vendor

ROOT = Path(__file__).parents[2]
VENDOR = "Acme"


@pytest.fixture
def stack(migrated_database_url: str, tmp_path: Path) -> Iterator[Running]:
    with running(migrated_database_url, local_env(tmp_path), tmp_path) as services:
        yield services


@pytest.fixture
def key(migrated_database_url: str, tmp_path: Path) -> str:
    with open_system(migrated_database_url, tmp_path / "other") as system:
        return vendor_key(system, VENDOR)


def full_batch(stack: Running, size: int, **settings: Any) -> tuple[DigitsProject, int]:
    """A project that asks ``size`` questions, and a batch that has them all."""
    project = digits_project(stack, pool=size + 20, holdout=10, initial=size, **settings)
    with stack.client() as client:
        orders = Orders(client, project.id)
        batch = int(orders.create("lot", VENDOR, size)["id"])
        orders.open(batch)

        def full() -> bool:
            stack.processes.tend()
            return bool(orders.get(batch)[0]["counts"]["open"] == size)

        wait_for(full, "the batch to be filled", 120)
    return project, batch


def state_of(stack: Running, project: DigitsProject, batch: int) -> Any:
    with stack.client() as client:
        return Orders(client, project.id).get(batch)[0]


def test_the_example_counts_what_it_should(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "vendor.py"), "--local", "--tasks", "120"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("vendor ok: 120 tasks, 120 labels, all right;")


def test_the_script_of_the_guide_works_off_a_batch(stack: Running, key: str) -> None:
    project, batch = full_batch(stack, 60)
    scripts = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "vendors.md").read_text(), re.DOTALL)
    (script,) = [one for one in scripts if "the batch has ended" in one]
    env = {**os.environ, "API": stack.api_url, "KEY": key, "BATCH": str(batch)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "the batch has ended\n"), done.stdout + done.stderr
    ended = state_of(stack, project, batch)
    assert (ended["state"], ended["counts"]["answered"]) == ("completed", 60)


def test_an_api_that_is_killed_in_mid_bulk_has_recorded_some_whole_and_the_rest_when_sent_again(
    stack: Running, key: str
) -> None:
    project, batch = full_batch(stack, 400)
    with Vendor(stack.api_url, key, tries=1) as vendor:
        lease = vendor.lease(batch, 400)
        given = [Answer(task_id=t.task_id, lease=lease.token or "", class_name="3") for t in lease.tasks]
        ends: list[object] = []

        def send() -> None:
            try:
                ends.append(vendor.submit(batch, given))
            except Retryable as error:
                ends.append(error)

        sending = threading.Thread(target=send)
        sending.start()
        wait_for(lambda: answered(stack) > 0, "the first answers", 60)
        stack.kill("api")
        sending.join(60)
        stack.processes.wait_ready({"api": stack.api_url})
    standing = answered(stack)
    assert isinstance(ends[0], Retryable) and 0 < standing < 400, "the api died on the way"
    whole = stack.rows("SELECT count(*) AS n FROM labels l JOIN annotations a ON a.id = l.annotation_id")[0]["n"]
    assert whole == standing, "each answer that is on record gave its label"
    with Vendor(stack.api_url, key, tries=10) as vendor:
        results: list[Result] = vendor.submit(batch, given)
    statuses = [one.status for one in results]
    assert (statuses.count("replayed"), statuses.count("accepted")) == (standing, 400 - standing)
    assert answered(stack) == 400 and state_of(stack, project, batch)["state"] == "completed"


def answered(stack: Running) -> int:
    return int(stack.rows("SELECT count(*) AS n FROM annotations WHERE undone_at IS NULL")[0]["n"])
