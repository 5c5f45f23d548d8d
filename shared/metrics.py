"""Every metric that a process of Winnow counts itself, in one place. docs/observability.md lists them for operators.

Names follow Prometheus: ``_total`` counts up, ``_seconds``, ``_bytes`` and ``_ratio`` name the unit, ``_timestamp``
is a moment. No label grows with the number of processes, users, images or jobs; Prometheus adds ``instance`` itself.
What only the database knows is in ``shared.gauges``.
"""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram, Info, disable_created_metrics

from shared.domain import JobKind

disable_created_metrics()  # type: ignore[no-untyped-call]  # half of all series, and nobody asks when a counter began

_PEOPLE_S = (0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 600, 1800)

BUILD = Info("winnow_build", "The version of this process and the migration that its code was written for.")

# Work
JOBS_QUEUED = Counter("winnow_jobs_queued_total", "Jobs asked for.", ["kind"])
JOBS_FINISHED = Counter("winnow_jobs_finished_total", "Jobs that ended, by kind and outcome.", ["kind", "outcome"])
JOB_SECONDS = Histogram(
    "winnow_job_seconds",
    "Time from claim to end of a job.",
    ["kind"],
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600, 4 * 3600),
)
JOB_LEASES_EXPIRED = Counter(
    "winnow_job_leases_expired_total", "Jobs taken back from workers that went silent.", ["kind"]
)
for _kind in JobKind:  # whoever sweeps counts these: they are there from the start, as a rate needs a first value
    JOB_LEASES_EXPIRED.labels(_kind.value)
WAKEUPS_LOST = Counter("winnow_wakeups_lost_total", "Wake-ups that the bus did not take; the sweeper sends them again.")
SWEPT_AT = Gauge("winnow_sweep_last_timestamp_seconds", "When this process last finished a sweep; 0 if it never did.")

# Workers. Only a worker has these series: one for each kind of job that it serves.
WORKER_BUSY = Gauge("winnow_worker_busy", "1 while this worker runs a job of this kind.", ["kind"])
WORKER_CONNECTED = Gauge("winnow_worker_bus_connected", "1 while this worker hears wake-ups for this kind.", ["kind"])

# Images and models
IMAGES_INGESTED = Counter("winnow_images_ingested_total", "Uploaded files, by result.", ["result"])
IMAGES_EMBEDDED = Counter("winnow_images_embedded_total", "Images decoded into a shard's pack, by result.", ["result"])
for _result in ("ready", "unreadable"):
    IMAGES_EMBEDDED.labels(_result)
IMAGES_SCORED = Counter("winnow_images_scored_total", "Images for which probabilities were computed.")
IMAGES_PREDICTED = Counter("winnow_images_predicted_total", "Pictures that callers asked about, by result.", ["result"])
for _result in ("predicted", "failed"):
    IMAGES_PREDICTED.labels(_result)
TRAINING_EPOCH = Gauge("winnow_training_epoch", "Epochs done of the last training here.", ["project"])
TRAINING_LOSS = Gauge("winnow_training_loss", "Loss on the training images after the last epoch.", ["project"])
TRAINING_ACCURACY = Gauge(
    "winnow_training_accuracy_ratio", "Accuracy on the training images, as augmented, in the last epoch.", ["project"]
)
TRAININGS_DIVERGED = Counter("winnow_trainings_diverged_total", "Trainings ended because the loss was not finite.")

# People
TASKS_LEASED = Counter("winnow_tasks_leased_total", "Tasks handed to annotators.")
TASKS_ANSWERED = Counter("winnow_tasks_answered_total", "Answers, by outcome.", ["outcome"])
TASK_LEASES_EXPIRED = Counter("winnow_task_leases_expired_total", "Tasks taken back from annotators who went away.")
TASK_HELD_SECONDS = Histogram(
    "winnow_task_held_seconds", "From lease to answer, time in the page's queue included.", buckets=_PEOPLE_S
)
TASK_ANSWER_SECONDS = Histogram(
    "winnow_task_answer_seconds", "How long a person looked at a task, as their page measured it.", buckets=_PEOPLE_S
)
LABELS = Counter("winnow_labels_total", "Labels written, by source.", ["project", "source"])

# Webhooks
WEBHOOK_ATTEMPTS = Counter(
    "winnow_webhook_attempts_total", "Attempts at deliveries of webhooks, by result.", ["result"]
)
for _result in ("delivered", "failed"):
    WEBHOOK_ATTEMPTS.labels(_result)
WEBHOOK_SECONDS = Histogram(
    "winnow_webhook_seconds", "Time of an attempt, from resolving the name to the answer's end."
)
WEBHOOKS_DISABLED = Counter("winnow_webhooks_disabled_total", "Endpoints that were disabled because they failed.")

# Doors
HTTP_SECONDS = Histogram("winnow_http_seconds", "Time of a request.", ["service", "method", "route", "status"])
POOL_IN_USE = Gauge("winnow_database_pool_in_use", "Database connections of this process that are in use.")
POOL_SIZE = Gauge("winnow_database_pool_size", "Database connections that this process may use at once.")


def describe_build(schema: int) -> None:
    """Say which code this is. ``schema``: the number of the newest migration it knows."""
    BUILD.info({"version": version("winnow"), "schema": str(schema)})
