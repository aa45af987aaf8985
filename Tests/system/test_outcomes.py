"""How tasks end, from `bgagent submit --wait` to what is left at the forge and in the channels."""

from __future__ import annotations

import subprocess
import tempfile

import pytest

from rehearsal import client
from rehearsal.findings import Findings
from Tests.system.agents import processes, shows
from Tests.system.conftest import Order
from Tests.system.jobs import End, Job, script
from Tests.system.judge import clean
from Tests.system.waiting import until
from Tests.system.world import Stack

FIX = "fix the failing test"


def left(stack: Stack, job: Job) -> Findings:
    """What the simulators hold about a task, once nothing contradicts."""
    clean(stack, job.task_id)
    return Findings.read(stack.urls, job.task_id, job.repo)


def admitted(_: Stack, job: Job) -> None:
    """Waits until the task has its slot."""
    job.saw("hydration_started")


def passes(findings: Findings, *command: str) -> bool:
    """Whether a command succeeds on a fresh clone of the task's branch."""
    shell = 'git clone -q -b "$1" "$2" "$3/work" && cd "$3/work" && shift 3 && "$@"'
    with tempfile.TemporaryDirectory() as folder:
        words = ["bash", "-c", shell, "-", findings.branch, findings.git_dir, folder, *command]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.task(
    Order((script("waits"),), repo="acme/single", options=("--max-concurrent", "1"), after=admitted)
)
def test_a_cancel_while_it_runs_pushes_the_work_and_opens_nothing(stack: Stack, job: Job) -> None:
    job.saw("agent_tool_call", 2)
    cancelled = stack.cli("cancel", job.task_id, "--wait", user=job.user)
    assert cancelled.returncode == 0
    until("nothing of its sandbox runs", lambda: not processes(job.task_id), 30)
    end = job.end()
    assert end.kinds.count("task_cancelled") == 1
    assert (end.code, *end.how) == (1, "CANCELLED", "cancelled")
    assert "cancel_requested" in end.kinds
    findings = left(stack, job)
    assert "NOTES" in findings.diff
    assert not findings.pulls


@pytest.mark.task(Order((script("waits"),)))
def test_no_process_of_an_agent_holds_a_credential_of_the_platform(stack: Stack, job: Job) -> None:
    job.saw("agent_tool_call", 2)
    pids = processes(job.task_id)
    assert len(pids) > 2
    # One value stands for all: the forge's token, Slack's and the model's key.
    secret = stack.exports["BGAGENT_REHEARSAL_TOKEN"].encode()
    database = stack.exports["BGAGENT_POSTGRES_URL"].encode()
    for pid in pids:
        seen = shows(pid)
        assert secret not in seen
        assert database not in seen
    stack.cli("cancel", job.task_id, user=job.user)
    assert job.end().how[0] == "CANCELLED"
    until("the agent is gone", lambda: not processes(job.task_id), 30)


def cancelled_in_the_queue(stack: Stack, job: Job) -> None:
    """Cancels as soon as the task has been told to wait."""
    job.saw("admission_queued")
    stack.cli("cancel", job.task_id, user=job.user)


@pytest.mark.task(Order((script("waits"),), repo="acme/single", after=cancelled_in_the_queue))
def test_a_cancel_in_the_queue_ends_it_at_once(stack: Stack, job: Job) -> None:
    end = job.end(20)
    assert (end.code, end.how[0]) == (1, "CANCELLED")
    assert "session_started" not in end.kinds
    findings = left(stack, job)
    assert not findings.branch
    assert not findings.pulls


@pytest.mark.task(Order((FIX,), repo="acme/pricing"))
def test_a_failing_test_becomes_a_pull_request_and_three_messages(stack: Stack, job: Job, end: End) -> None:
    assert (end.code, *end.how) == (0, "COMPLETED", "pull_request"), end.task
    findings = left(stack, job)
    assert findings.problems() == []
    assert passes(findings, "python3", "-m", "unittest")
    assert end.task["pr_url"] in str([message["text"] for message in findings.messages])
    assert client.state(stack.urls["MODEL"])["expectation_failures"] == []
    assert float(end.task["cost_usd"]) > 0


