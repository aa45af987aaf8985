"""What is written about metrics, held against the sources and compose.yaml; no service is needed for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from Tests.ops.cases import SERVICES as ALWAYS
from Tests.ops.page import BEGIN, END, PAGE
from Tests.system.world import ROOT, SERVICES

# How a metric is made in Swift: by its kind, or by the helper of the platform's gauges.
SWIFT = re.compile(
    r'\b(?P<kind>counter|gauges?|histogram|add)\(\s*(?:to: \w+,\s*)?"(?P<name>(?:bgagent|process)_\w+)"'
)
# The policy service writes its text itself: a name beside its kind, or kept for the lines of a histogram.
PYTHON = re.compile(r'"(?P<name>(?:bgagent|process)_\w+)",\s*"(?P<kind>counter|gauge|histogram)"')
NAMED = re.compile(r'^\s*name = "(?P<name>bgagent_\w+)"\n\s*lines = _head\(name, "(?P<kind>\w+)"', re.M)
POLICY_METRICS = ROOT / "services/policy/src/bgagent_policy/service/metrics.py"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|", re.M)
# A block of compose.yaml that is one of our services: it takes what holds for all of them.
BLOCK = re.compile(r"^  ([a-z-]+):\n    <<: \*service\n", re.M)


def found(pattern: re.Pattern[str], path: Path) -> Iterator[tuple[str, str]]:
    """Metrics that a file makes, each with its kind."""
    for match in pattern.finditer(path.read_text()):
        kind = match["kind"]
        yield match["name"], "gauge" if kind in ("gauges", "add") else kind


def in_sources() -> dict[str, str]:
    """Every metric that the sources make, and its kind."""
    made = [
        one
        for folder in ("shared", "services", "cli")
        for path in sorted((ROOT / folder).rglob("*.swift"))
        for one in found(SWIFT, path)
    ]
    for pattern in (PYTHON, NAMED):
        made += found(pattern, POLICY_METRICS)
    kinds = dict(made)
    differing = {name for name, kind in made if kinds[name] != kind}
    assert not differing, f"made as two kinds of metric: {differing}"
    return kinds


def in_table() -> dict[str, str]:
    """Every metric that the page lists, and its kind."""
    return dict(ROW.findall(PAGE.read_text().split(BEGIN)[1].split(END)[0]))


def scraped() -> list[str]:
    """The names that Prometheus is told to look for."""
    return re.findall(r"^ {10}- ([a-z-]+)$", (ROOT / "ops/prometheus/prometheus.yml").read_text(), re.M)


def in_compose() -> set[str]:
    """The services of compose.yaml that serve `/metrics`: all that stay."""
    return set(BLOCK.findall((ROOT / "compose.yaml").read_text())) - {"migrate"}


def test_every_metric_of_the_sources_is_on_the_page_and_no_other() -> None:
    sources, table = in_sources(), in_table()
    assert len(sources) > 60
    assert {"bgagent_tasks", "bgagent_ready", "bgagent_policy_decisions_total"} <= sources.keys()
    assert table == sources


def test_no_name_of_a_metric_is_written_in_a_way_that_is_not_seen_here() -> None:
    # A name that is built, or handed to another kind of function, would be missing on the page unnoticed.
    known = in_sources()
    other = {"process_substitution", "bgagent_policy", "bgagent_agent", "bgagent_task"}
    for folder, ending in (("shared", "swift"), ("services", "swift"), ("services/policy/src", "py")):
        for path in sorted((ROOT / folder).rglob(f"*.{ending}")):
            names = set(re.findall(r'"((?:bgagent|process)_[a-z_]+)"', path.read_text()))
            assert names <= known.keys() | other, path


def test_prometheus_looks_for_every_service_of_compose() -> None:
    names = scraped()
    assert len(set(names)) == len(names)
    assert set(names) == in_compose() == {*SERVICES, "engine-proxy"}


def test_a_service_without_which_nothing_works_is_missed() -> None:
    rules = (ROOT / "ops/prometheus/alerts.yml").read_text()
    rule = rules.split("- alert: BgagentServiceMissing\n")[1].split("for:")[0]
    needed = {service for service in SERVICES if not service.startswith("dispatch-")}
    assert set(re.findall(r'absent\(up\{job="bgagent", service="([a-z-]+)"\}\)', rule)) == needed
    alternatives = re.search(r'service=~"([a-z|-]+)"', rule)
    assert alternatives is not None
    assert set(alternatives[1].split("|")) == needed == set(ALWAYS)
