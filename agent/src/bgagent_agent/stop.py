"""Why a task must stop before it is done, and a guard that makes any step interruptible by it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

StopReason = Literal["cancelled", "time_up", "terminated", "parked"]
T = TypeVar("T")


class Stopped(Exception):
    """A guarded step was given up because the task must stop."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason: StopReason = reason


class StopSignal:
    """Raised once, by whoever is first: a cancel, the deadline, the process being told to end, or a question
    that nobody answered. Of the last one a cancel makes its own, as long as the attempt is not over.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason: StopReason | None = None

    def request(self, reason: StopReason) -> None:
        """Later requests change nothing, but for a cancel of what only waits for a person."""
        if self.reason is None or (self.reason, reason) == ("parked", "cancelled"):
            self.reason = reason
            self._event.set()

    async def wait(self) -> StopReason:
        """Returns the reason once there is one."""
        await self._event.wait()
        if self.reason is None:
            raise AssertionError("raised without a reason")
        return self.reason

    async def guard(self, step: Coroutine[Any, Any, T]) -> T:
        """Runs a step; if the task must stop first, the step is cancelled and `Stopped` raised."""
        if self.reason is not None:
            step.close()
            raise Stopped(self.reason)
        running = asyncio.ensure_future(step)
        waiting = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and self.reason is not None:
                running.cancel()
                await asyncio.wait({running})
                raise Stopped(self.reason)
            return await running
        finally:
            waiting.cancel()
            if not running.done():
                running.cancel()
                await asyncio.wait({running})


class Deadline:
    """The time the platform leaves to the task, corrected by every heartbeat."""

    def __init__(self, remaining_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._at = self._loop.time() + remaining_s

    @property
    def remaining_s(self) -> float:
        """Seconds left, 0 when there are none."""
        return max(0.0, self._at - self._loop.time())

    def correct(self, remaining_s: float) -> None:
        """The platform's clock decides; waiting for people gives time back."""
        self._at = self._loop.time() + remaining_s
        self._changed.set()

    async def wait(self) -> None:
        """Returns when the time is up."""
        while self.remaining_s > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(self.remaining_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
