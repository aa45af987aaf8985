"""The alert rules: each with its runbook, firing on what it names and silent on a healthy platform."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from Tests.ops.cases import LOOKED_AT, cases, healthy
from Tests.system.world import ROOT

RULES = ROOT / "ops/prometheus/alerts.yml"
CASES = dict(cases())


def alerts() -> list[str]:
    """The names of all alerts in the order of the file."""
    return re.findall(r"^ +- alert: (\w+)$", RULES.read_text(), re.M)


def promtool(*words: str | Path) -> str:
    """Runs promtool; fails with what it says."""
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def group(name: str, series: dict[str, str], *expected: str) -> dict[str, Any]:
    """A test of promtool: exactly the expected alerts fire on these series."""
    look = {
        "expr": 'count by (alertname) (count by (alertname, service) (ALERTS{alertstate="firing"}))',
        "eval_time": LOOKED_AT,
        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in expected],
    }
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [look],
    }


def judge(folder: Path, *groups: dict[str, Any]) -> str:
    """What promtool says against these tests; nothing when all pass."""
    file = folder / "test.yml"
    # JSON is YAML.
    file.write_text(
        json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "5m", "tests": list(groups)})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", file], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode == 0) == ("SUCCESS" in done.stdout), done.stdout + done.stderr
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_prometheus_takes_the_rules_and_its_configuration() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", RULES)
    promtool("check", "config", ROOT / "ops/prometheus/prometheus.yml")


def test_every_alert_has_a_case_that_fires_it() -> None:
    assert len(set(alerts())) == len(alerts()) > 0
    assert {name for case in CASES.values() for name in case.alerts} == set(alerts())


def test_no_alert_fires_on_a_healthy_platform(tmp_path: Path) -> None:
    assert judge(tmp_path, group("healthy", healthy())) == ""


def test_each_alert_fires_on_what_it_names_and_on_nothing_else(tmp_path: Path) -> None:
    groups = [group(name, healthy() | case.wrong, *case.alerts) for name, case in CASES.items()]
    assert judge(tmp_path, *groups) == ""


def test_an_alert_that_does_not_fire_is_told(tmp_path: Path) -> None:
    name = "BgagentOutboxOld"
    assert name in judge(tmp_path, group("expected in vain", healthy(), name))
    assert name in judge(tmp_path, group("not expected", healthy() | CASES["outbox"].wrong))


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    text = RULES.read_text()
    blocks = dict(zip(alerts(), re.split(r"^ +- alert: \w+$", text, flags=re.M)[1:], strict=True))
    page = (ROOT / "docs/alerts.md").read_text()
    sections = dict(re.findall(r"^## (Bgagent\w+)\n\n(.+?)(?=^## |\Z)", page, re.M | re.S))
    for name, block in blocks.items():
        assert re.search(r"labels: \{severity: (critical|warning)\}", block), f"{name} has no severity"
        for part in ("summary", "description", "action"):
            assert re.search(rf"^ +{part}: \S.{{10,}}$", block, re.M), f"{name} has no {part}"
        assert f"runbook: docs/alerts.md#{name.lower()}\n" in block, f"{name} names no section"
        assert name in sections, f"docs/alerts.md has no section {name}"
        assert len(sections[name].split()) >= 30, f"the section {name} says too little"
    assert list(sections) == list(blocks), "docs/alerts.md has its sections in another order"
