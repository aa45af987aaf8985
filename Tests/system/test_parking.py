"""A task that is put aside until somebody answers its agent."""

from __future__ import annotations

from Tests.system.jobs import Job, script
from Tests.system.test_outcomes import left, passes
from Tests.system.test_steering import asked
from Tests.system.waiting import until
from Tests.system.world import Stack

# The question waits half a minute, and then the work has to be saved.
PARKED_WITHIN = 90.0


def test_a_task_whose_question_nobody_answers_waits_without_a_slot_until_somebody_does(stack: Stack) -> None:
    stack.onboard("acme/put-aside", "--unanswered-question", "park")
    job = Job(stack, "acme/put-aside", script("put-aside"), user="ada")
    try:
        task = job.task_id

        def parked() -> bool:
            return bool(asked(stack, "status", task, user="ada")["status"] == "PARKED")

        until("the task is parked", parked, PARKED_WITHIN)
        status = asked(stack, "status", task, user="ada")
        assert status["waiting_for"]["detail"] == "an answer: Which way?"
        assert stack.rows("SELECT running FROM repo_concurrency WHERE repo = 'acme/put-aside'") in (
            [],
            [{"running": 0}],
        )
        pending = asked(stack, "pending", "--task", task, user="ada")
        assert [(item["kind"], item["text"]) for item in pending] == [("question", "Which way?")]

        stack.cli("answer", task, "up", user="ada")
        end = job.end()
        assert end.how == ("COMPLETED", "pull_request")
        # One attempt asked, the next had the answer and what the first had done: the script demands both.
        for kind, count in (
            ("session_started", 2),
            ("question_asked", 1),
            ("question_answered", 2),
            ("task_parked", 1),
            ("task_resumed", 1),
            ("nudge_delivered", 1),
            ("attempt_lost", 0),
        ):
            assert end.kinds.count(kind) == count, (kind, end.kinds)
        assert passes(left(stack, job), "python3", "-m", "unittest")
    finally:
        job.close()
