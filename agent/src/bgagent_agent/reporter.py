"""Numbers events and hands them over in batches; no fact is lost while the platform restarts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from .control import Control, Event
from .errors import SequenceGap
from .logs import Log
from .redaction import PREVIEW_CHARS, TRACE_PREVIEW_CHARS, Redactor

_FLUSH_INTERVAL_S = 0.1
_BATCH = 50
_QUEUE = 2_000
# Kept after the platform confirmed them, for the case that it lost them again.
_HISTORY = 500
# What people like to see and nobody decides by. Everything else is a fact.
_SIGHTS = frozenset({"agent_tool_call", "agent_tool_result"})


class Reporter:
    """Events get a dense number when they are made and keep it however often their batch is sent.

    Nobody waits for the platform. While it is away for longer than the queue lasts, what tools were called
    with and what they gave back is dropped before it is numbered, counted, and told of as soon as there is
    room; facts are kept.
    """

    def __init__(
        self,
        control: Control,
        redactor: Redactor,
        log: Log,
        *,
        last_seq: int = 0,
        trace: bool = False,
        flush_interval_s: float = _FLUSH_INTERVAL_S,
        queue: int = _QUEUE,
    ) -> None:
        self._control = control
        self._redactor = redactor
        self._log = log
        self._next = last_seq + 1
        self._confirmed = last_seq
        self._limit = TRACE_PREVIEW_CHARS if trace else PREVIEW_CHARS
        self._interval = flush_interval_s
        self._queue = queue
        self._pending: deque[Event] = deque()
        self._history: deque[Event] = deque(maxlen=_HISTORY)
        self._changed = asyncio.Condition()
        self._draining = 0
        self.events_dropped = 0
        self._untold = 0

    def preview(self, text: str) -> str:
        """The text as it may be stored: redacted, then cut to 200 characters, or 4096 with trace."""
        return self._redactor.preview(text, self._limit)

    async def emit(self, event_type: str, **metadata: Any) -> None:
        """Queues an event, or counts it as dropped where the queue is full and nothing depends on it."""
        async with self._changed:
            if len(self._pending) >= self._queue and event_type in _SIGHTS:
                if self._untold == 0:
                    self._log.warning("the platform takes no events; tools are not shown", queued=self._queue)
                self.events_dropped += 1
                self._untold += 1
                return
            self._append(event_type, metadata)

    def _append(self, event_type: str, metadata: dict[str, Any]) -> None:
        self._pending.append(Event(self._next, event_type, self._redactor.scrub(metadata)))
        self._next += 1
        self._changed.notify_all()

    async def milestone(self, milestone: str, details: str = "") -> None:
        """An `agent_milestone`; its details are cut like every preview."""
        await self.emit("agent_milestone", milestone=milestone, details=self.preview(details))

    async def drain(self) -> None:
        """Returns when the platform holds every event emitted so far."""
        async with self._changed:
            self._draining += 1
            self._changed.notify_all()
            try:
                await self._changed.wait_for(lambda: not self._pending)
            finally:
                self._draining -= 1

    async def run(self) -> None:
        """Sends until cancelled; a batch leaves after 100 ms or with 50 events, at once while draining."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._pending))
                try:
                    async with asyncio.timeout(self._interval):
                        await self._changed.wait_for(
                            lambda: self._draining > 0 or len(self._pending) >= _BATCH
                        )
                except TimeoutError:
                    pass
                batch = [self._pending[i] for i in range(min(_BATCH, len(self._pending)))]
            await self._send(batch)

    async def _send(self, batch: Sequence[Event]) -> None:
        try:
            last = await self._control.send_events(batch)
        except SequenceGap as gap:
            await self._rewind(gap.expected)
            return
        await self._confirm(last)

    async def _confirm(self, last: int) -> None:
        async with self._changed:
            while self._pending and self._pending[0].client_seq <= last:
                self._history.append(self._pending.popleft())
            self._confirmed = max(self._confirmed, last)
            if self._untold and len(self._pending) < self._queue:
                count, self._untold = self._untold, 0
                self._append("agent_blocked", gap(count))
            self._changed.notify_all()

    async def _rewind(self, expected: int) -> None:
        """The platform waits for another number: an answer was lost, or it restarted from an older state."""
        self._log.warning("events are sent again", expected=expected, confirmed=self._confirmed)
        async with self._changed:
            while self._history and self._history[-1].client_seq >= expected:
                self._pending.appendleft(self._history.pop())
            first = self._pending[0].client_seq if self._pending else self._next
        if first > expected:
            raise LookupError(f"event {expected} is wanted, the oldest one kept is {first}")
        await self._confirm(expected - 1)


def gap(count: int) -> dict[str, Any]:
    """What an `agent_blocked` says in the place of events that were dropped."""
    return {
        "kind": "events_dropped",
        "detail": f"{count} events of tools are missing here: the platform was away for too long",
        "remediation_hint": "Nothing to do: no work and no decision was lost.",
        "retryable": True,
        "events_dropped": count,
    }
