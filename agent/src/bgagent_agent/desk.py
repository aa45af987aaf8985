"""Where what people answer or decide waits for the step that asked."""

from __future__ import annotations

import asyncio
from typing import Any

from .control import InboxItem
from .stop import Stopped, StopSignal


class Desk:
    """An item may come before anybody waits for it; it is kept then."""

    def __init__(self, stop: StopSignal) -> None:
        self._stop = stop
        self._items: dict[str, asyncio.Future[InboxItem]] = {}

    def put(self, key: str, item: InboxItem) -> None:
        """The first one counts."""
        future = self._future(key)
        if not future.done():
            future.set_result(item)

    async def wait(self, key: str, seconds: float) -> InboxItem | None:
        """The item, or None when it did not come in time; raises `Stopped` once the task must stop."""
        future = self._future(key)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            both: set[asyncio.Future[Any]] = {future, stopping}
            await asyncio.wait(both, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
            if self._stop.reason is not None:
                raise Stopped(self._stop.reason)
            return future.result() if future.done() else None
        finally:
            stopping.cancel()

    def _future(self, key: str) -> asyncio.Future[InboxItem]:
        return self._items.setdefault(key, asyncio.get_running_loop().create_future())
