"""Others misbehave: the model, the forge, Slack, mail. Nothing is lost and nothing is said twice."""

from __future__ import annotations

import pytest

from Tests.system.conftest import Fault, Order
from Tests.system.jobs import End, Job, script
from Tests.system.judge import clean
from Tests.system.test_outcomes import left
from Tests.system.world import Stack

MESSAGES = {"path_regex": "/v1/messages", "body_regex": r"Repository: {repo}\b"}
FIX = script("pricing")


def done(stack: Stack, job: Job, end: End) -> None:
    """It ended as if nothing had happened, every fault was met, and everything was told once."""
    assert (end.code, *end.how) == (0, "COMPLETED", "pull_request"), end.task
    assert left(stack, job).problems() == []
    job.struck()


@pytest.mark.task(
    Order(
        (FIX,),
        faults=(
            Fault("MODEL", "status", MESSAGES, {"status": 429, "times": 2, "headers": {"retry-after": "1"}}),
        ),
    )
)
def test_a_model_that_is_busy_is_asked_again(stack: Stack, job: Job, end: End) -> None:
    done(stack, job, end)


@pytest.mark.task(Order((FIX,), faults=(Fault("MODEL", "status", MESSAGES, {"status": 500, "times": 2}),)))
def test_a_model_that_fails_is_asked_again(stack: Stack, job: Job, end: End) -> None:
    done(stack, job, end)


@pytest.mark.task(Order((FIX,), faults=(Fault("MODEL", "cut", MESSAGES, {"skip": 1, "chunks": 2}),)))
def test_an_answer_of_the_model_that_is_cut_is_asked_for_again(stack: Stack, job: Job, end: End) -> None:
    done(stack, job, end)


@pytest.mark.task(
    Order((FIX, "--max-duration", "15s"), faults=(Fault("MODEL", "hang", MESSAGES, {"times": 0}),))
)
def test_a_model_that_never_answers_is_ended_by_time(stack: Stack, job: Job, end: End) -> None:
    assert (end.code, *end.how) == (1, "TIMED_OUT", "timed_out"), end.task
    job.struck()
    clean(stack, job.task_id)


@pytest.mark.task(
    Order(
        (FIX,),
        faults=(Fault("GITHUB", "status", {"path_regex": "^/repos/{repo}$"}, {"status": 502, "times": 1}),),
    )
)
def test_a_forge_that_is_away_for_a_moment_is_asked_again(stack: Stack, job: Job, end: End) -> None:
    done(stack, job, end)


@pytest.mark.task(
    Order(
        (FIX,),
        faults=(Fault("GITHUB", "late_commit", {"method": "POST", "path_regex": "^/repos/{repo}/pulls"}),),
    )
)
def test_a_pull_request_whose_answer_was_lost_is_not_opened_twice(stack: Stack, job: Job, end: End) -> None:
    done(stack, job, end)


@pytest.mark.task(
    Order(
        (FIX,),
        faults=(
            Fault(
                "GITHUB", "late_commit", {"method": "POST", "path_regex": "^/repos/{repo}/issues/.*comments"}
            ),
        ),
    )
)
def test_a_comment_whose_answer_was_lost_is_not_made_twice(stack: Stack, job: Job, end: End) -> None:
    done(stack, job, end)


def slack(action: str, **order: object) -> Order:
    """A task whose first message Slack treats in some way."""

    def after(_: Stack, job: Job) -> None:
        match = {"path_regex": "chat.postMessage", "body_regex": job.task_id}
        job.fault("SLACK", action, match, **order)

    return Order((FIX,), after=after)


@pytest.mark.task(slack("status", status=429, headers={"Retry-After": "1"}))
def test_a_busy_slack_is_told_later(stack: Stack, job: Job, end: End) -> None:
    done(stack, job, end)


@pytest.mark.task(slack("status", status=500))
def test_a_failing_slack_is_told_again(stack: Stack, job: Job, end: End) -> None:
    done(stack, job, end)


@pytest.mark.task(slack("late_commit"))
def test_a_slack_message_whose_answer_was_lost_is_not_sent_twice(stack: Stack, job: Job, end: End) -> None:
    done(stack, job, end)


def mail_deferred(_: Stack, job: Job) -> None:
    job.fault("SMTP", "status", {"method": "DATA", "body_regex": job.task_id}, status=451)


@pytest.mark.task(Order((FIX,), after=mail_deferred))
def test_a_mail_server_that_says_later_gets_the_mail_later(stack: Stack, job: Job, end: End) -> None:
    done(stack, job, end)
    assert len(left(stack, job).mails) == 1


def protect(stack: Stack, job: Job) -> None:
    """GitHub refuses every push to branches of tasks of this repository."""
    hook = stack.bare(job.repo) / "hooks" / "update"
    hook.write_text('#!/bin/sh\necho "error: GH006: Protected branch update failed for $1." >&2\nexit 1\n')


@pytest.mark.task(Order((FIX,), after=protect))
def test_a_remote_that_refuses_the_push_fails_the_task_with_its_words(
    stack: Stack, job: Job, end: End
) -> None:
    assert (end.code, end.how[0], end.error) == (1, "FAILED", "push_refused"), end.task
    assert "GH006" in str(end.task["error_classification"])
    findings = left(stack, job)
    assert not findings.pulls
    assert not findings.branch
