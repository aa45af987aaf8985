"""A stack of its own under a real Prometheus, with work on it that makes every kind of number move."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from Tests.ops.prometheus import Prometheus
from Tests.system.agents import harness, kill
from Tests.system.conftest import pytest_runtest_makereport
from Tests.system.jobs import Job, script
from Tests.system.judge import clean
from Tests.system.spans import receiving
from Tests.system.waiting import until
from Tests.system.world import Stack

__all__ = ["pytest_runtest_makereport"]

MESSAGES = {"path_regex": "/v1/messages", "body_regex": r"Repository: acme/busy\b"}


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack, torn down whatever happens."""
    # Spans have a receiver, because only processes that make any tell what became of them. A long lease:
    # what is wanted here is one lost agent, not one for each second that the machine is busy.
    with receiving() as spans:
        made = Stack(
            "ops",
            BGAGENT_GAUGES_EVERY="1s",
            BGAGENT_FSYNC="off",
            BGAGENT_LEASE="180s",
            BGAGENT_OTLP_ENDPOINT=spans.url,
        )
        try:
            made.up()
            yield made
        except BaseException:
            made.failed = True
            raise
        finally:
            made.close()


@pytest.fixture(scope="session")
def prometheus(stack: Stack) -> Iterator[Prometheus]:
    """Prometheus, reading the stack."""
    with tempfile.TemporaryDirectory(prefix="bgagent-prometheus-") as folder:
        made = Prometheus(Path(folder), stack)
        try:
            made.scraped()
            yield made
        finally:
            made.close()


@dataclass
class Seen:
    """A stack on which work was done, one task still being at work."""

    stack: Stack
    prometheus: Prometheus
    waiting: Job


def refused_push(stack: Stack, job: Job) -> None:
    """GitHub refuses every push to branches of this task's repository, so our gateway does."""
    hook = stack.bare(job.repo) / "hooks" / "update"
    hook.write_text('#!/bin/sh\necho "error: protected" >&2\nexit 1\n')
    hook.chmod(0o755)


@pytest.fixture(scope="session")
def seen(stack: Stack, prometheus: Prometheus) -> Iterator[Seen]:
    """What makes which data:

    - a task that ends well, twice with a scrape between: events, deliveries and their times, model requests,
      tokens and cost, accepted pushes, sandboxes, messages of all streams, requests of both gateways;
    - one whose checks fail and one that stays red: ends by code;
    - one that spends its budget: refusals of the model's proxy;
    - one at a busy model: requests by status; one whose agent is killed: an attempt lost;
    - one whose branch the forge protects: pushes that are refused;
    - Slack that fails once: tries that are repeated;
    - one that goes on waiting, in a repository with a limit: slots, sessions, sandboxes and their limits.
    """
    jobs: list[Job] = []

    def start(repo: str, *words: str, user: str = "ada") -> Job:
        jobs.append(Job(stack, repo, *words, user=user))
        return jobs[-1]

    try:
        for person in ("ada", "grace", "alan"):
            stack.token(person)
        for repo in ("acme/well", "acme/busy", "acme/killed", "acme/red", "acme/poor", "acme/protected"):
            stack.onboard(repo)
        stack.onboard("acme/closed", archived=True)
        stack.onboard("acme/waits", "--max-concurrent", "2")
        first = [start("acme/well", script("pricing")), start("acme/closed", script("pricing"), user="grace")]
        for job in first:
            job.end()
        prometheus.scraped()
        stack.fault("MODEL", "status", MESSAGES, status=429, times=2, headers={"retry-after": "1"})
        stack.fault("SLACK", "status", {"path_regex": "chat.postMessage"}, status=500)
        start("acme/well", script("pricing"))
        start("acme/busy", script("pricing"))
        start("acme/red", script("never-green"), user="grace")
        start("acme/poor", script("endless"), "--max-budget", "0.15", user="grace")
        killed = start("acme/killed", script("pricing"), user="alan")
        protected = start("acme/protected", script("pricing"), user="alan")
        refused_push(stack, protected)
        killed.saw("checkpoint_saved")
        pid = harness(killed.task_id)
        assert pid is not None, "the agent ended before it could be killed"
        kill(pid)
        for job in jobs:
            job.end()
        stack.cli("status", "01JZ0000000000000000000001", user="ada", check=False)
        waiting = start("acme/waits", script("waits"))
        waiting.saw("agent_tool_call", 2)
        for job in jobs[:-1]:
            clean(stack, job.task_id)
        # The cursor over pushes stands some seconds back.
        until(
            "the pushes are counted",
            lambda: (prometheus.value("sum(bgagent_git_pushes_total)") or 0) >= pushes(stack),
            60,
        )
        prometheus.scraped()
    except BaseException:
        stack.failed = True
        raise
    else:
        yield Seen(stack, prometheus, waiting)
    finally:
        for job in jobs:
            job.close()


def pushes(stack: Stack) -> int:
    """Pushes that were decided, as the database has them."""
    return int(stack.rows("SELECT count(*) AS n FROM git_pushes")[0]["n"])
