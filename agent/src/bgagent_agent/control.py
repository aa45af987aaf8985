"""The `Control` seam: how the harness talks to whoever owns the task.

The first implementation speaks to the agent gateway (`gateway.py`). The protocol knows nothing of transports,
so that a local one can stand in when a task is run without the platform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from .errors import Problem
from .payload import Session

Outcome = Literal[
    "completed",
    "no_change",
    "verification_failed",
    "max_turns",
    "budget_exhausted",
    "timed_out",
    "cancelled",
    "failed",
    "parked",
]
ReceiptStatus = Literal["acknowledged", "delivered"]
# nobody: there are no people in this run. void: its attempt is over as far as the platform knows.
QuestionStatus = Literal["open", "answered", "expired", "void", "nobody"]
ApprovalStatus = Literal["pending", "approved", "denied", "timed_out"]


@dataclass(frozen=True)
class Event:
    """One fact about the run; `client_seq` is dense within the attempt, from 1."""

    client_seq: int
    event_type: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Pulse:
    """What the platform answers to a sign of life."""

    cancel_requested: bool
    remaining_s: float


@dataclass(frozen=True)
class InboxItem:
    """Something for the running agent: cancel, time_up, nudge, ask, answer or decision."""

    id: str
    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class QuestionState:
    """How far a question of the agent is; `text` is the answer, `sender` who gave it."""

    id: str
    state: QuestionStatus
    remaining_s: float
    text: str = ""
    sender: str = ""


@dataclass(frozen=True)
class ApprovalRequest:
    """A tool call that a person is asked about. `client_id` is the call's own: asking again changes nothing.

    `input` is what people see of it, without secrets; `input_sha256` is that of all of it.
    """

    client_id: str
    tool_name: str
    input: Mapping[str, Any]
    truncated: bool
    input_sha256: str
    rule_ids: tuple[str, ...]
    severity: str
    summary: str
    timeout_s: int
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class ApprovalState:
    """How far a gate is; `reason` is what the one who denied has said."""

    id: str
    state: ApprovalStatus
    remaining_s: float
    scope: str = ""
    reason: str = ""


@dataclass(frozen=True)
class VerificationReport:
    """How the repository's own checks ended; `attempts` counts the times they ran."""

    command: str
    passed: bool
    attempts: int
    output_tail: str


@dataclass(frozen=True)
class ParkedOn:
    """What a parked attempt waited for in vain."""

    kind: Literal["question"]
    id: str


@dataclass(frozen=True)
class RunResult:
    """The end of an attempt as the platform records it."""

    outcome: Outcome
    commit: str | None
    branch: str
    turns: int
    summary: str
    verification: VerificationReport | None = None
    error: Problem | None = None
    parked_on: ParkedOn | None = None


class Control(Protocol):
    """Every call survives a restart of the other side for minutes and may be repeated without harm.

    All raise `StaleAttempt` once another attempt owns the task, `Unauthorized` when the token is dead and
    `Unreachable` after the last retry.
    """

    async def session(self) -> Session:
        """Waits until the task may start and returns its payload; raises `PayloadUnsupported`."""
        ...

    async def send_events(self, events: Sequence[Event]) -> int:
        """Hands over a batch and returns the last number the platform holds; raises `SequenceGap`."""
        ...

    async def heartbeat(self, turn: int, tool: str | None) -> Pulse:
        """Renews the lease of this attempt."""
        ...

    async def inbox(self) -> Sequence[InboxItem]:
        """Waits a while for something to do; an empty answer means that there was nothing."""
        ...

    async def receipt(self, item_id: str, status: ReceiptStatus, turn: int | None = None) -> bool:
        """Says how far an inbox item has come, `turn` when the model has it; False when the platform does not
        take it, as for what was withdrawn meanwhile: such an item is not for the agent any more."""
        ...

    async def answer_ask(self, ask_id: str, text: str, turn: int) -> None:
        """The agent's answer to a person's question; raises `Refused` when nobody waits for it any more."""
        ...

    async def ask_person(self, client_id: str, question: str, options: Sequence[str]) -> QuestionState:
        """Puts a question of the agent to people; the same `client_id` is the same question."""
        ...

    async def expire_question(self, question_id: str) -> QuestionState:
        """Nobody waits any more; the answer says whether one had come before that."""
        ...

    async def approval(self, request: ApprovalRequest, *, once: bool = False) -> ApprovalState:
        """Opens a gate, or reads it; `once` without retries. Raises `Refused` when there may be no more."""
        ...

    async def expire_approval(self, request_id: str) -> ApprovalState:
        """Nobody waits any more; the answer says whether a decision had come before that."""
        ...

    async def checkpoint(self, turn: int, commit: str) -> None:
        """Records that the work after `turn` is kept as `commit`, which was pushed before."""
        ...

    async def upload_trace(self, part: int, body: bytes, *, final: bool, truncated: bool) -> None:
        """Hands over a part of the trajectory, one gzip member; parts are numbered from 1. Raises `TraceGap`
        when one before it is missing and `Refused` when no more is taken."""
        ...

    async def result(self, result: RunResult) -> None:
        """Reports the end; a repeated report of the same end is accepted."""
        ...

    async def close(self) -> None:
        """Gives back connections; nothing is sent."""
        ...
