"""Tells the platform what the agent does: runner events become task events."""

from __future__ import annotations

import json
import time

from .reporter import Reporter
from .runner import ModelRetry, RunnerEvent, ToolCall, ToolEnded, TurnTaken

# The one field of a tool's input that says what it does; everything else is detail.
_TELLING = ("command", "file_path", "pattern", "path", "url", "question")


class Narrator:
    """Also knows the current turn and tool, for the heartbeat."""

    def __init__(self, reporter: Reporter, turns_used: int, trace: bool) -> None:
        self._reporter = reporter
        self._trace = trace
        self._running: dict[str, str] = {}
        self._asked: dict[str, float] = {}
        self.turn = turns_used

    @property
    def tool(self) -> str | None:
        """The tool that was started last and still runs."""
        return next(reversed(self._running.values()), None)

    def stopped(self) -> None:
        """No tool runs any more."""
        self._running.clear()
        self._asked.clear()

    async def tell(self, event: RunnerEvent) -> None:
        """Emits what watchers should see of one event."""
        preview = self._reporter.preview
        if isinstance(event, TurnTaken):
            self.turn = event.turn
            self._running |= {call.id: call.name for call in event.calls}
            self._asked |= {call.id: time.monotonic() for call in event.calls}
            await self._reporter.emit(
                "agent_turn",
                turn=event.turn,
                model=event.model,
                thinking_preview=preview(event.thinking),
                text_preview=preview(event.text),
                tool_calls_count=len(event.calls),
            )
            for call in event.calls:
                await self._reporter.emit(
                    "agent_tool_call",
                    tool_name=call.name,
                    tool_input_preview=preview(self._told(call)),
                    turn=event.turn,
                )
        elif isinstance(event, ToolEnded):
            self._running.pop(event.call.id, None)
            asked = self._asked.pop(event.call.id, None)
            # Events wait for company before they leave; how long a tool took is therefore said, not seen.
            took = {} if asked is None else {"duration_ms": int((time.monotonic() - asked) * 1000)}
            await self._reporter.emit(
                "agent_tool_result",
                tool_name=event.call.name,
                is_error=event.is_error,
                content_preview=preview(event.told or event.content),
                turn=event.turn,
                **took,
            )
        elif isinstance(event, ModelRetry):
            status = "no answer" if event.status is None else f"status {event.status}"
            await self._reporter.emit(
                "agent_blocked",
                kind="model_unavailable",
                detail=preview(f"{status}, try {event.attempt}: {event.detail}"),
                remediation_hint="The model is asked again; nothing to do unless it goes on.",
                retryable=True,
            )

    def _told(self, call: ToolCall) -> str:
        if not self._trace:
            for name in _TELLING:
                value = call.input.get(name)
                if isinstance(value, str) and value:
                    return value
        return json.dumps(dict(call.input), ensure_ascii=False)
