"""What is written for Prometheus and Grafana, read for the tests, and the names of the metrics that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from shared.db.gauges import ProjectGauges, Reading, WebhookGauges
from shared.gauges import database_metrics
from shared.gpu import GpuGauges

ROOT = Path(__file__).parents[1]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "winnow.json"
OTHERS = frozenset(
    {
        "up",  # Prometheus' own
        "ALERTS",
        "rabbitmq_queue_messages",  # RabbitMQ, at /metrics/per-object with the queue's name
        "rabbitmq_alarms_memory_used_watermark",  # RabbitMQ, at /metrics
        "rabbitmq_alarms_free_disk_space_watermark",
    }
)
"""Metrics of others that rules and panels may use."""
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
_NO_METRIC = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(by|on|ignoring|group_left|group_right|without)\s*\([^)]*\)')
_WORDS = frozenset({"and", "or", "unless", "bool", "offset"})
_GRAFANA = {"$__rate_interval": "5m", "$project": ".*"}


@dataclass(frozen=True, kw_only=True)
class Alert:
    name: str
    expr: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def alerts() -> list[Alert]:
    rules = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    return [
        Alert(name=r["alert"], expr=r["expr"], labels=r["labels"], annotations=r["annotations"])
        for group in rules["groups"]
        for r in group["rules"]
    ]


def tested_alerts() -> list[str]:
    return [test["name"] for test in yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]]


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def panel_queries() -> list[str]:
    """As Prometheus gets them: Grafana's variables are filled in."""
    found = [str(target["expr"]) for panel in panels() for target in panel.get("targets", [])]
    for variable, value in _GRAFANA.items():
        found = [expr.replace(variable, value) for expr in found]
    return found


def metrics_in(expr: str) -> set[str]:
    """The names of metrics in an expression: all that is neither a label, a string, a function nor a word of PromQL."""
    bare = _NO_METRIC.sub(" ", expr)
    return {word for word in re.findall(r"\b[A-Za-z_]\w*\b(?!\s*\()", bare) if word not in _WORDS}


class SampleGauges(Collector):
    """What ``shared.gauges`` and ``shared.gpu`` say of a database with one project in it."""

    def collect(self) -> Iterator[Metric]:
        project = ProjectGauges(
            id=1, name="cats", state="running", tasks_open=1, tasks_leased=0, round=1, labels=1, accuracy=0.5
        )
        told = WebhookGauges(working=1, failing=0, disabled=0, failing_s=0.0, oldest_due_s=0.0)
        reading = Reading(jobs={}, oldest_due_s={}, projects=[project], schema=1, backup_at=0.0, webhooks=told)
        yield from database_metrics(reading)
        yield from GpuGauges().collect()


def exported() -> set[str]:
    """The names of every series that a process of Winnow can export."""
    return {name for metric in (*REGISTRY.collect(), *SampleGauges().collect()) for name in _names(metric)}


def _names(metric: Metric) -> list[str]:
    return [metric.name + suffix for suffix in _SUFFIXES.get(metric.type, ("",))]
