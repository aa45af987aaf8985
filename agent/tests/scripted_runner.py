"""A `Runner` without a model: each query is a coroutine that works on the repository and reports turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from bgagent_agent.gate import Gate, OpenGate
from bgagent_agent.own_tools import full_name
from bgagent_agent.runner import (
    Brief,
    Message,
    MessageAttached,
    OwnCall,
    QueryDone,
    RunnerEvent,
    ToolCall,
    ToolEnded,
    TurnSettled,
    TurnTaken,
)

Query = Callable[["ScriptedRunner"], Awaitable[QueryDone | None]]


class ScriptedRunner:
    """Plays its queries in order; what it was told is kept for the test to read."""

    def __init__(self, *queries: Query) -> None:
        self._queries = list(queries)
        self._events: asyncio.Queue[RunnerEvent | None] = asyncio.Queue()
        self._running: asyncio.Task[None] | None = None
        self.prompts: list[str] = []
        self.brief: Brief | None = None
        self.nudges: list[Message] = []
        self.cancelled: list[str] = []
        self.turns = 0
        self.gate: Gate = OpenGate()

    def behind(self, gate: Gate) -> ScriptedRunner:
        """Itself; its calls are judged by this gate."""
        self.gate = gate
        return self

    @property
    def directory(self) -> Path:
        assert self.brief is not None
        return Path(self.brief.directory)

    async def start(self, brief: Brief) -> None:
        self.brief = brief
        self.turns = brief.turns_used
        await self.resume(brief.prompt, brief.message_ids)

    async def resume(self, text: str, message_ids: tuple[str, ...] = ()) -> None:
        self.prompts.append(text)
        await self._attach(message_ids)
        self._running = asyncio.create_task(self._play(self._queries.pop(0)))

    async def _play(self, query: Query) -> None:
        done = await query(self)
        await self._events.put(done or QueryDone("completed", "All done."))

    async def turn(self, text: str = "", tool: str = "Bash", result: str = "ok", error: bool = False) -> None:
        """One turn with one tool that has run."""
        call = await self.begin(text, tool)
        await self._events.put(ToolEnded(self.turns, call, error, result))
        await self._events.put(TurnSettled(self.turns))

    async def begin(self, text: str = "", tool: str = "Bash") -> ToolCall:
        """One turn whose tool does not come back."""
        self.turns += 1
        call = ToolCall(f"call-{self.turns}", tool, {"command": f"work {self.turns}"})
        await self._events.put(TurnTaken(self.turns, "scripted", "", text, (call,)))
        return call

    async def call(self, name: str, **said: Any) -> str:
        """One turn in which the model calls one of the platform's own tools; what it reads in return."""
        assert self.brief is not None
        tool = next(tool for tool in self.brief.own_tools if tool.name == name)
        call = await self.begin("", full_name(name))
        result = await tool.run(OwnCall(call.id, self.turns, said))
        await self._events.put(ToolEnded(self.turns, call, False, result))
        await self._events.put(TurnSettled(self.turns))
        return result

    async def write(self, name: str, content: str) -> None:
        """One turn that writes a file."""
        target = self.directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        await self.turn(f"Writing {name}.", "Write")

    async def nudge(self, message: Message) -> bool:
        if self._running is None or self._running.done():
            return False
        self.nudges.append(message)
        await self._attach(message.ids)
        return True

    async def _attach(self, message_ids: tuple[str, ...]) -> None:
        if message_ids:
            await self._events.put(MessageAttached(message_ids, self.turns + 1))

    async def cancel(self, reason: str) -> None:
        self.cancelled.append(reason)
        if self._running is not None:
            self._running.cancel()

    async def events(self) -> AsyncIterator[RunnerEvent]:
        while (event := await self._events.get()) is not None:
            yield event
