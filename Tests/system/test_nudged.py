"""Nudges on their whole way: in each mode, and while what carries them dies."""

from __future__ import annotations

import os
import signal

import pytest

from Tests.system.agents import harness
from Tests.system.jobs import Job, script
from Tests.system.test_outcomes import left
from Tests.system.test_steering import asked
from Tests.system.waiting import until
from Tests.system.world import Stack

QUESTIONED = script("questioned")
WORDS = "finish now"


def nudge(stack: Stack, job: Job, *options: str) -> str:
    """Tells the agent to finish; the nudge's id."""
    return str(asked(stack, "nudge", job.task_id, WORDS, *options, user=job.user)["nudge_id"])


def told(stack: Stack, job: Job) -> list[tuple[str, str]]:
    """Each nudge with how far it has come."""
    found = asked(stack, "nudges", job.task_id, user=job.user)
    return [(one["nudge_id"], one["state"]) for one in found]


@pytest.mark.parametrize("mode", ["next", "steer", "interrupt"])
def test_each_mode_reaches_the_model_from_the_command_line(stack: Stack, mode: str) -> None:
    repo = f"acme/nudged-{mode}"
    stack.onboard(repo)
    job = Job(stack, repo, QUESTIONED, user="ada")
    try:
        job.saw("agent_tool_call", 1)
        number = nudge(stack, job, "--mode", mode)
        end = job.end()
        assert end.how == ("COMPLETED", "pull_request")
        assert told(stack, job) == [(number, "delivered")]
        assert end.kinds.count("nudge_delivered") == 1
        left(stack, job)
    finally:
        job.close()


def test_a_nudge_outlives_the_services_that_carry_it(stack: Stack) -> None:
    stack.onboard("acme/nudged-through")
    job = Job(stack, "acme/nudged-through", QUESTIONED, user="ada")
    try:
        job.saw("agent_tool_call", 1)
        stack.kill("agent-gateway")
        number = nudge(stack, job)
        for service in ("gateway", "compute-adapter", "agent-gateway", "relay"):
            stack.kill(service)
        end = job.end()
        assert end.how == ("COMPLETED", "pull_request")
        assert told(stack, job) == [(number, "delivered")]
        assert end.kinds.count("nudge_delivered") == 1
        left(stack, job)
    finally:
        job.close()


def test_a_nudge_outlives_its_agent(stack: Stack) -> None:
    stack.onboard("acme/nudged-again")
    job = Job(stack, "acme/nudged-again", QUESTIONED, user="ada")
    try:
        job.saw("agent_tool_call", 1)
        pid = until("the agent runs", lambda: harness(job.task_id), 60)
        # Stopped, so that it cannot have claimed the nudge, or can have claimed it and never said so.
        os.killpg(pid, signal.SIGSTOP)
        number = nudge(stack, job)
        os.killpg(pid, signal.SIGKILL)
        end = job.end()
        assert end.how == ("COMPLETED", "pull_request")
        assert end.kinds.count("session_started") == 2
        assert told(stack, job) == [(number, "delivered")]
        assert end.kinds.count("nudge_delivered") == 1
        left(stack, job)
    finally:
        job.close()
