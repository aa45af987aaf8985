"""How the end of a run becomes an outcome and, where something went wrong, a structured error."""

from __future__ import annotations

from .control import Outcome
from .errors import Problem
from .runner import QueryDone
from .stop import StopReason

_DESCRIPTION_CHARS = 1_000


def of_stop(reason: StopReason) -> Outcome:
    """A task that was stopped before its end; `terminated` never becomes a result."""
    if reason == "parked":
        return "parked"
    return "timed_out" if reason == "time_up" else "cancelled"


def of_ending(done: QueryDone) -> tuple[Outcome, Problem | None]:
    """A query that did not end by the agent's own decision."""
    if done.reason == "max_turns":
        return "max_turns", None
    if done.reason == "budget":
        return "budget_exhausted", None
    return "failed", _problem(done)


def _problem(done: QueryDone) -> Problem:
    detail = done.detail.strip()[:_DESCRIPTION_CHARS]
    status = done.status
    if done.reason == "ungated":
        return Problem(
            "gate_bypassed",
            "guardrail",
            "A tool ran without the policy gate",
            detail,
            "Check that the agent image carries the pinned SDK version.",
            False,
        )
    if done.reason == "api_error" and status in (401, 403):
        return Problem(
            "model_unauthorized",
            "auth",
            "The model refused the credential",
            detail,
            "Check the model key of the platform and its permission for this model.",
            False,
        )
    if done.reason == "api_error" and status is not None and 400 <= status < 500 and status not in (408, 429):
        return Problem(
            "model_request_refused",
            "agent",
            f"The model refused the request with status {status}",
            detail,
            "Check the model's name; if it is right, this is a defect of the agent.",
            False,
        )
    if done.reason == "api_error":
        title = "The model could not be reached" if status is None else f"The model kept answering {status}"
        return Problem(
            "model_unavailable",
            "network",
            title,
            detail,
            "Submit the task again when the model answers.",
            True,
        )
    if done.reason == "interrupted":
        return Problem(
            "agent_interrupted", "agent", "The agent was interrupted", detail, "Submit the task again.", True
        )
    return Problem(
        "agent_crashed",
        "compute",
        "The agent's process ended unexpectedly",
        detail,
        "Submit the task again; if it repeats, look for memory limits of the sandbox.",
        True,
    )


def clone_failed(detail: str, retryable: bool) -> Problem:
    """The repository could not be brought into the workspace."""
    return Problem(
        "clone_failed",
        "network" if retryable else "auth",
        "The repository could not be cloned",
        detail[:_DESCRIPTION_CHARS],
        "Check that the repository and its base branch exist and that the platform's credential may read it.",
        retryable,
    )


def setup_failed(command: str, tail: str) -> Problem:
    """The repository's setup command did not succeed."""
    return Problem(
        "setup_failed",
        "config",
        f"The setup command failed: {command}"[:200],
        tail[-_DESCRIPTION_CHARS:],
        "Correct the repository's setup command, or what it needs.",
        False,
    )


def push_refused(reason: str) -> Problem:
    """The remote rejected the branch; the work is lost with the sandbox unless a checkpoint kept it."""
    return Problem(
        "push_refused",
        "guardrail",
        "The push was refused",
        reason[:_DESCRIPTION_CHARS],
        "Follow the reason above; the work is kept as a checkpoint of this task.",
        False,
    )


def push_unavailable(detail: str) -> Problem:
    """The remote could not be reached until the deadline."""
    return Problem(
        "push_unavailable",
        "network",
        "The branch could not be pushed",
        detail[:_DESCRIPTION_CHARS],
        "Submit the task again when the remote answers.",
        True,
    )


def workspace_broken(detail: str) -> Problem:
    """Git does not work in the workspace any more."""
    return Problem(
        "workspace_broken",
        "agent",
        "The repository in the workspace is damaged",
        detail[:_DESCRIPTION_CHARS],
        "Submit the task again.",
        True,
    )


def internal(error: BaseException) -> Problem:
    """A defect of the harness."""
    return Problem(
        "harness_failed",
        "agent",
        "The harness failed",
        f"{type(error).__name__}: {error}"[:_DESCRIPTION_CHARS],
        "Report this together with the log of the session.",
        True,
    )
