"""kill -9 of every service, once each, while people label."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.e2e.running import assert_nothing_lost_or_doubled, digits_project, oracle, running
from tests.e2e.test_loop import finish, local_env
from tests.waiting import wait_for

ANNOTATORS = 8
BUDGET = 240


def test_no_answer_is_lost_or_doubled_when_each_service_is_killed(migrated_database_url: str, tmp_path: Path) -> None:
    with running(migrated_database_url, local_env(tmp_path), tmp_path) as stack:
        project = digits_project(
            stack, pool=400, holdout=100, mode="rolling", initial=60, batch_size=60, label_budget=BUDGET
        )
        people = [oracle(stack, project, f"annotator-{n}") for n in range(ANNOTATORS)]
        done = threading.Event()
        threads = [person.in_thread(done.is_set) for person in people]

        def answered() -> int:
            stack.processes.tend()
            return sum(person.answered for person in people)

        for service, after in (("ui", 20), ("scorer", 60), ("trainer", 70), ("api", 120)):
            wait_for(lambda after=after: answered() >= after, f"{after} answers", 240)  # type: ignore[misc]
            stack.kill(service)
        finish(stack, project)
        done.set()
        for thread in threads:
            thread.join(30)
        assert_nothing_lost_or_doubled(stack, project, sum(person.answered for person in people))
        assert sum(person.answered for person in people) == BUDGET
        (live,) = stack.rows("SELECT count(*) AS n FROM tasks WHERE state IN ('open', 'leased')")
        assert live["n"] == 0, "the queue is empty"
