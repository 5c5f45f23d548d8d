"""Logs and metrics. Events have stable names (``job.claimed``) and carry ids; metrics are declared here, once."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram

from shared.settings import TelemetrySettings

JOBS_FINISHED = Counter("winnow_jobs_finished_total", "Jobs that ended, by kind and outcome.", ["kind", "outcome"])
JOB_SECONDS = Histogram(
    "winnow_job_seconds",
    "Time from claim to end of a job.",
    ["kind"],
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600, 4 * 3600),
)
IMAGES_INGESTED = Counter("winnow_images_ingested_total", "Uploaded files, by result.", ["result"])
IMAGES_SCORED = Counter("winnow_images_scored_total", "Images for which probabilities were computed.")
TASKS_LEASED = Counter("winnow_tasks_leased_total", "Tasks handed to annotators.")
TASKS_ANSWERED = Counter("winnow_tasks_answered_total", "Answers, by outcome.", ["outcome"])
HTTP_SECONDS = Histogram("winnow_http_seconds", "Time of a request.", ["service", "method", "route", "status"])
WORKER_BUSY = Gauge("winnow_worker_busy", "1 while this worker runs a job.", ["worker"])


def configure(service: str, settings: TelemetrySettings) -> None:
    """Send structlog and the standard library's logging to stdout in one form.

    Parameters
    ----------
    service : name bound to every line, such as ``trainer``.
    """
    timestamper = structlog.processors.TimeStamper(fmt="iso", utc=True)
    common: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        timestamper,
        structlog.processors.StackInfoRenderer(),
    ]
    final: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if settings.format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
    )
    structlog.configure(
        processors=[*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for noisy in ("urllib3", "PIL", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # it logs a traceback for what the adapter reports itself
    structlog.contextvars.bind_contextvars(service=service)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry ``logger=name`` and whatever ids are bound in this context."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return bound
