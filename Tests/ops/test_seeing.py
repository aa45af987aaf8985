"""What operators see, seen by a real Prometheus on a real stack."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from Tests.ops.conftest import Seen, pushes
from Tests.ops.page import PAGE, families, made, scrapes
from Tests.ops.test_alert_rules import alerts
from Tests.ops.test_dashboard import panels
from Tests.system.waiting import until

OURS = re.compile(r"\b(?:bgagent_\w+|process_\w+|up)\b(?!\s*=)")
# What a healthy stack must never even be about to complain of.
QUIET = (
    "BgagentServiceMissing",
    "BgagentReplicaDown",
    "BgagentNotReady",
    "BgagentNobodyLeads",
    "BgagentAdmissionStuck",
    "BgagentNoPlaces",
    "BgagentNodeSilent",
    "BgagentTimersLate",
    "BgagentOutboxOld",
    "BgagentShardsUnowned",
    "BgagentUnroutable",
    "BgagentDeadLetters",
    "BgagentParkedOld",
    "BgagentChannelLate",
    "BgagentDeliveriesDead",
    "BgagentModelRefusesKey",
    "BgagentPoolExhausted",
    "BgagentDescriptors",
    "BgagentVersionsDiffer",
)


def queries() -> Iterator[tuple[str, str]]:
    """Every query of the dashboard with its panel, as Grafana would send it."""
    for panel in panels():
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "10m").replace("$service", ".*")
            yield f"{panel['title']} {target['refId']}", expression


def test_every_query_of_the_dashboard_finds_data(seen: Seen) -> None:
    asked = list(queries())
    assert len(asked) > 60
    empty = [f"{name}: {expression}" for name, expression in asked if not seen.prometheus.query(expression)]
    assert empty == []


def test_every_alert_is_understood_and_speaks_of_metrics_that_exist(seen: Seen) -> None:
    rules = seen.prometheus.rules()
    assert set(rules) == set(alerts())
    names = seen.prometheus.names()
    for name, rule in rules.items():
        assert (rule["health"], rule.get("lastError", "")) == ("ok", ""), name
        unquoted = re.sub(r'"[^"]*"', '""', rule["query"])
        used = set(OURS.findall(unquoted))
        assert used, name
        assert used <= names, f"{name} speaks of {used - names}"


def test_a_healthy_stack_is_quiet(seen: Seen) -> None:
    rules = seen.prometheus.rules()
    loud = {name: rules[name]["alerts"] for name in QUIET if rules[name]["state"] != "inactive"}
    assert loud == {}


def test_numbers_are_those_of_the_database(seen: Seen) -> None:
    stack, value = seen.stack, seen.prometheus.value
    facts = stack.rows(
        """
        SELECT (SELECT count(*) FROM tasks WHERE is_final(status)) AS ended,
            (SELECT count(*) FROM tasks WHERE NOT is_final(status)) AS open,
            (SELECT count(*) FROM task_events WHERE event_type = 'attempt_lost') AS lost,
            (SELECT count(*) FROM effects WHERE kind = 'notification' AND state = 'sent') AS sent,
            (SELECT sum(cost_usd)::float8 FROM task_heads) AS cost,
            (SELECT count(*) FROM task_events WHERE event_type = 'task_failed'
                AND metadata -> 'error' ->> 'code' = 'verification_failed') AS red
        """
    )[0]
    assert facts["open"] == 1
    assert value("sum(bgagent_tasks_ended_total)") == facts["ended"]
    assert value('sum(bgagent_tasks_ended_total{code="verification_failed"})') == facts["red"] == 1
    assert value("sum(bgagent_tasks)") == facts["open"]
    assert value('bgagent_events_total{type="attempt_lost"}') == facts["lost"] == 1
    assert value('sum(bgagent_deliveries_total{result="sent"})') == facts["sent"]
    assert value("sum(bgagent_git_pushes_total)") == pushes(stack)
    assert value("sum(bgagent_model_cost_usd_total)") == pytest.approx(facts["cost"], abs=1e-6)
    assert value("bgagent_slots_used") == value("sum(bgagent_sandboxes)") == 1
    assert value('bgagent_repo_slots_limit{repo="acme/waits"}') == 2
    assert value('bgagent_sandbox_starts_total{result="started"}') == value("bgagent_admitted_total - 1")


def test_faults_are_counted(seen: Seen) -> None:
    value = seen.prometheus.value
    assert value('sum(bgagent_deliveries_total{channel="slack", result=~"retry|unknown"})') == 1
    assert value('sum(bgagent_model_requests_total{status="429"})') == 2
    assert (value('bgagent_model_refusals_total{type="budget_exhausted"}') or 0) >= 1
    assert value("bgagent_sandboxes_lost_total") == 1
    assert (value('bgagent_git_pushes_total{verdict="refused"}') or 0) >= 1
    assert (value('sum(bgagent_http_request_seconds_count{service="gateway", status="404"})') or 0) >= 1


def test_no_label_names_a_task_or_a_person(seen: Seen) -> None:
    for service, scrape in scrapes(seen.stack).items():
        for line in scrape.splitlines():
            if line.startswith("#"):
                continue
            assert not re.search(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b", line), f"{service}: {line}"
            assert not re.search(r'"(ada|grace|alan|admin)"', line), f"{service}: {line}"
        assert len(scrape.splitlines()) < 2_500, f"{service} has too many series"


def test_the_page_of_metrics_is_what_the_services_expose(seen: Seen) -> None:
    page = made(families(scrapes(seen.stack)))
    if os.environ.get("BGAGENT_WRITE_PAGES"):
        PAGE.write_text(page)
    assert page == PAGE.read_text(), "docs/metrics.md: run this test once with BGAGENT_WRITE_PAGES=1"


def test_a_relay_that_hangs_is_told(seen: Seen) -> None:
    stack, prometheus = seen.stack, seen.prometheus

    def named() -> bool:
        found = prometheus.rules()["BgagentServiceMissing"]["alerts"]
        return [one["labels"]["service"] for one in found] == ["relay"]

    stack.script("stack", "freeze", "relay")
    try:
        until("the relay is missed", named, 60)
        seen.stack.cli("cancel", seen.waiting.task_id, user="ada")
        # Nobody else publishes: what the cancel said waits, and its age is told although the relay is frozen.
        until("the outbox grows old", lambda: (prometheus.value("bgagent_outbox_age_seconds") or 0) > 3, 60)
    finally:
        stack.script("stack", "thaw", "relay")
    until("the relay is back", lambda: not prometheus.rules()["BgagentServiceMissing"]["alerts"], 60)
    until("the outbox is empty", lambda: prometheus.value("bgagent_outbox_rows") == 0, 60)
