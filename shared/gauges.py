"""What only the database knows, as Prometheus gauges: queues, dead jobs, open tasks, rounds, the last backup.

Any number of processes may export these; all say the same, so rules take the ``max``. A scrape runs a handful of
cheap queries at most every ``CACHE_S`` seconds. When the database can't be asked, the scrape still succeeds and says
``winnow_database_up 0``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import product

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.db import gauges as rows
from shared.db.gauges import Reading, WebhookGauges
from shared.db.pool import Database
from shared.domain import JobKind, JobState, TaskState
from shared.errors import WinnowError
from shared.telemetry import logger

log = logger(__name__)
CACHE_S = 5.0
_WAIT_S = 2.0
"""A scrape has seconds, not the half minute that a request may wait for a connection."""
_JOB_STATES = (JobState.QUEUED, JobState.RUNNING, JobState.DEAD)


class DatabaseGauges(Collector):
    """Thread-safe. Simultaneous scrapes share one reading."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._reading = threading.Lock()
        self._read_at = float("-inf")
        self._last: Reading | None = None

    def collect(self) -> Iterator[Metric]:
        """Never raises: a database that can't be asked is itself the news."""
        yield from database_metrics(self._latest())

    def _latest(self) -> Reading | None:
        with self._reading:
            if self._clock() - self._read_at >= CACHE_S:
                self._last = self._read()
                self._read_at = self._clock()
            return self._last

    def _read(self) -> Reading | None:
        try:
            with self._database.transaction(wait_s=_WAIT_S) as tx:
                return rows.read(tx)
        except WinnowError as error:
            log.warning("gauges.unread", error=str(error))
            return None


def database_metrics(reading: Reading | None) -> Iterator[Metric]:
    """The reading as Prometheus sees it; None: the database could not be asked.

    Kinds and states without rows are there as 0, as an absent series hides much.
    """
    up = GaugeMetricFamily("winnow_database_up", "1 if the database answered.")
    up.add_metric([], float(reading is not None))
    yield up
    if reading is None:
        return
    yield from _jobs(reading)
    yield from _projects(reading)
    yield from _webhooks(reading.webhooks)
    schema = GaugeMetricFamily("winnow_database_schema", "The newest migration that the database has.")
    schema.add_metric([], reading.schema)
    yield schema
    backup = GaugeMetricFamily(
        "winnow_backup_last_timestamp_seconds", "When the last backup was finished; absent if there never was one."
    )
    if reading.backup_at is not None:
        backup.add_metric([], reading.backup_at)
    yield backup


def _jobs(reading: Reading) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("winnow_jobs", "Jobs that have not ended well, by state.", labels=["kind", "state"])
    for kind, state in product(JobKind, _JOB_STATES):
        jobs.add_metric([kind.value, state.value], reading.jobs.get((kind.value, state.value), 0))
    yield jobs
    oldest = GaugeMetricFamily(
        "winnow_jobs_oldest_due_seconds", "How long the oldest queued job has been due; 0 if none is.", labels=["kind"]
    )
    for kind in JobKind:
        oldest.add_metric([kind.value], reading.oldest_due_s.get(kind.value, 0.0))
    yield oldest


def _projects(reading: Reading) -> Iterator[Metric]:
    info = GaugeMetricFamily("winnow_project_info", "Always 1; names a project.", labels=["project", "name", "state"])
    running = GaugeMetricFamily("winnow_project_running", "1 while a project runs.", labels=["project"])
    tasks = GaugeMetricFamily("winnow_tasks", "Live tasks, by state.", labels=["project", "state"])
    number = GaugeMetricFamily("winnow_project_round", "Number of the newest round.", labels=["project"])
    known = GaugeMetricFamily(
        "winnow_project_labels", "Labels of the pool that the newest round knew of.", labels=["project"]
    )
    accuracy = GaugeMetricFamily(
        "winnow_project_accuracy_ratio", "Accuracy of the newest model on the holdout.", labels=["project"]
    )
    for project in reading.projects:
        name = str(project.id)
        info.add_metric([name, project.name, project.state], 1)
        running.add_metric([name], float(project.state == "running"))
        tasks.add_metric([name, TaskState.OPEN.value], project.tasks_open)
        tasks.add_metric([name, TaskState.LEASED.value], project.tasks_leased)
        if project.round is not None:
            number.add_metric([name], project.round)
            known.add_metric([name], project.labels or 0)
        if project.accuracy is not None:
            accuracy.add_metric([name], project.accuracy)
    yield from (info, running, tasks, number, known, accuracy)


def _webhooks(told: WebhookGauges) -> Iterator[Metric]:
    endpoints = GaugeMetricFamily("winnow_webhook_endpoints", "Webhooks, by how they do.", labels=["state"])
    for state in ("working", "failing", "disabled"):
        endpoints.add_metric([state], getattr(told, state))
    yield endpoints
    failing = GaugeMetricFamily(
        "winnow_webhook_failing_seconds", "How long the webhook that has failed longest did nothing else; 0 if none."
    )
    failing.add_metric([], told.failing_s)
    yield failing
    oldest = GaugeMetricFamily(
        "winnow_webhook_oldest_due_seconds", "How long a message to a webhook that works has been due; 0 if none is."
    )
    oldest.add_metric([], told.oldest_due_s)
    yield oldest
