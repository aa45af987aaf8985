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

    def request(self, turn: int) -> None:
        """A turn is settled: keep its work as soon as possible."""
        if not self._closed:
            self._turn = turn
            self._wanted.set()

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._idle.clear()
            try:
                await self.save(self._turn)
            finally:
                self._idle.set()

    async def close(self, timeout: float) -> None:
        """Takes no more requests and waits for the snapshot on its way, so that git has one user."""
        self._closed = True
        self._wanted.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()

    async def save(self, turn: int) -> None:
        """One checkpoint; failing costs work only if the attempt is lost as well, so it is reported, not
        raised.
        """
        try:
            commit = await self._tools.snapshot(turn)
            if commit is None:
                return
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
            return
        await self._control.checkpoint(turn, commit)
