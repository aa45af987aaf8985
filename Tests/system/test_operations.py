"""What an operator asks the running system, while parts of it are broken."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from Tests.system.jobs import Job, script
from Tests.system.waiting import until
from Tests.system.world import Stack

SEES_WITHIN = 30.0


def failures(stack: Stack) -> list[dict[str, Any]]:
    """What the doctor says is to be mended."""
    done = stack.cli("doctor", "--output", "json", check=False)
    answer = json.loads(done.stdout)
    found = [{"service": "cli", "check": one["name"], **one} for one in answer["checks"] if not one["ok"]]
    found += (answer["platform"] or {}).get("failures", [])
    assert (done.returncode == 0) == (not found) == answer["ok"], answer
    return found


def names(stack: Stack) -> set[tuple[str, str]]:
    """Service and check of each."""
    return {(one["service"], one["check"]) for one in failures(stack)}


@pytest.fixture(name="calm_stack")
def fixture_calm_stack(stack: Stack) -> Iterator[Stack]:
    """A stack that has nothing to say of its services when the test begins, and again when it ends."""
    until("nothing is broken", lambda: not services_broken(stack), SEES_WITHIN)
    yield stack
    stack.calm()
    until("everything is mended", lambda: not services_broken(stack), SEES_WITHIN)


def services_broken(stack: Stack) -> set[tuple[str, str]]:
    """What services say; earlier tests may leave what only a person mends, as dead letters."""
    return {(service, check) for service, check in names(stack) if service not in ("platform", "repository")}


def test_the_doctor_names_what_is_broken_and_what_mends_it(calm_stack: Stack) -> None:
    stack = calm_stack
    stack.fault("MODEL", "status", {"method": "GET", "path_regex": "^/v1/models"}, status=401, times=1000)
    stack.fault("SLACK", "status", {"path_regex": "auth.test"}, status=503, times=1000)
    wanted = {
        ("agent-gateway", "model"),
        ("dispatch-slack", "slack"),
        ("fanout", "silent"),
        ("gateway", "policy"),
    }
    frozen = [pid for service in ("fanout", "policy") if (pid := stack.pid(service)) is not None]
    assert len(frozen) == 2
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        until("all of them are told", lambda: wanted <= names(stack), SEES_WITHIN)
        told = {(one["service"], one["check"]): one for one in failures(stack)}
        assert "refuses our key" in told[("agent-gateway", "model")]["detail"]
        assert "BGAGENT_MODEL_API_KEY" in told[("agent-gateway", "model")]["remedy"]
        assert told[("fanout", "silent")]["remedy"].startswith("Restart fanout")
        assert told[("gateway", "policy")]["remedy"].startswith("Start policy")
        text = stack.cli("doctor", check=False)
        assert text.returncode == 1
        assert text.stdout.count("✗") == text.stdout.count("→") >= len(wanted)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


def test_a_repository_whose_credential_may_not_push_is_told_at_once(calm_stack: Stack) -> None:
    stack = calm_stack
    added = stack.onboard("acme/operators")
    assert "pull requests" in added.stdout
    assert stack.cli("repo", "check", "acme/operators").returncode == 0
    refused = stack.onboard("acme/readonly", push=False)
    assert "FAIL  push" in refused.stdout
    assert "Give the token write access" in refused.stdout
    assert stack.cli("repo", "check", "acme/readonly", check=False).returncode == 1
    assert ("repository", "push") in names(stack)
    stack.cli("repo", "remove", "acme/readonly")
    strict = stack.cli("repo", "add", "acme/readonly", "--require-access", check=False)
    assert strict.returncode == 1
    assert "acme/readonly is not added" in strict.stderr
    assert stack.cli("repo", "show", "acme/readonly", check=False).returncode == 1
    # Other tests leave repositories of their own that fail their checks.
    assert "acme/readonly" not in {one["instance"] for one in failures(stack)}


def test_logs_and_top_tell_of_a_task(calm_stack: Stack) -> None:
    stack = calm_stack
    stack.onboard("acme/watched")
    job = Job(stack, "acme/watched", script("pricing"))
    try:
        job.saw("agent_turn")

        def measured() -> dict[str, Any] | None:
            top: dict[str, Any] = stack.ask("top", job.task_id)
            return top if (top["sandbox"] or {}).get("memory_bytes") else None

        top = until("the sandbox is measured", measured, 30)
        assert top["sandbox"]["pids"] >= 1
        end = job.end()
        assert end.how == ("COMPLETED", "pull_request"), end.task
        followed = stack.cli("logs", job.task_id, "--follow", "--output", "json").stdout
        lines = [json.loads(line) for line in followed.splitlines()]
        assert {"agent", "compute-adapter"} <= {line["service"] for line in lines}
        assert [line["seq"] for line in lines] == sorted({line["seq"] for line in lines})
        agent = [line["message"] for line in lines if line["service"] == "agent"]
        kept = stack.session_logs(job.task_id)
        assert len(agent) == len(kept), (agent, kept)
        assert stack.exports["BGAGENT_TOKEN"] not in followed
        top = stack.ask("top", job.task_id)
        assert top["tokens"]["input"] > 0
        assert top["status"]["status"] == "COMPLETED"
    finally:
        job.close()


def test_a_gateway_that_is_not_there_is_told_by_the_command_line(stack: Stack) -> None:
    program, variables = stack.bgagent()
    done = stack.run([*program, "doctor"], variables | {"BGAGENT_API_URL": "http://127.0.0.1:9"})
    assert done.returncode == 1
    assert "FAIL  connection" in done.stdout
    assert "→ Start the gateway" in done.stdout
