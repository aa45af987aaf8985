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
        self._held: list[InboxItem] = []
        # An item that has arrived counts, even while its receipt is on the way.
        self._handling = asyncio.Lock()
        self._steerable = False

    async def run(self) -> None:
        """Listens until cancelled."""
        while True:
            items = await self._control.inbox()
            fresh = [item for item in items if item.id not in self._seen]
            for item in fresh:
                self._seen.add(item.id)
                async with self._handling:
                    await self._handle(item)
            if items and not fresh:
                # What was acknowledged is still shown; asking again at once would be a loop.
                await asyncio.sleep(_REPEATED_POLL_S)

    async def open(self) -> None:
        """A query runs: nudges that came before are given to it."""
        async with self._handling:
            self._steerable = True
            held, self._held = self._held, []
            for item in held:
                await self._nudge(item)

    def hold(self) -> None:
        """No query runs: what comes now waits for the next."""
        self._steerable = False

    async def take(self) -> str:
        """The nudges that wait, as one message for a query of their own; empty when there are none."""
        async with self._handling:
            held, self._held = self._held, []
            for item in held:
                await self.delivered(item.id)
        return "\n\n".join(_text(item) for item in held)

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
        elif item.kind not in ("nudge", "ask"):
            self._log.warning("an inbox item of an unknown kind", kind=item.kind)
        await self._control.receipt(item.id, "acknowledged")
        if item.kind in ("nudge", "ask"):
            await self._nudge(item)

    async def _nudge(self, item: InboxItem) -> None:
        taken = False
        if self._steerable:
            try:
                taken = await self._runner.nudge(item.id, _text(item), str(item.fields.get("mode") or "next"))
            except Exception as error:
                self._log.warning("a nudge could not be delivered", nudge_id=item.id, error=repr(error))
        if not taken:
            self._held.append(item)


def _text(item: InboxItem) -> str:
    return str(item.fields.get("text") or item.fields.get("message") or "")
