"""What a person wants to be read before the next tool call starts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from .runner import Message, joined

# The other calls that the model asked for together with the one that was denied.
HELD_BACK = "Not run: a person's message stands in the result of an earlier call. Read it first."
T = TypeVar("T")


class Steer:
    """Holds messages until a tool call is about to start; that call is denied with them.

    The calls beside it were asked for without knowing the message, so those that have not started are held
    back too, until the model has read it.
    """

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._arrived = asyncio.Event()
        self.holds_back = False

    @property
    def waits(self) -> bool:
        """There is something to read."""
        return bool(self._messages)

    def add(self, message: Message) -> None:
        """Later messages join those that wait, so that their order stays."""
        self._messages.append(message)
        self._arrived.set()

    def take(self) -> Message | None:
        """What waits, as one message."""
        messages, self._messages = self._messages, []
        self._arrived.clear()
        return joined(messages) if messages else None

    async def unless_steered(self, step: Awaitable[T]) -> T | None:
        """The step's value; None, with the step given up, when a message waits or comes."""
        running = asyncio.ensure_future(step)
        coming = asyncio.ensure_future(self._arrived.wait())
        try:
            await asyncio.wait({running, coming}, return_when=asyncio.FIRST_COMPLETED)
            return None if self.waits or coming.done() else await running
        finally:
            coming.cancel()
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
            elif not running.cancelled():
                running.exception()
