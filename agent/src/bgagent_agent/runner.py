"""The `Runner` seam: something that works on the repository, steered while it runs.

The SDK (`sdk_runner.py`) is the first implementation. A run is a sequence of queries: `start` begins the
first, `resume` the next, and each ends with exactly one `QueryDone` on the event stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Mode = Literal["next", "steer", "interrupt"]
MODES: tuple[Mode, ...] = ("next", "steer", "interrupt")


@dataclass(frozen=True)
class Message:
    """What people say to the agent while it works; `ids` are those of the inbox items in it, in order.

    `next` reaches the model in its next request, `steer` takes the place of the tool call about to start,
    `interrupt` stops the one that runs.
    """

    ids: tuple[str, ...]
    text: str
    mode: Mode = "next"


def joined(messages: Sequence[Message]) -> Message:
    """One message of several, in order, in the strongest of their modes."""
    return Message(
        tuple(item_id for message in messages for item_id in message.ids),
        "\n\n".join(message.text for message in messages),
        max((message.mode for message in messages), key=MODES.index, default="next"),
    )


@dataclass(frozen=True)
class OwnCall:
    """A call of one of the platform's own tools, in the turn `turn`."""

    id: str
    turn: int
    input: Mapping[str, Any]


@dataclass(frozen=True)
class OwnTool:
    """A tool that the harness itself carries out, beside those that work in the sandbox."""

    name: str
    description: str
    schema: Mapping[str, Any]
    run: Callable[[OwnCall], Awaitable[str]]


class Recorder(Protocol):
    """Keeps what happened for people to read later; takes whatever object it is given and never raises."""

    def __call__(self, kind: str, turn: int | None = None, /, **fields: Any) -> None:
        """One line of the given kind."""
        ...


def unrecorded(kind: str, turn: int | None = None, /, **fields: Any) -> None:
    """The recorder of a task whose trajectory is not kept."""
    del kind, turn, fields


def _nothing_to_remind() -> str | None:
    return None


def _nothing_stands(message_ids: Sequence[str]) -> str | None:
    del message_ids
    return None


@dataclass(frozen=True)
class Brief:
    """What the runner is to do, and how far it may go.

    `message_ids` are those of the messages that the prompt already carries. `remind` is asked between turns
    for a word to the model. `standing` is asked, with the ids of the messages that the model has been given,
    what of them it must have before it again when its conversation was shortened.
    """

    prompt: str
    system_prompt: str
    directory: str
    model: str
    tools: tuple[str, ...]
    turns_left: int
    turns_used: int
    message_ids: tuple[str, ...] = ()
    own_tools: tuple[OwnTool, ...] = ()
    remind: Callable[[], str | None] = _nothing_to_remind
    standing: Callable[[Sequence[str]], str | None] = _nothing_stands
    record: Recorder = unrecorded


@dataclass(frozen=True)
class ToolCall:
    """A tool the model asked for; `directory` is where it starts, empty where that is not known."""

    id: str
    name: str
    input: Mapping[str, Any]
    directory: str = ""


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
    """A tool gave its answer back to the model; `told` is what people read, where that differs."""

    turn: int
    call: ToolCall
    is_error: bool
    content: str
    told: str = ""


@dataclass(frozen=True)
class TurnSettled:
    """All tools of a turn are done: the moment at which the tree is worth keeping."""

    turn: int


@dataclass(frozen=True)
class MessageAttached:
    """A message is part of the request from which the turn `turn` follows."""

    ids: tuple[str, ...]
    turn: int


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


RunnerEvent = TurnTaken | ToolEnded | TurnSettled | MessageAttached | ModelRetry | QueryDone


class Runner(Protocol):
    """One agent for one attempt."""

    async def start(self, brief: Brief) -> None:
        """Begins the first query; raises nothing: a start that fails is a `QueryDone` of reason crashed."""
        ...

    async def resume(self, text: str, message_ids: tuple[str, ...] = ()) -> None:
        """Begins another query in the same conversation, after a `QueryDone`."""
        ...

    async def nudge(self, message: Message) -> bool:
        """Puts a message before the model in its mode; `MessageAttached` follows when it is.

        False when no query runs: the message was not taken.
        """
        ...

    async def cancel(self, reason: str) -> None:
        """Stops the agent and its tools; after this nothing runs and nothing starts; takes seconds."""
        ...

    def events(self) -> AsyncIterator[RunnerEvent]:
        """Everything that happens, in order; ends after `cancel`."""
        ...
