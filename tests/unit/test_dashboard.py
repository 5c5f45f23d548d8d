"""The Grafana dashboard: whole, in order, and asking only for what there is."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import deployed
from tests.servers import promtool

PROVISIONING = deployed.ROOT / "deploy" / "grafana" / "provisioning"


def test_panels_have_ids_and_titles_of_their_own() -> None:
    panels = deployed.panels()
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)


def test_no_panel_lies_over_another_or_beyond_the_edge() -> None:
    places = [panel["gridPos"] for panel in deployed.panels()]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert [(a, b) for a, b in combinations(places, 2) if _overlap(a, b)] == []


def test_every_panel_but_a_row_asks_the_provisioned_source() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    for panel in deployed.panels():
        if panel["type"] != "row":
            assert panel["targets"], panel["title"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}


def test_grafana_finds_the_dashboard_where_the_provisioning_says() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "winnow.yml").read_text())["providers"]
    assert Path(provider["options"]["path"]).name == deployed.DASHBOARD.parent.name
    assert json.loads(deployed.DASHBOARD.read_text())["uid"] == "winnow"


@pytest.mark.parametrize("expr", deployed.panel_queries())
def test_a_panel_asks_only_for_metrics_that_exist(expr: str) -> None:
    used = deployed.metrics_in(expr)
    assert used, "it asks for something"
    assert used <= deployed.exported() | deployed.OTHERS


def test_prometheus_can_read_every_query(promtool_installed: None, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(deployed.panel_queries())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert promtool.run("check", "rules", tmp_path / "rules.yml") is None


def _overlap(a: dict[str, Any], b: dict[str, Any]) -> bool:
    apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
    return not (apart_x or apart_y)
