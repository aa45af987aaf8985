"""A person stays in charge of a running task: from the command line to what the model saw.

The model's script is the judge of what reached it: it goes on only where it was shown the words of people.
"""

from __future__ import annotations

import json
from typing import Any

from Tests.system.jobs import Job, script
from Tests.system.judge import clean
from Tests.system.waiting import until
from Tests.system.world import Stack

PATIENCE = 60.0


def asked(stack: Stack, *words: str, user: str) -> Any:
    """What a command answers, as JSON; its failure is told."""
    done = stack.cli(*words, "--output", "json", user=user)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def waiting(stack: Stack, job: Job, kind: str) -> dict[str, Any]:
    """What of this task waits for a person."""

    def look() -> dict[str, Any] | None:
        found = asked(stack, "pending", "--task", job.task_id, user=job.user)
        return next((dict(item) for item in found if item["kind"] == kind), None)

    return until(f"a {kind} waits", look, PATIENCE)


def test_a_person_tells_asks_answers_denies_and_approves_while_the_agent_works(stack: Stack) -> None:
    stack.onboard("acme/conversation", "--approval-gates", "yes")
    job = Job(stack, "acme/conversation", script("conversation"), user="ada")
    try:
        job.saw("agent_tool_call", 1)
        task, user = job.task_id, job.user
        ask = stack.cli("ask", task, "how far are you?", "--no-wait", user=user).stdout.strip()
        words = "use the decimal module & nothing else"
        nudge = asked(stack, "nudge", task, words, "--mode", "interrupt", user=user)["nudge_id"]

        # The interrupt took both of them to the model.
        question = waiting(stack, job, "question")
        assert (question["text"], question["options"]) == ("Round half up?", ["yes", "no"])
        told = asked(stack, "nudges", task, user=user)
        assert [(one["nudge_id"], one["state"]) for one in told] == [(nudge, "delivered")]
        answer = asked(stack, "asks", "show", task, ask, user=user)
        assert (answer["state"], answer["answer"]) == ("answered", "Half way: the rounding is next.")

        stack.cli("answer", task, "yes, half up", user=user)
        push = waiting(stack, job, "approval")
        assert push["request"]["rule_ids"] == ["force_push_any"]
        assert push["request"]["input"]["command"].startswith("git push --force")
        assert asked(stack, "status", task, user=user)["status"] == "AWAITING_APPROVAL"
        denied = asked(stack, "deny", task, "--reason", "never by force", user=user)
        assert denied["state"] == "DENIED"

        write = until("another gate", lambda: _another(stack, job, push["id"]), PATIENCE)
        assert write["request"]["rule_ids"] == ["write_env_files"]
        approved = asked(stack, "approve", write["id"], "--scope", "write_path:.env", user=user)
        assert (approved["state"], approved["scope"]) == ("APPROVED", "write_path:.env")

        # The hard rule is nobody's to lift: no third gate, and the agent goes on.
        job.saw("agent_tool_call", 8)
        assert asked(stack, "status", task, user=user)["status"] == "RUNNING"
        assert asked(stack, "pending", "--task", task, user=user) == []
        stack.cli("cancel", task, user=user)
        end = job.end()
        assert end.how[0] == "CANCELLED"
        assert "progress" in end.milestones()
        for kind, count in (
            ("nudge_accepted", 1),
            ("nudge_acknowledged", 1),
            ("nudge_delivered", 1),
            ("status_response", 1),
            ("question_asked", 1),
            ("question_answered", 1),
            ("approval_required", 2),
            ("approval_decided", 2),
        ):
            assert end.kinds.count(kind) == count, (kind, end.kinds)
        clean(stack, task)
    finally:
        job.close()


def _another(stack: Stack, job: Job, earlier: str) -> dict[str, Any] | None:
    found = asked(stack, "pending", "--task", job.task_id, user=job.user)
    return next((dict(item) for item in found if item["kind"] == "approval" and item["id"] != earlier), None)
