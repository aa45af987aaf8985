"""Records what passes between the SDK and the runner."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from claude_agent_sdk import HookMatcher, Message, ResultMessage, StreamEvent

from .runner import Brief, Recorder, RunnerEvent, ToolEnded, TurnTaken, unrecorded

Hook = Callable[[Any, str | None, Any], Awaitable[Any]]
# Nothing is to be done in these; they are told while somebody records.
_WATCHED = ("PostToolUseFailure", "PreCompact", "PostCompact")


class SdkRecording:
    """Without a recorder it does nothing and adds no hooks.

    A model message arrives in pieces and then as a whole. The pieces are recorded only where the whole never
    comes, and joined, because a secret that is cut in two is not seen by the rules.
    """

    def __init__(self, record: Recorder, turn: Callable[[], int]) -> None:
        self._record = record
        self._turn = turn
        self._on = record is not unrecorded
        self._pieces: dict[tuple[str | None, int], list[str]] = {}

    def brief(self, brief: Brief) -> None:
        """What the agent was given."""
        self._record(
            "brief",
            None,
            prompt=brief.prompt,
            system_prompt=brief.system_prompt,
            directory=brief.directory,
            model=brief.model,
            tools=brief.tools,
            turns_left=brief.turns_left,
        )

    def message(self, message: Message) -> None:
        """As it was received."""
        if not self._on:
            return
        if isinstance(message, StreamEvent):
            kind, index = message.event.get("type"), message.event.get("index", -1)
            place = (message.parent_tool_use_id, index)
            if kind == "content_block_delta":
                self._pieces.setdefault(place, []).extend(_words(message.event.get("delta")))
                return
            if kind == "content_block_stop":
                self._pieces.pop(place, None)
            elif kind == "message_start":
                self.broken_off()
        elif isinstance(message, ResultMessage):
            self.broken_off()
        self._record("message", self._turn(), message=message)

    def event(self, event: RunnerEvent) -> None:
        """Inputs and outputs of tools, whole."""
        if isinstance(event, TurnTaken):
            for call in event.calls:
                self._record("tool_input", event.turn, id=call.id, name=call.name, input=call.input)
        elif isinstance(event, ToolEnded):
            self._record(
                "tool_output",
                event.turn,
                id=event.call.id,
                name=event.call.name,
                is_error=event.is_error,
                output=event.content,
            )

    def broken_off(self) -> None:
        """The stream of the model ended; what is incomplete stays so."""
        pieces, self._pieces = self._pieces, {}
        for words in pieces.values():
            self._record("message_part", self._turn(), text="".join(words))

    def hooks(self, hooks: Mapping[str, Sequence[HookMatcher]]) -> dict[str, list[HookMatcher]]:
        """The same, each told with its input and its answer."""
        if not self._on:
            return {event: list(matchers) for event, matchers in hooks.items()}
        watched = {event: [HookMatcher(hooks=[_nothing], timeout=60)] for event in _WATCHED}
        return {
            event: [replace(one, hooks=[self._told(event, hook) for hook in one.hooks]) for one in matchers]
            for event, matchers in {**watched, **hooks}.items()
        }

    def _told(self, event: str, hook: Hook) -> Hook:
        async def told(data: Any, tool_use_id: str | None, context: Any) -> Any:
            began = time.monotonic()
            answer: Any = None
            error: str | None = None
            try:
                answer = await hook(data, tool_use_id, context)
                return answer
            except BaseException as failure:
                error = repr(failure)
                raise
            finally:
                self._record(
                    "hook",
                    self._turn(),
                    event=event,
                    tool_use_id=tool_use_id,
                    input=data,
                    answer=answer,
                    error=error,
                    duration_ms=int((time.monotonic() - began) * 1000),
                )

        return told


async def _nothing(data: Any, tool_use_id: str | None, context: Any) -> Any:
    del data, tool_use_id, context
    return {}


def _words(delta: Any) -> list[str]:
    if not isinstance(delta, Mapping):
        return []
    names = ("text", "thinking", "partial_json")
    return [delta[name] for name in names if isinstance(delta.get(name), str)]
