"""The dashboard as a file: what Grafana needs to show it, and that it is what its table of panels says."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from Tests.system.world import ROOT

DASHBOARD = ROOT / "ops/grafana/dashboard.json"
UNITS = {"short", "s", "ops", "reqps", "bytes", "percentunit", "currencyUSD"}
SUBJECTS = (
    "Tasks and queue",
    "Slots and nodes",
    "Agents",
    "Model",
    "Bus and outbox",
    "Notifications",
    "HTTP",
    "Processes and database",
)


def panels() -> list[dict[str, Any]]:
    """All panels, rows included."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def test_the_dashboard_is_what_its_panels_say() -> None:
    subprocess.run([ROOT / "ops/make-dashboard", "--check"], check=True, timeout=60)


def test_every_panel_has_what_grafana_needs() -> None:
    shown = [panel for panel in panels() if panel["type"] != "row"]
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    assert {row["title"] for row in panels() if row["type"] == "row"} >= set(SUBJECTS)
    for panel in shown:
        name = panel["title"]
        assert panel["type"] in ("timeseries", "stat"), name
        assert panel["description"].endswith("."), name
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, name
        references = [target["refId"] for target in panel["targets"]]
        assert references, name
        assert len(set(references)) == len(references), name
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, name


def test_no_panel_covers_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                assert other == panel["title"], f"{panel['title']} covers {other}"


def test_the_dashboard_asks_for_its_variables_only() -> None:
    whole = json.loads(DASHBOARD.read_text())
    known = {variable["name"] for variable in whole["templating"]["list"]}
    assert known == {"datasource", "service"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(whole["panels"])))
    assert used <= known | {"__rate_interval"}


def test_grafana_is_told_where_data_and_dashboard_are() -> None:
    folder = ROOT / "ops/grafana/provisioning"
    assert "type: prometheus" in (folder / "datasources/prometheus.yml").read_text()
    assert "path: /var/lib/grafana/dashboards" in (folder / "dashboards/bgagent.yml").read_text()
