"""The session payload: what the platform tells the harness about the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import PayloadUnsupported, Refused

PAYLOAD_VERSIONS = (1, 1)


@dataclass(frozen=True)
class Commands:
    """The repository's own commands; None means that none was configured."""

    setup: str | None = None
    build: str | None = None
    test: str | None = None
    lint: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """Work of an earlier attempt: a commit kept under `ref`, made after turn `turn`."""

    turn: int
    commit: str
    ref: str


@dataclass(frozen=True)
class PolicyText:
    """The rules of the repository beside the built-in ones, and how long people may think at a gate.

    Without `gates` nobody is asked: what a person would have to decide may run, and hard rules hold.
    """

    text: str
    approval_timeout_s: int
    gates_left: int
    gates: bool = True


@dataclass(frozen=True)
class Session:
    """One attempt of one task, as the platform described it at the start."""

    task_id: str
    attempt: int
    repo: str
    branch: str
    base_branch: str
    issue_number: int | None
    title: str
    description: str
    prompt: str
    system_prompt: str
    prompt_version: str
    max_turns: int
    remaining_s: float
    verify_attempts: int
    model: str
    commands: Commands
    author_name: str
    author_email: str
    checkpoint: Checkpoint | None
    turns_used: int
    trace: bool
    cancel_requested: bool
    last_client_seq: int
    tools: tuple[str, ...]
    policies: PolicyText | None = None
    allowances: tuple[str, ...] = ()
    park_unanswered: bool = False

    @property
    def wip_ref(self) -> str:
        """Where work in progress is kept between attempts, never seen upstream."""
        return f"refs/bgagent/{self.task_id}/wip"


def parse_session(data: Mapping[str, Any]) -> Session:
    """Reads a payload; unknown fields are ignored, missing ones raise `Refused` with the field's name."""
    version = data.get("payload_version")
    low, high = PAYLOAD_VERSIONS
    if not isinstance(version, int) or not low <= version <= high:
        raise PayloadUnsupported(f"payload version {version!r} is outside {low}-{high}")
    try:
        return _parse(data)
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"the session payload is malformed: {error!r}") from error


def _parse(data: Mapping[str, Any]) -> Session:
    task, prompt, limits = data["task"], data["prompt"], data["limits"]
    commands = data.get("commands") or {}
    commit = data.get("commit") or {}
    checkpoint = data.get("checkpoint")
    return Session(
        task_id=str(task["task_id"]),
        attempt=int(task["attempt"]),
        repo=str(task["repo"]),
        branch=str(task["branch"]),
        base_branch=str(task.get("base_branch") or ""),
        issue_number=task.get("issue_number"),
        title=str(task.get("title") or ""),
        description=str(task.get("description") or ""),
        prompt=str(prompt["user"]),
        system_prompt=str(prompt.get("system") or ""),
        prompt_version=str(prompt.get("prompt_version") or ""),
        max_turns=int(limits["max_turns"]),
        remaining_s=float(limits["remaining_s"]),
        verify_attempts=int(limits.get("verify_attempts") or 3),
        model=str(data["model"]["name"]),
        commands=Commands(
            **{name: commands.get(name) or None for name in ("setup", "build", "test", "lint")}
        ),
        author_name=str(commit.get("name") or "bgagent"),
        author_email=str(commit.get("email") or "bgagent@localhost"),
        checkpoint=Checkpoint(int(checkpoint["turn"]), str(checkpoint["commit"]), str(checkpoint["ref"]))
        if checkpoint
        else None,
        turns_used=int(data.get("turns_used") or 0),
        trace=bool(data.get("trace")),
        cancel_requested=bool(data.get("cancel_requested")),
        last_client_seq=int(data.get("last_client_seq") or 0),
        tools=tuple(data.get("tools") or ("Bash", "Read", "Write", "Edit", "Grep", "Glob")),
        policies=_policies(data.get("policies"), gates=True) or _policies(data.get("rules"), gates=False),
        allowances=tuple(map(str, data.get("allowances") or ())),
        park_unanswered=data.get("unanswered_question") == "park",
    )


def _policies(data: Mapping[str, Any] | None, *, gates: bool) -> PolicyText | None:
    """None where they are not in force; what is there but unreadable is malformed, not nothing."""
    if not data:
        return None
    return PolicyText(str(data["text"]), int(data["approval_timeout_s"]), int(data["gates_left"]), gates)
