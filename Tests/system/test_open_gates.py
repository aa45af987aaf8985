"""While a gate is open: time passes, services die, the agent dies. Only a person's yes lets the tool run.

The tool appends one line to a file, so the branch that was pushed shows how often it ran.
"""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from Tests.system.agents import harness
from Tests.system.conftest import Order
from Tests.system.jobs import End, Job, script
from Tests.system.test_outcomes import left
from Tests.system.test_steering import PATIENCE, asked
from Tests.system.waiting import instant, until
from Tests.system.world import SERVICES, Stack

GATED = script("gated")
GATES = ("--approval-gates", "yes")
WAITS = 90.0
# Longer than the platform takes to miss an agent, and to start the next.
NEXT_ATTEMPT = 120.0
HELD = """
SELECT t.status, s.state AS session, s.lease_until > clock_timestamp() AS leased, r.running AS repo_slots,
    u.running > 0 AS has_slot
FROM tasks t JOIN sessions s USING (task_id, attempt) JOIN repo_concurrency r USING (repo)
    JOIN user_concurrency u USING (user_id)
WHERE t.task_id = %s
"""
AS_HELD = {
    "status": "AWAITING_APPROVAL",
    "session": "running",
    "leased": True,
    "repo_slots": 1,
    "has_slot": True,
}


def gate(stack: Stack, job: Job, but: str = "", seconds: float = PATIENCE) -> str:
    """The gate that is open, other than one that is known."""

    def look() -> str | None:
        found = asked(stack, "pending", "--task", job.task_id, user=job.user)
        open_ = [item for item in found if item["kind"] == "approval" and item["id"] != but]
        assert all(item["request"]["rule_ids"] == ["write_env_files"] for item in open_), open_
        return str(open_[0]["id"]) if open_ else None

    return until("a gate is open", look, seconds)


def started(stack: Stack, repo: str, *options: str) -> Job:
    """A task whose tool will need a person's word."""
    stack.onboard(repo, *GATES, *options)
    return Job(stack, repo, GATED, user="ada")


def row(stack: Stack, request: str) -> dict[str, Any]:
    """A gate as the database has it."""
    return stack.rows(
        "SELECT *, decided_at - created_at AS waited FROM task_approvals WHERE request_id = %s", request
    )[0]


def refused(stack: Stack, job: Job, request: str, decision: str) -> tuple[int, str, str]:
    """Status, code and message with which a decision is refused."""
    url = f"{stack.exports['BGAGENT_API_URL']}/v1/tasks/{job.task_id}/approvals/{request}"
    headers = {"Authorization": f"Bearer {stack.token(job.user)}", "Content-Type": "application/json"}
    body = json.dumps({"decision": decision}).encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30)
    error = json.loads(caught.value.read())["error"]
    return caught.value.code, error["code"], error["message"]


def finished(stack: Stack, job: Job, *, gates: int = 1, decisions: int = 1, attempt: int = 1) -> End:
    """It ended with one pull request, each gate was told once, and the tool ran once."""
    end = job.end()
    assert (end.code, *end.how) == (0, "COMPLETED", "pull_request"), (end.task, end.complaint)
    assert end.kinds.count("approval_required") == gates
    assert end.kinds.count("approval_decided") == decisions
    assert (end.task["attempt"], end.kinds.count("attempt_lost")) == (attempt, attempt - 1)
    findings = left(stack, job)
    assert findings.problems() == []
    assert findings.diff.count("+RATE=1") == 1, findings.diff
    return end


def kill_agent(job: Job) -> None:
    """kill -9 of the agent's process group, which is its own."""
    pid = harness(job.task_id)
    assert pid is not None, "there is no agent to kill"
    assert os.getpgid(pid) == pid != os.getpgid(0)
    os.killpg(pid, signal.SIGKILL)
    until("the agent is dead", lambda: harness(job.task_id) is None, 10)


def crash(stack: Stack, victim: str) -> None:
    """kill -9 of a part of the stack, and its return."""
    before = stack.pid(victim) if victim not in ("postgres", "rabbitmq") else None
    stack.kill(victim)
    if before is not None:
        until(f"{victim} is back", lambda: stack.pid(victim) not in (None, before), 30)
        until(f"{victim} is ready", lambda: stack.ready(victim), 60)


