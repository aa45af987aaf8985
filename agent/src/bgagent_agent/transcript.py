"""Turns the SDK's messages into runner events: a pure state machine that is fed one message at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    Message,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from .runner import (
    MessageAttached,
    ModelRetry,
    QueryDone,
    RunnerEvent,
    ToolCall,
    ToolEnded,
    TurnSettled,
    TurnTaken,
)

# The CLI tells the user of a failed call in a message of its own; it is no turn of the model.
_SYNTHETIC = "<synthetic>"
# What watchers read of a call that was denied with a person's message: the message has events of its own.
_REPLACED = "Not run: a person's message takes its place."


class Transcript:
    """Counts turns, matches tool results with their calls and knows which of our messages the model has seen.

    The CLI sends a model message block by block; a turn is told once, when the stream says that the message
    is complete or, without that, when something else follows.
    """

    def __init__(self, turns_used: int) -> None:
        self.turns = turns_used
        self.last_text = ""
        self.gated: set[str] = set()
        self._model = ""
        self._message_id: str | None = None
        self._thinking: list[str] = []
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._open: dict[str, tuple[int, ToolCall]] = {}
        self._waiting: dict[str, tuple[str, ...]] = {}
        self._steered: dict[str, tuple[str, ...]] = {}
        self._told_id: str | None = None

    @property
    def idle(self) -> bool:
        """No message of ours waits to be taken in."""
        return not self._waiting

    @property
    def current(self) -> int:
        """The turn that the model is in, told already or not."""
        return self.turns + bool(self._thinking or self._texts or self._calls)

    def sent(self, uuid: str, message_ids: tuple[str, ...] = ()) -> None:
        """A user message was sent; the query is not over before the model has taken it in."""
        self._waiting[uuid] = message_ids

    def steered(self, call_id: str, message_ids: tuple[str, ...]) -> None:
        """A call was denied with a message: the model has that when it has the call's result."""
        self._steered[call_id] = message_ids

    def feed(self, message: Message) -> Iterator[RunnerEvent]:
        """The events that follow from one message; results come out through `ended` of the runner."""
        if isinstance(message, AssistantMessage):
            yield from self._assistant(message)
        elif isinstance(message, StreamEvent):
            if message.event.get("type") == "message_stop" and message.parent_tool_use_id is None:
                yield from self._tell_turn()
        elif isinstance(message, UserMessage):
            yield from self._tell_turn()
            yield from self._user(message)
        elif isinstance(message, ResultMessage):
            yield from self._tell_turn()
            for uuid in message.user_message_uuids or []:
                yield from self._taken_in(uuid)
        elif isinstance(message, SystemMessage) and message.subtype == "api_retry":
            yield _retry(message.data)

    def _assistant(self, message: AssistantMessage) -> Iterator[RunnerEvent]:
        if message.parent_tool_use_id is not None or message.model == _SYNTHETIC:
            return
        if message.message_id != self._message_id:
            yield from self._tell_turn()
            self._message_id = message.message_id
        self._model = message.model
        for block in message.content:
            if isinstance(block, ThinkingBlock):
                self._thinking.append(block.thinking)
            elif isinstance(block, TextBlock):
                self._texts.append(block.text)
            elif isinstance(block, ToolUseBlock):
                self._calls.append(ToolCall(block.id, block.name, block.input))

    def _tell_turn(self) -> Iterator[RunnerEvent]:
        if not (self._thinking or self._texts or self._calls):
            return
        if self._told_id is None or self._told_id != self._message_id:
            self.turns += 1
            self._told_id = self._message_id
        text = "\n".join(self._texts).strip()
        if text:
            self.last_text = text
        calls = tuple(self._calls)
        self._open |= {call.id: (self.turns, call) for call in calls}
        thinking = "\n".join(self._thinking).strip()
        self._thinking, self._texts, self._calls = [], [], []
        yield TurnTaken(self.turns, self._model, thinking, text, calls)

    def _user(self, message: UserMessage) -> Iterator[RunnerEvent]:
        if message.uuid:
            yield from self._taken_in(message.uuid)
        if message.parent_tool_use_id is not None or isinstance(message.content, str):
            return
        for block in message.content:
            if not isinstance(block, ToolResultBlock):
                continue
            turn, call = self._open.pop(block.tool_use_id, (self.turns, ToolCall(block.tool_use_id, "", {})))
            ids = self._steered.pop(block.tool_use_id, ())
            # The CLI words a denial as an error of a hook; who watches wants the reason alone.
            content = _content(block.content)
            told = _REPLACED if ids else content.removeprefix(f"PreToolUse:{call.name} hook error: ")
            yield ToolEnded(turn, call, bool(block.is_error), content, told)
            if ids:
                yield MessageAttached(ids, turn + 1)
            if not any(open_turn == turn for open_turn, _ in self._open.values()):
                yield TurnSettled(turn)

    def _taken_in(self, uuid: str) -> Iterator[RunnerEvent]:
        if ids := self._waiting.pop(uuid, ()):
            yield MessageAttached(ids, self.turns + 1)

    def ungated(self, event: RunnerEvent) -> bool:
        """A tool ran although the gate was never asked: the hooks are off, and nothing may go on."""
        return isinstance(event, ToolEnded) and not event.is_error and event.call.id not in self.gated


def ending(message: ResultMessage, last_text: str) -> QueryDone:
    """How a query ended; the subtype alone says "success" even when the model could not be reached."""
    text = message.result if message.result and not message.is_error else last_text
    detail = "; ".join(message.errors or []) or (message.result or "")
    status = message.api_error_status
    if status == 402 or message.subtype == "error_max_budget_usd":
        return QueryDone("budget", last_text, status, detail)
    if message.subtype == "error_max_turns":
        return QueryDone("max_turns", last_text, None, detail)
    if message.terminal_reason in ("aborted_streaming", "aborted_tools"):
        return QueryDone("interrupted", last_text, None, detail)
    if message.is_error or status is not None:
        return QueryDone("api_error", last_text, status, detail)
    return QueryDone("completed", text or last_text)


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part.get("text", "") if isinstance(part, dict) else str(part) for part in content]
    return "\n".join(part for part in parts if part)


def _retry(data: Mapping[str, Any]) -> ModelRetry:
    status = data.get("error_status", data.get("status"))
    attempt = data.get("attempt", 0)
    detail = data.get("error", data.get("message", ""))
    return ModelRetry(
        attempt if isinstance(attempt, int) else 0,
        status if isinstance(status, int) else None,
        detail if isinstance(detail, str) else json.dumps(detail),
    )
