"""The `Runner` seam: something that works on the repository, steered while it runs.

The SDK (`sdk_runner.py`) is the first implementation. A run is a sequence of queries: `start` begins the
first, `resume` the next, and each ends with exactly one `QueryDone` on the event stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Brief:
    """What the runner is to do, and how far it may go."""

    prompt: str
    system_prompt: str
    directory: str
    model: str
    tools: tuple[str, ...]
    turns_left: int
    turns_used: int


@dataclass(frozen=True)
class ToolCall:
    """A tool the model asked for."""

    id: str
    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True)
class TurnTaken:
    """The model has spoken once; `turn` counts over the whole task. Texts are raw: not redacted yet."""

    turn: int
    model: str
    thinking: str
    text: str
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True)
class ToolEnded:
    """A tool gave its answer back to the model."""

    turn: int
    call: ToolCall
    is_error: bool
    content: str


@dataclass(frozen=True)
class TurnSettled:
    """All tools of a turn are done: the moment at which the tree is worth keeping."""

    turn: int


@dataclass(frozen=True)
class NudgeAttached:
    """A nudge is part of what the model reads next."""

    nudge_id: str


@dataclass(frozen=True)
class ModelRetry:
    """The model did not answer and is asked again."""

    attempt: int
    status: int | None
    detail: str


EndReason = Literal["completed", "max_turns", "budget", "api_error", "crashed", "interrupted", "ungated"]


@dataclass(frozen=True)
class QueryDone:
    """A query is over; `text` is the model's last word, `status` that of a failed call of the model."""

    reason: EndReason
    text: str
    status: int | None = None
    detail: str = ""


RunnerEvent = TurnTaken | ToolEnded | TurnSettled | NudgeAttached | ModelRetry | QueryDone


class Runner(Protocol):
    """One agent for one attempt."""

    async def start(self, brief: Brief) -> None:
        """Begins the first query; raises nothing: a start that fails is a `QueryDone` of reason crashed."""
        ...

    async def resume(self, text: str) -> None:
        """Begins another query in the same conversation, after a `QueryDone`."""
        ...

    async def nudge(self, nudge_id: str, text: str, mode: str) -> bool:
        """Puts a message before the model at the next tool boundary; `NudgeAttached` follows when it is.

        False when no query runs: the message was not taken.
        """
        ...

    async def answer(self, ask_id: str, text: str) -> bool:
        """Answers a question the agent asked; False when nobody waits for it."""
        ...

    async def decide(self, gate_id: str, allow: bool, reason: str) -> bool:
        """Decides a tool call that waits at a gate; False when nobody waits for it."""
        ...

    async def cancel(self, reason: str) -> None:
        """Stops the agent and its tools; after this nothing runs and nothing starts; takes seconds."""
        ...

    def events(self) -> AsyncIterator[RunnerEvent]:
        """Everything that happens, in order; ends after `cancel`."""
        ...