@pytest.mark.task(Order((GATED, "--approval-timeout", "30s"), options=GATES))
def test_silence_at_a_gate_is_a_no_that_the_model_hears(stack: Stack, job: Job, end: End) -> None:
    assert (end.code, *end.how) == (0, "COMPLETED", "pull_request"), end.task
    decided = [e["metadata"] for e in end.events if e["event_type"] == "approval_decided"]
    assert [one["status"] for one in decided] == ["TIMED_OUT"]
    assert row(stack, decided[0]["request_id"])["waited"].total_seconds() >= 30
    # The model says this only where it was shown that nobody decided.
    assert "so they are not written" in end.task["answer_text"]
    findings = left(stack, job)
    assert findings.problems() == []
    assert "ROUND_HALF_UP" in findings.diff
    assert "RATE" not in findings.diff
    for decision in ("approve", "deny"):
        assert refused(stack, job, decided[0]["request_id"], decision)[:2] == (409, "TASK_ALREADY_TERMINAL")


def test_a_gate_waits_for_ninety_seconds_and_keeps_lease_and_slot(stack: Stack) -> None:
    job = started(stack, "acme/patient", "--max-concurrent", "1")
    try:
        request = gate(stack, job)
        behind = Job(stack, job.repo, script("no-change"), user="grace")
        job.beside.append(behind)
        behind.saw("admission_queued")
        seen: list[dict[str, Any]] = []
        with psycopg.connect(
            stack.exports["BGAGENT_POSTGRES_URL"], row_factory=dict_row, autocommit=True
        ) as database:

            def otherwise() -> bool:
                seen.append(database.execute(HELD, [job.task_id]).fetchone() or {})
                return seen[-1] != AS_HELD

            instant(time.monotonic() + WAITS, otherwise)
        assert seen[-1] == AS_HELD, f"after {len(seen)} looks"
        assert stack.ask("status", behind.task_id)["status"] == "QUEUED"
        assert gate(stack, job) == request

        stack.cli("approve", job.task_id, user=job.user)
        end = finished(stack, job)
        assert "settings are written" in end.task["answer_text"]
        assert row(stack, request)["waited"].total_seconds() >= WAITS
        assert behind.end().how == ("COMPLETED", "no_change")
    finally:
        job.close()


def test_a_gate_outlives_every_part_of_the_stack_and_opens_once(stack: Stack) -> None:
    job = started(stack, "acme/besieged")
    try:
        request = gate(stack, job)
        stack.all_ready()
        for victim in ("postgres", "rabbitmq", *SERVICES):
            crash(stack, victim)
            assert row(stack, request)["status"] == "PENDING", victim
        stack.all_ready()
        assert gate(stack, job) == request
        assert stack.ask("status", job.task_id)["status"] == "AWAITING_APPROVAL"

        # The decision itself comes while the agent has nobody to hear it from.
        stack.kill("agent-gateway")
        stack.cli("approve", request, user=job.user)
        finished(stack, job)
        assert row(stack, request)["status"] == "APPROVED"
    finally:
        job.close()


def test_a_gate_ends_with_its_agent_and_the_next_one_asks_again(stack: Stack) -> None:
    job = started(stack, "acme/orphaned")
    try:
        old = gate(stack, job)
        kill_agent(job)
        new = gate(stack, job, but=old, seconds=NEXT_ATTEMPT)
        assert row(stack, old)["status"] == "VOID"
        for decision in ("approve", "deny"):
            status, code, message = refused(stack, job, old, decision)
            assert (status, code) == (409, "REQUEST_VOID")
            assert "the agent that asked is gone" in message
        assert row(stack, new)["status"] == "PENDING"
        assert stack.ask("status", job.task_id)["status"] == "AWAITING_APPROVAL"

        stack.cli("approve", new, user=job.user)
        finished(stack, job, gates=2, decisions=1, attempt=2)
        assert [row(stack, one)["status"] for one in (old, new)] == ["VOID", "APPROVED"]
    finally:
        job.close()


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_what_was_decided_for_an_agent_that_died_is_not_the_next_ones(stack: Stack, decision: str) -> None:
    job = started(stack, f"acme/bequeathed-{decision}")
    try:
        old = gate(stack, job)
        # Nobody notices the death until the decision is in.
        stack.script("stack", "freeze", "compute-adapter")
        try:
            kill_agent(job)
            stack.cli(decision, old, user=job.user)
        finally:
            stack.script("stack", "thaw", "compute-adapter")
        new = gate(stack, job, but=old, seconds=NEXT_ATTEMPT)
        assert row(stack, new)["status"] == "PENDING"

        stack.cli("approve", new, user=job.user)
        finished(stack, job, gates=2, decisions=2, attempt=2)
    finally:
        job.close()


def test_whoever_decides_later_hears_who_was_first(stack: Stack) -> None:
    job = started(stack, "acme/decided")
    try:
        request = gate(stack, job)
        stack.cli("approve", request, user=job.user)
        late = stack.cli("deny", request, check=False)
        assert late.returncode == 1
        assert "ada has decided already (APPROVED)" in late.stderr, late.stderr
        finished(stack, job)
    finally:
        job.close()
