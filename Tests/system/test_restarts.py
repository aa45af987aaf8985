"""What outlives a restart: agents their adapter, tasks their agent, queued tasks the whole stack."""

from __future__ import annotations

import pytest

from Tests.system.agents import harness, kill, processes
from Tests.system.jobs import Job, script
from Tests.system.judge import clean
from Tests.system.test_outcomes import left
from Tests.system.waiting import until
from Tests.system.world import SERVICES, Stack

DOUBLED = (
    "relay",
    "orchestrator",
    "fanout",
    "dispatch-slack",
    "dispatch-github",
    "dispatch-email",
    "reconciler",
)


def test_an_agent_outlives_its_adapter(stack: Stack) -> None:
    stack.onboard("acme/adopted")
    job = Job(stack, "acme/adopted", script("pricing"))
    try:
        job.saw("agent_turn")
        before = until("the agent works", lambda: harness(job.task_id), 10)
        stack.kill("compute-adapter")
        until("the adapter is back", lambda: stack.ready("compute-adapter"), 20)
        assert harness(job.task_id) in (before, None)
        end = job.end()
        assert (end.code, *end.how) == (0, "COMPLETED", "pull_request"), end.task
        assert end.task["attempt"] == 1
        assert "attempt_lost" not in end.kinds
        until("the agent is gone", lambda: not processes(job.task_id), 30)
        clean(stack)
    finally:
        job.close()


def test_a_killed_agent_is_followed_by_one_that_goes_on_from_its_work(stack: Stack) -> None:
    stack.onboard("acme/second-attempt")
    job = Job(stack, "acme/second-attempt", script("pricing"))
    try:
        job.saw("checkpoint_saved")
        pid = harness(job.task_id)
        assert pid is not None, "the agent ended before it could be killed"
        kill(pid)
        end = job.end()
        assert (end.code, *end.how) == (0, "COMPLETED", "pull_request"), end.task
        assert end.task["attempt"] == 2
        assert end.kinds.count("attempt_lost") == 1
        cloned = [e["metadata"] for e in end.events if e["metadata"].get("milestone") == "repo_cloned"]
        assert len(cloned) == 2
        assert "checkpoint" in cloned[1]["details"]
        assert left(stack, job).problems() == []
        until("the agent is gone", lambda: not processes(job.task_id), 30)
    finally:
        job.close()


def test_a_queued_task_outlives_a_restart_of_everything(stack: Stack) -> None:
    stack.onboard("acme/restarted", "--max-concurrent", "1")
    jobs = [Job(stack, "acme/restarted", script("pricing")), Job(stack, "acme/restarted", script("pricing"))]
    try:
        for job in jobs:
            assert job.task_id
        states = until("one of them runs", lambda: _one_runs(stack, jobs), 60)
        assert "QUEUED" in states
        stack.down()
        stack.up()
        for job in jobs:
            end = job.end()
            assert (end.code, *end.how) == (0, "COMPLETED", "pull_request"), (end.task, end.complaint)
        clean(stack)
    finally:
        for job in jobs:
            job.close()


def _one_runs(stack: Stack, jobs: list[Job]) -> list[str] | None:
    query = "SELECT status FROM tasks WHERE task_id = ANY(%s)"
    states = [row["status"] for row in stack.rows(query, [job.task_id for job in jobs])]
    return states if "RUNNING" in states else None


@pytest.fixture(scope="module")
def replicas(stack: Stack) -> Stack:
    """The stack with two of everything that may be doubled."""
    stack.down()
    stack.up(*SERVICES, *(f"{service}.2" for service in DOUBLED))
    return stack


def test_of_two_replicas_one_may_be_killed(replicas: Stack) -> None:
    replicas.onboard("acme/replicas")
    jobs = [Job(replicas, "acme/replicas", script("pricing")) for _ in range(2)]
    try:
        for job in jobs:
            job.saw("session_started")
        for service in DOUBLED:
            replicas.kill(service)
        for job in jobs:
            end = job.end()
            assert (end.code, *end.how) == (0, "COMPLETED", "pull_request"), (end.task, end.complaint)
        clean(replicas)
    finally:
        for job in jobs:
            job.close()
