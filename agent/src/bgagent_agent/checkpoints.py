"""Keeps work in progress outside the sandbox after every turn that changed it, behind the model's back."""

from __future__ import annotations

import asyncio
import contextlib

from .control import Control
from .logs import Log
from .reporter import Reporter
from .tools import PushRefused, RemoteUnavailable, Tools, WorkspaceBroken


class Checkpoints:
    """Coalesces: while one snapshot travels, only the newest turn waits behind it."""

    def __init__(self, tools: Tools, control: Control, reporter: Reporter, log: Log) -> None:
        self._tools = tools
        self._control = control
        self._reporter = reporter
        self._log = log
        self._turn = 0
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._told: str | None = None
        self._waiting: list[asyncio.Future[bool]] = []
        # A snapshot that was made and is not kept: the tree is not what the last checkpoint holds.
        self._lost: str | None = None

    def request(self, turn: int) -> None:
        """A turn is settled: keep its work as soon as possible."""
        if not self._closed:
            self._turn = turn
            self._wanted.set()

    async def settle(self, turn: int) -> bool:
        """As a request, but waits: True when the work as it is now is kept."""
        if self._closed:
            return False
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self.request(turn)
        return bool(await done)

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._idle.clear()
            waiting, self._waiting = self._waiting, []
            kept = False
            try:
                kept = await self.save(self._turn, again=bool(waiting))
            finally:
                self._idle.set()
                for one in waiting:
                    if not one.done():
                        one.set_result(kept)

    async def close(self, timeout: float) -> None:
        """Takes no more requests and waits for the snapshot on its way, so that git has one user."""
        self._closed = True
        self._wanted.clear()
        for one in self._waiting:
            if not one.done():
                one.set_result(False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()

    async def save(self, turn: int, *, again: bool = False) -> bool:
        """One checkpoint; failing costs work only if the attempt is lost as well, so it is reported, not
        raised. True when the work as it is now is kept. What could not be kept is tried `again` only where
        much depends on it: a push that is refused stays refused.
        """
        try:
            commit = await self._tools.snapshot(turn) or (self._lost if again else None)
            if commit is None:
                return self._lost is None
            self._lost = commit
            await self._tools.keep(commit)
        except (PushRefused, RemoteUnavailable, WorkspaceBroken) as error:
            self._log.warning("the checkpoint failed", turn=turn, error=str(error))
            if str(error) != self._told:
                self._told = str(error)
                await self._reporter.emit(
                    "agent_error",
                    error_type="checkpoint_failed",
                    message_preview=self._reporter.preview(str(error)),
                )
            return False
        await self._control.checkpoint(turn, commit)
        self._lost = None
        return True
