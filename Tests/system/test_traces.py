"""All that an agent said and did, kept beside its task: whole, without secrets, however the agent ends."""

from __future__ import annotations

import gzip
import json
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

from Tests.system.agents import harness
from Tests.system.jobs import Job, script
from Tests.system.test_outcomes import left
from Tests.system.test_steering import asked
from Tests.system.waiting import until
from Tests.system.world import Stack

PATIENCE = 120.0
KEY = "ghp_" + "0a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r"


def lines(file: Path) -> list[dict[str, Any]]:
    """A trace, line by line."""
    return [dict(json.loads(line)) for line in gzip.decompress(file.read_bytes()).decode().splitlines()]


def kinds(trace: list[dict[str, Any]]) -> list[str]:
    """The types of its lines."""
    return [str(line["type"]) for line in trace]


def told(stack: Stack) -> list[str]:
    """Where a key is written that an agent printed and spoke of: outside, in logs, in the database."""
    places = [path for path in stack.data.rglob("*") if path.is_file() and "model" not in path.name]
    logs = [path for path in (stack.link.resolve() / "log").glob("*.log") if "sim-model" not in path.name]
    found = [str(path) for path in [*places, *logs] if KEY.encode() in path.read_bytes()]
    for table in ("tasks", "task_events", "sessions", "effects", "outbox", "task_logs"):
        if stack.rows(f"SELECT 1 FROM {table} x WHERE strpos(x::text, %s) > 0 LIMIT 1", KEY):
            found.append(table)
    return found


def test_a_trace_holds_all_that_the_agent_did_and_none_of_its_secrets(stack: Stack, tmp_path: Path) -> None:
    stack.onboard("acme/traced")
    job = Job(stack, "acme/traced", "--trace", script("traced"), user="ada")
    try:
        end = job.end()
        assert end.how == ("COMPLETED", "pull_request")
        assert end.milestones().count("trajectory_uploaded") == 1
        file = tmp_path / "trace.jsonl.gz"
        stack.cli("trace", "download", job.task_id, "--file", str(file), user="ada")
        trace = lines(file)
        assert kinds(trace)[0] == "header"
        assert trace[0]["task_id"] == job.task_id
        assert kinds(trace)[-1] == "end"
        assert trace[-1]["outcome"] == "completed"
        assert {"message", "tool_input", "tool_output", "hook"} <= set(kinds(trace)), set(kinds(trace))
        text = json.dumps(trace)
        assert "the key is" in text
        assert KEY not in text
        status = asked(stack, "status", job.task_id, user="ada")
        assert status["trace_bytes"] == file.stat().st_size

        # The link alone opens it, for whoever has it; another person's token gets no other answer.
        url = f"{stack.exports['BGAGENT_API_URL']}/v1/tasks/{job.task_id}/trace"
        ask = urllib.request.Request(url, headers={"Authorization": f"Bearer {stack.token('ada')}"})
        with urllib.request.urlopen(ask, timeout=30) as answer:
            link = json.load(answer)["data"]
        assert link["complete"] and not link["truncated"]
        with urllib.request.urlopen(stack.exports["BGAGENT_API_URL"] + link["url"], timeout=30) as answer:
            assert answer.read() == file.read_bytes()
        left(stack, job)
        # The pull request says what the agent said last, but for the key.
        assert "Half a cent rounds up. The key was [redacted" in (stack.data / "github.jsonl").read_text()
        assert told(stack) == []
    finally:
        job.close()


def test_a_task_without_a_trace_keeps_none(stack: Stack) -> None:
    stack.onboard("acme/untraced")
    job = Job(stack, "acme/untraced", script("traced"), user="ada")
    try:
        assert "trajectory_uploaded" not in job.end().milestones()
        refused = stack.cli("trace", "download", job.task_id, user="ada", check=False)
        assert refused.returncode == 1
        assert "TRACE_NOT_AVAILABLE" in refused.stderr
    finally:
        job.close()


def test_a_cancel_and_a_kill_leave_the_trace_of_what_was(stack: Stack, tmp_path: Path) -> None:
    stack.onboard("acme/trace-ends")
    job = Job(stack, "acme/trace-ends", "--trace", script("waits"), user="ada")
    try:
        task = job.task_id
        job.saw("agent_tool_call", 1)

        file = tmp_path / "trace.jsonl.gz"

        def stored() -> bool:
            # A trace can be read while it grows; what was said last comes a few seconds later.
            done = stack.cli("trace", "download", task, "--file", str(file), "-f", user="ada", check=False)
            return done.returncode == 0 and "tool_input" in kinds(lines(file))

        until("the call of the tool is stored", stored, PATIENCE)
        first = until("the agent runs", lambda: harness(task), PATIENCE)
        os.killpg(first, signal.SIGKILL)
        job.saw("session_started", 2)
        stack.cli("cancel", task, user="ada")
        end = job.end()
        assert end.how[0] == "CANCELLED"
        stack.cli("trace", "download", task, "--file", str(file), "--force", user="ada")
        trace = lines(file)
        headers = [line["attempt"] for line in trace if line["type"] == "header"]
        assert headers == [1, 2]
        # The first was killed without a word; the second said how it ended.
        assert [line["outcome"] for line in trace if line["type"] == "end"] == ["cancelled"]
        assert "tool_input" in kinds(trace)[: kinds(trace).index("header", 1)]
        left(stack, job)
    finally:
        job.close()
