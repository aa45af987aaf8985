"""Hears what the platform wants while the agent works."""

from __future__ import annotations

import asyncio

from .control import Control, InboxItem
from .logs import Log
from .runner import Runner
from .stop import StopSignal

_REPEATED_POLL_S = 1.0


class Inbox:
    """Polls for items; each is handled once, however often the platform shows it."""

    def __init__(self, control: Control, runner: Runner, stop: StopSignal, log: Log) -> None:
        self._control = control
        self._runner = runner
        self._stop = stop
        self._log = log
        self._seen: set[str] = set()
        self._early: list[InboxItem] = []
        self._steerable = False

    async def run(self) -> None:
        """Listens until cancelled."""
        while True:
            items = await self._control.inbox()
            fresh = [item for item in items if item.id not in self._seen]
            for item in fresh:
                self._seen.add(item.id)
                await self._handle(item)
            if items and not fresh:
                # What was acknowledged is still shown; asking again at once would be a loop.
                await asyncio.sleep(_REPEATED_POLL_S)

    async def open(self) -> None:
        """The agent runs: nudges that came before are delivered now."""
        self._steerable = True
        early, self._early = self._early, []
        for item in early:
            await self._nudge(item)

    def close(self) -> None:
        """The agent has ended: later nudges stay unread, and the platform says so to their sender."""
        self._steerable = False

    async def delivered(self, nudge_id: str) -> None:
        """The model has the nudge before it."""
        await self._control.receipt(nudge_id, "delivered")

    async def _handle(self, item: InboxItem) -> None:
        if item.kind == "cancel":
            self._stop.request("cancelled")
        elif item.kind == "time_up":
            self._stop.request("time_up")
        elif item.kind == "decision":
            fields = item.fields
            gate_id, reason = str(fields.get("gate_id", item.id)), str(fields.get("reason", ""))
            await self._runner.decide(gate_id, bool(fields.get("allow")), reason)
        elif item.kind in ("nudge", "ask"):
            await self._control.receipt(item.id, "acknowledged")
            if self._steerable:
                await self._nudge(item)
            else:
                self._early.append(item)
            return
        else:
            self._log.warning("an inbox item of an unknown kind", kind=item.kind)
        await self._control.receipt(item.id, "acknowledged")

    async def _nudge(self, item: InboxItem) -> None:
        text = str(item.fields.get("text") or item.fields.get("message") or "")
        try:
            await self._runner.nudge(item.id, text, str(item.fields.get("mode") or "next"))
        except Exception as error:
            # Without a receipt the platform knows that it did not arrive.
            self._log.warning("a nudge could not be delivered", nudge_id=item.id, error=repr(error))
