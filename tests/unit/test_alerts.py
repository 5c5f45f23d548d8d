"""What operators are told: every rule is valid, fires when it should, and leads to a page that says what to do."""

from __future__ import annotations

import re

import pytest

from shared.health import exposition
from tests import deployed
from tests.servers import promtool

RUNBOOK = (deployed.ROOT / "docs" / "runbook.md").read_text()
OBSERVABILITY = (deployed.ROOT / "docs" / "observability.md").read_text()


def test_prometheus_accepts_the_configuration_and_the_rules(promtool_installed: None) -> None:
    assert promtool.run("check", "config", deployed.PROMETHEUS / "prometheus.yml") is None


def test_every_alert_fires_when_it_should_and_not_before(promtool_installed: None) -> None:
    assert promtool.run("test", "rules", deployed.PROMETHEUS / "rules_test.yml") is None


def test_every_alert_has_a_test() -> None:
    assert sorted(deployed.tested_alerts()) == sorted(alert.name for alert in deployed.alerts())


@pytest.mark.parametrize("alert", deployed.alerts(), ids=lambda alert: alert.name)
def test_an_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on(alert: deployed.Alert) -> None:
    assert alert.labels["severity"] in {"info", "warning", "critical"}
    assert alert.annotations["summary"] and alert.annotations["description"]
    assert alert.annotations["runbook"] == f"docs/runbook.md#{alert.name.lower()}"


def test_the_runbook_has_a_section_for_each_alert_and_for_no_other() -> None:
    assert re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE) == [alert.name for alert in deployed.alerts()]


@pytest.mark.parametrize("alert", deployed.alerts(), ids=lambda alert: alert.name)
def test_an_alert_asks_only_for_metrics_that_exist(alert: deployed.Alert) -> None:
    used = deployed.metrics_in(alert.expr)
    assert used, "it asks for something"
    assert used <= deployed.exported() | deployed.OTHERS


def test_every_metric_of_winnow_is_in_the_operators_table() -> None:
    ours = {name for name in deployed.exported() if name.startswith("winnow_")}
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours}
    assert {name for name in bare if f"`{name}`" not in OBSERVABILITY} == set()


def test_what_is_exported_follows_prometheus_conventions(promtool_installed: None) -> None:
    assert promtool.run("check", "metrics", text=exposition([deployed.SampleGauges()]).decode()) is None
