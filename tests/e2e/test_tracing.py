"""One answer's id leads through every service's log, and every service shows its metrics."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.running import digits_project, oracle, project_state, running
from tests.e2e.test_loop import local_env
from winnow.processes import SERVICES


def lines(folder: Path) -> list[Mapping[str, Any]]:
    """Every service's log, in the order of time. Each line of it must be JSON and say whose it is."""
    found = []
    for service in SERVICES:
        for line in (folder / "logs" / f"{service}.log").read_text().splitlines():
            record = json.loads(line)
            assert record["service"] == service
            found.append(record)
    return sorted(found, key=lambda record: str(record["timestamp"]))


def metrics(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def story(log: Sequence[Mapping[str, Any]], kind: str) -> set[tuple[str, str, str]]:
    """All that bears the trace of the first job of this kind: services, events, kinds of job."""
    queued = next(line for line in log if line["event"] == "job.queued" and line["job_kind"] == kind)
    same = [line for line in log if line.get("trace_id") == queued["trace_id"]]
    return {(line["service"], line["event"], line.get("job_kind", "")) for line in same}


def test_one_id_leads_through_the_logs_of_all_services_and_every_door_shows_metrics(
    migrated_database_url: str, tmp_path: Path
) -> None:
    with running(migrated_database_url, local_env(tmp_path), tmp_path) as stack:
        project = digits_project(
            stack, pool=60, holdout=20, initial=10, batch_size=10, max_rounds=2, shard_size=40, epochs=2
        )
        oracle(stack, project, "ann").run(lambda: project_state(stack, project) == "finished")
        api, ui = metrics(stack.api_url), metrics(stack.ui_url)
    log = lines(tmp_path)
    assert {("api", "http.request", ""), ("api", "job.queued", "embed"), ("scorer", "job.done", "embed")} <= story(
        log, "embed"
    ), "a request of a client, and the work that it began elsewhere"
    assert {
        ("trainer", "job.done", "train"),
        ("trainer", "job.queued", "score"),
        ("scorer", "job.done", "score"),
        ("scorer", "job.queued", "select"),
        ("scorer", "job.done", "select"),
    } <= story(log, "train"), "a training, and all that follows from it"
    assert "winnow_database_up 1.0" in api
    assert f'winnow_project_accuracy_ratio{{project="{project.id}"}}' in api
    assert 'winnow_labels_total{project="1",source="human"} 20.0' in ui
    assert "winnow_task_held_seconds_count 20.0" in ui
