"""The runner on the real CLI, without the harness around it."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from bgagent_agent.gate import Gate
from bgagent_agent.logs import Log
from bgagent_agent.processes import MARK_VARIABLE, kill_marked
from bgagent_agent.redaction import Redactor
from bgagent_agent.runner import (
    Brief,
    MessageAttached,
    OwnTool,
    QueryDone,
    Recorder,
    RunnerEvent,
    unrecorded,
)
from bgagent_agent.sdk_options import ModelAccess
from bgagent_agent.sdk_runner import SdkRunner
from fake_gateway import MODEL, FakeGateway


@asynccontextmanager
async def running(
    gateway: FakeGateway,
    root: Path,
    gate: Gate,
    *,
    own_tools: tuple[OwnTool, ...] = (),
    remind: Callable[[], str | None] = lambda: None,
    standing: Callable[[Sequence[str]], str | None] = lambda ids: None,
    record: Recorder = unrecorded,
    turns: int = 5,
    **environment: str,
) -> AsyncIterator[SdkRunner]:
    """A runner that has been started in an empty directory."""
    mark = uuid.uuid4().hex
    tools = {"PATH": os.environ["PATH"], "HOME": str(root), MARK_VARIABLE: mark, **environment}
    redactor = Redactor()

    async def kill() -> None:
        await kill_marked(mark)

    access = ModelAccess(f"{gateway.url}/model", MODEL, 1)
    runner = SdkRunner(access, gate, redactor, root / "private", tools, kill, Log(redactor))
    work = root / "work"
    work.mkdir(exist_ok=True)
    brief = Brief("Go.", "", str(work), "claude-sonnet-4-5", ("Bash", "Read"), turns, 0)
    await runner.start(replace(brief, own_tools=own_tools, remind=remind, standing=standing, record=record))
    try:
        yield runner
    finally:
        await runner.cancel("the test is over")


async def done(runner: SdkRunner) -> QueryDone:
    """The end of the query."""
    return (await ending(runner))[0]


async def until_done(runner: SdkRunner) -> AsyncIterator[RunnerEvent]:
    """All that a query tells, its end included."""
    async for event in runner.events():
        yield event
        if isinstance(event, QueryDone):
            return


async def ending(runner: SdkRunner) -> tuple[QueryDone, list[MessageAttached]]:
    """The end of the query, and the messages that the model has been given until then."""
    attached = []
    async with asyncio.timeout(60):
        async for event in runner.events():
            if isinstance(event, MessageAttached):
                attached.append(event)
            if isinstance(event, QueryDone):
                return event, attached
    raise AssertionError("no end")
