"""Logs. Events have stable names (``job.claimed``) and carry ids. Metrics are in ``shared.metrics``."""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import MutableMapping
from typing import Any

import structlog

from shared.settings import TelemetrySettings


def configure(service: str, settings: TelemetrySettings) -> None:
    """Send structlog and the standard library's logging to stdout in one form.

    Parameters
    ----------
    service : name on every line, such as ``trainer``.
    """
    timestamper = structlog.processors.TimeStamper(fmt="iso", utc=True)

    def name_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service  # not a context variable: a new thread starts with none of those
        return event

    common: list[Any] = [
        structlog.contextvars.merge_contextvars,
        name_service,
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


def trace_id() -> str:
    """The id that ties together what is done here: that of the job or request under way, else a new one."""
    return str(structlog.contextvars.get_contextvars().get("trace_id") or uuid.uuid4().hex)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry ``logger=name`` and whatever ids are bound in this context."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return bound