@pytest.mark.task(Order(("--issue", "7"), repo="acme/wordcount", sample="acme/wordcount"))
def test_an_issue_with_comments_is_resolved_after_a_red_verification(
    stack: Stack, job: Job, end: End
) -> None:
    assert (end.code, *end.how) == (0, "COMPLETED", "pull_request"), end.task
    assert {"verify_failed", "verify_passed"} <= set(end.milestones())
    findings = left(stack, job)
    assert findings.problems() == []
    assert [comment["issue"] for comment in findings.comments] == [7]
    body = next(one["body"] for one in findings.issues if one["number"] == findings.pulls[0]["number"])
    assert "Resolves #7" in body
    assert passes(findings, "make", "-s", "test")


@pytest.mark.task(Order((script("no-change"),)))
def test_nothing_to_change_completes_without_a_pull_request(stack: Stack, job: Job, end: End) -> None:
    assert (end.code, *end.how) == (0, "COMPLETED", "no_change"), end.task
    assert "There is nothing to change" in end.task["answer_text"]
    assert not left(stack, job).pulls


@pytest.mark.task(Order((script("never-green"),)))
def test_work_that_stays_red_is_a_draft_and_a_failure(stack: Stack, job: Job, end: End) -> None:
    assert (end.code, *end.how) == (1, "FAILED", "verification_failed"), end.task
    assert end.error == "verification_failed"
    findings = left(stack, job)
    assert [pull["draft"] for pull in findings.pulls] == [True]


@pytest.mark.task(Order((script("endless"), "--max-turns", "3")))
def test_spent_turns_push_the_work_and_fail(stack: Stack, job: Job, end: End) -> None:
    assert (end.code, *end.how) == (1, "FAILED", "max_turns"), end.task
    assert end.task["turns"] == 3
    findings = left(stack, job)
    assert "NOTES" in findings.diff
    assert not findings.pulls


@pytest.mark.task(Order((script("endless"), "--max-budget", "0.15")))
def test_a_spent_budget_pushes_the_work_and_fails(stack: Stack, job: Job, end: End) -> None:
    assert (end.code, *end.how) == (1, "FAILED", "budget_exhausted"), end.task
    # The last call may go past the budget, by less than it costs itself: one that is spent forwards nothing.
    costs = [
        float(e["metadata"]["total_cost_usd"]) for e in end.events if e["event_type"] == "agent_cost_update"
    ]
    assert costs == sorted(costs)
    assert costs[-2] < 0.15 <= costs[-1] == float(end.task["cost_usd"])
    findings = left(stack, job)
    assert "NOTES" in findings.diff
    assert not findings.pulls


@pytest.mark.task(Order((script("waits"), "--max-duration", "20s")))
def test_time_that_is_up_pushes_the_work(stack: Stack, job: Job, end: End) -> None:
    assert (end.code, *end.how) == (1, "TIMED_OUT", "timed_out"), end.task
    findings = left(stack, job)
    assert "NOTES" in findings.diff
    assert not findings.pulls


def another(stack: Stack, job: Job) -> None:
    """A second task of the same repository by the same person."""
    job.beside.append(Job(stack, job.repo, script("pricing"), user=job.user))


@pytest.mark.task(Order((script("pricing"),), after=another))
def test_two_tasks_of_a_repository_do_not_meet(stack: Stack, job: Job, end: End) -> None:
    other = job.beside[0]
    assert end.how == other.end().how == ("COMPLETED", "pull_request")
    first, second = left(stack, job), left(stack, other)
    assert first.problems() == second.problems() == []
    assert first.branch != second.branch
    assert first.pulls[0]["number"] != second.pulls[0]["number"]


def test_the_same_key_makes_one_task(stack: Stack, crowd: dict[str, Job]) -> None:
    stack.onboard("acme/keyed")
    words = ("submit", "--repo", "acme/keyed", script("no-change"), "--idempotency-key", "only-once")
    first, second = stack.ask(*words), stack.ask(*words)
    assert first["task_id"] == second["task_id"]
    until("the task ends", lambda: stack.ask("show", first["task_id"])["status"] == "COMPLETED", 240)
    clean(stack, first["task_id"])
