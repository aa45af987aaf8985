"""A tool call waits for a person's decision."""

from __future__ import annotations

import asyncio
import hashlib
import json
from asyncio import CancelledError
from collections.abc import Mapping
from typing import Any

from .control import ApprovalRequest, ApprovalState, Control
from .desk import Desk
from .errands import Errands
from .errors import Refused, Unreachable
from .logs import Log
from .redaction import Redactor
from .runner import ToolCall
from .stop import Stopped

FAILED_READS = 10
_READ_S = 15.0
_READ_AGAIN_S = 5.0
_LARGEST_INPUT_BYTES = 4_096
_GATE_LIMIT = "GATE_LIMIT"


class Approvals:
    """Opens a gate, waits for the decision and obeys the platform, which alone knows who was first.

    A decision comes through the inbox. The gate is read now and then as well, in case it got lost; a platform
    that cannot be read ten times in a row counts as one whose time is up.
    """

    def __init__(
        self,
        control: Control,
        desk: Desk,
        redactor: Redactor,
        errands: Errands,
        log: Log,
        *,
        read_s: float = _READ_S,
        read_again_s: float = _READ_AGAIN_S,
    ) -> None:
        self._control = control
        self._desk = desk
        self._redactor = redactor
        self._errands = errands
        self._log = log
        self._read_s = read_s
        self._read_again_s = read_again_s

    async def decide(
        self,
        call: ToolCall,
        *,
        rule_ids: tuple[str, ...],
        severity: str,
        summary: str,
        timeout_s: int,
        scopes: tuple[str, ...],
    ) -> ApprovalState:
        """How the gate was closed: approved, denied, timed_out. Raises what a broken platform raises."""
        shown, truncated = input_shown(self._redactor.scrub(dict(call.input)))
        request = ApprovalRequest(
            call.id,
            call.name,
            shown,
            truncated,
            input_hash(call),
            rule_ids,
            severity,
            self._redactor.text(summary),
            timeout_s,
            scopes,
        )
        try:
            state = await self._control.approval(request)
        except Refused as refusal:
            if refusal.code != _GATE_LIMIT:
                raise
            return ApprovalState("", "denied", 0.0, reason="this task may ask people no more")
        if state.state != "pending":
            return state
        try:
            return await self._closed(request, state)
        except Stopped:
            return ApprovalState(state.id, "denied", 0.0, reason="the task is being stopped")
        except CancelledError:
            # The call was given up for something that a person said.
            self._errands.send("a gate was given up", self._control.expire_approval(state.id))
            raise

    async def _closed(self, request: ApprovalRequest, state: ApprovalState) -> ApprovalState:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + state.remaining_s
        failed = 0
        while True:
            pause = self._read_again_s if failed else self._read_s
            item = await self._desk.wait(state.id, min(pause, deadline - loop.time()))
            if item is not None:
                return _decided(state.id, item.fields)
            if loop.time() >= deadline:
                return await self._control.expire_approval(state.id)
            try:
                read = await self._control.approval(request, once=True)
            except Unreachable as error:
                failed += 1
                self._log.warning("a gate could not be read", failed=failed, error=str(error))
                if failed >= FAILED_READS:
                    self._errands.send("a gate was given up", self._control.expire_approval(state.id))
                    return ApprovalState(state.id, "timed_out", 0.0, reason="the platform does not answer")
            else:
                failed = 0
                if read.state != "pending":
                    return read


def input_hash(call: ToolCall) -> str:
    """What a decision is bound to."""
    text = json.dumps({"tool": call.name, "input": call.input}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def input_shown(value: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The input as people see it, at most 4 KB, and whether strings were cut for that."""
    if _size(value) <= _LARGEST_INPUT_BYTES:
        return value, False
    for limit in (2_000, 1_000, 400, 100):
        cut = {name: _cut(one, limit) for name, one in value.items()}
        if _size(cut) <= _LARGEST_INPUT_BYTES:
            return cut, True
    return {"fields": sorted(str(name)[:40] for name in value)[:20]}, True


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= limit else value[: limit - 1] + "…"
    if isinstance(value, dict):
        return {key: _cut(one, limit) for key, one in value.items()}
    if isinstance(value, list):
        return [_cut(one, limit) for one in value]
    return value


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def _decided(request_id: str, fields: Mapping[str, Any]) -> ApprovalState:
    """Only the word approved approves."""
    return ApprovalState(
        request_id,
        "approved" if fields.get("state") == "approved" else "denied",
        0.0,
        str(fields.get("scope") or ""),
        str(fields.get("reason") or ""),
    )
