"""`Control` without a platform: the payload is at hand, events become lines, and the result is kept."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from ..control import (
    ApprovalRequest,
    ApprovalState,
    Event,
    InboxItem,
    Pulse,
    QuestionState,
    ReceiptStatus,
    RunResult,
)
from ..payload import Session, parse_session


class LocalControl:
    """Nothing here can be stale, unreachable or refused. Ctrl-C takes the place of a cancel."""

    def __init__(self, payload: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self._payload = payload
        self._say = say
        self._deadline = time.monotonic() + float(payload["limits"]["remaining_s"])
        self.kept: RunResult | None = None

    async def session(self) -> Session:
        """The payload, read as the platform's is."""
        return parse_session(self._payload)

    async def send_events(self, events: Sequence[Event]) -> int:
        """One line for each event that has something to say."""
        for event in events:
            if line := line_of(event):
                self._say(line)
        return events[-1].client_seq

    async def heartbeat(self, turn: int, tool: str | None) -> Pulse:
        """The time that is left."""
        del turn, tool
        return Pulse(False, max(0.0, self._deadline - time.monotonic()))

    async def inbox(self) -> Sequence[InboxItem]:
        """Nobody writes."""
        await asyncio.Event().wait()
        return []

    async def receipt(self, item_id: str, status: ReceiptStatus, turn: int | None = None) -> bool:
        """There are no items."""
        del item_id, status, turn
        return True

    async def answer_ask(self, ask_id: str, text: str, turn: int) -> None:
        """Nobody asks."""

    async def ask_person(self, client_id: str, question: str, options: Sequence[str]) -> QuestionState:
        """Nobody is there, and the agent is told so at once."""
        del question, options
        return QuestionState(client_id, "nobody", 0.0)

    async def expire_question(self, question_id: str) -> QuestionState:
        """As before."""
        return QuestionState(question_id, "nobody", 0.0)

    async def approval(self, request: ApprovalRequest, *, once: bool = False) -> ApprovalState:
        """Nobody is there to approve."""
        del once
        return ApprovalState(request.client_id, "denied", 0.0, reason="nobody is there to approve it")

    async def expire_approval(self, request_id: str) -> ApprovalState:
        """As before."""
        return ApprovalState(request_id, "denied", 0.0, reason="nobody is there to approve it")

    async def checkpoint(self, turn: int, commit: str) -> None:
        """The snapshot is in the clone."""

    async def upload_trace(self, part: int, body: bytes, *, final: bool, truncated: bool) -> None:
        """Nothing is kept: who runs a task here sees what it does."""

    async def result(self, result: RunResult) -> None:
        """Kept for the end."""
        self.kept = result

    async def close(self) -> None:
        """There is nothing to close."""


def line_of(event: Event) -> str:
    """An event as a watcher sees it; empty for what is no news."""
    told = event.metadata
    match event.event_type:
        case "agent_turn":
            return f"● turn {told['turn']}  {_one_line(told['text_preview'] or told['thinking_preview'])}"
        case "agent_tool_call":
            return f"→ {told['tool_name']}  {_one_line(told['tool_input_preview'])}"
        case "agent_tool_result":
            failed = " failed" if told["is_error"] else ""
            return f"← {told['tool_name']}{failed}  {_one_line(told['content_preview'])}"
        case "agent_milestone":
            return f"◆ {told['milestone']}  {_one_line(told['details'])}".rstrip()
        case "agent_blocked":
            return f"! {_one_line(told['detail'])}  {told['remediation_hint']}"
        case "agent_error":
            return f"! {told['error_type']}  {_one_line(told['message_preview'])}"
        case _:
            return ""


def printer(stream: TextIO | None = None) -> Callable[[str], None]:
    """Prints a line with the time before it, without control characters, which a terminal would obey."""

    def say(line: str) -> None:
        clean = "".join(char for char in line if char.isprintable())
        # A terminal that was closed does not end the work.
        with contextlib.suppress(OSError):
            print(f"{time.strftime('%H:%M:%S')}  {clean}", file=stream or sys.stdout, flush=True)

    return say


def _one_line(text: str) -> str:
    return " ".join(str(text).split())
