"""Ends an attempt whose agent asked something that nobody has answered yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .stop import Stopped, StopSignal


class Parking:
    """The work is kept before anything is given up, and only an attempt whose work is kept may end like this.

    A later attempt goes on from there with the answer.
    """

    def __init__(self, wanted: bool, stop: StopSignal, keep: Callable[[], Awaitable[bool]]) -> None:
        self._wanted = wanted
        self._stop = stop
        self._keep = keep
        self.question_id: str | None = None

    async def park(self, question_id: str) -> None:
        """Returns when the agent has to do without an answer. Else it does not return to the agent at all:
        the attempt ends, and whoever waits here is cancelled with it; raises `Stopped` for another end.
        """
        if not self._wanted or not await self._keep():
            return
        if self._stop.reason is None:
            self.question_id = question_id
            self._stop.request("parked")
        if self._stop.reason != "parked":
            raise Stopped(await self._stop.wait())
        await asyncio.Event().wait()
