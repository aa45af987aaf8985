"""Calls to the platform that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from .logs import Log


class Errands:
    """What fails here is logged: where it matters, the platform's own timers come to the same end."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._running: set[asyncio.Task[None]] = set()

    def send(self, what: str, call: Coroutine[Any, Any, object]) -> None:
        """Starts it."""
        task = asyncio.create_task(self._run(what, call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Gives up what is still on its way."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self, what: str, call: Coroutine[Any, Any, object]) -> None:
        try:
            await call
        except Exception as error:
            self._log.warning("the platform was not told", what=what, error=repr(error))
