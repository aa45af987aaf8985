"""Hears what the platform wants while the agent works."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from . import wording
from .asks import Asks
from .control import Control, InboxItem
from .desk import Desk
from .logs import Log
from .runner import MODES, Message, Mode, Runner, joined
from .standing import Standing
from .stop import StopReason, StopSignal

_REPEATED_POLL_S = 1.0
_STOPS: dict[str, StopReason] = {"cancel": "cancelled", "time_up": "time_up"}
_NUDGE, _ASK = "nudge", "ask"
# What people say to something that the agent asked, and the field that names what.
_REPLIES = {"answer": "question_id", "decision": "request_id"}


class Inbox:
    """Polls for items; each is handled once, however often the platform shows it.

    What people say is acknowledged first and given to the agent then: an item whose acknowledgement is not
    taken, because it was withdrawn, never reaches the model. What came at once goes as one message.
    """

    def __init__(
        self, control: Control, runner: Runner, stop: StopSignal, desk: Desk, asks: Asks, log: Log
    ) -> None:
        self._control = control
        self._runner = runner
        self._stop = stop
        self._desk = desk
        self._asks = asks
        self._log = log
        self._seen: set[str] = set()
        self._kinds: dict[str, str] = {}
        self._held: list[Message] = []
        self.standing = Standing()
        # An item that has arrived counts, even while its receipt is on the way.
        self._handling = asyncio.Lock()
        self._steerable = False

    async def run(self) -> None:
        """Listens until cancelled."""
        while True:
            items = await self._control.inbox()
            fresh = [item for item in items if item.id not in self._seen]
            self._seen |= {item.id for item in fresh}
            async with self._handling:
                await self._handle(fresh)
            if items and not fresh:
                # What was acknowledged is still shown; asking again at once would be a loop.
                await asyncio.sleep(_REPEATED_POLL_S)

    async def open(self) -> None:
        """A query runs: what came since the last `take` is given to it."""
        async with self._handling:
            self._steerable = True
            held, self._held = self._held, []
            await self._say(held)

    def hold(self) -> None:
        """No query runs: what comes now waits for the next."""
        self._steerable = False

    async def take(self, *, questions: bool = True) -> Message | None:
        """What waits, as one message to go with the next query.

        Without `questions` None when there are only questions: they ask for no query of their own.
        """
        async with self._handling:
            waits = any(self._kinds[item_id] == _NUDGE for message in self._held for item_id in message.ids)
            if not self._held or not (waits or questions):
                return None
            held, self._held = self._held, []
        return joined(held)

    async def delivered(self, item_ids: Sequence[str], turn: int) -> None:
        """The model has the items before it, in the request of `turn`."""
        for item_id in item_ids:
            await self._control.receipt(item_id, "delivered", turn)

    async def _handle(self, items: Sequence[InboxItem]) -> None:
        for item in items:
            if item.kind in _STOPS:
                self._stop.request(_STOPS[item.kind])
        said = []
        for item in items:
            if item.kind in _REPLIES:
                self._desk.put(str(item.fields.get(_REPLIES[item.kind], "")), item)
            elif item.kind not in (*_STOPS, _NUDGE, _ASK):
                self._log.warning("an inbox item of an unknown kind", kind=item.kind)
            taken = await self._control.receipt(item.id, "acknowledged")
            if taken and item.kind in (_NUDGE, _ASK):
                self._kinds[item.id] = item.kind
                if item.kind == _ASK:
                    self._asks.arrived(item.id)
                message = _message(item)
                if item.kind == _NUDGE:
                    self.standing.heard(item.id, message.text)
                said.append(message)
        await self._say(said)

    async def _say(self, messages: list[Message]) -> None:
        if not messages:
            return
        message = joined(messages)
        taken = False
        if self._steerable:
            try:
                taken = await self._runner.nudge(message)
            except Exception as error:
                self._log.warning("a message could not be delivered", ids=message.ids, error=repr(error))
        if not taken:
            self._held.append(message)


def _message(item: InboxItem) -> Message:
    if item.kind == _ASK:
        return Message((item.id,), wording.question(item))
    return Message((item.id,), wording.nudge(item), _mode(item.fields.get("mode")))


def _mode(value: object) -> Mode:
    return next((mode for mode in MODES if mode == value), "next")
