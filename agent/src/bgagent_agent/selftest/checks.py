"""Each check drives the real CLI against a scripted model and raises `Failure` with what it saw instead."""

from __future__ import annotations

import asyncio
import io
import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..gate import Gate, OpenGate, Verdict
from ..logs import Log
from ..processes import MARK_VARIABLE, kill_marked
from ..redaction import Redactor
from ..runner import Brief, Message, Mode, QueryDone, ToolCall
from ..sdk_options import ModelAccess, cli_environment, cli_options
from ..sdk_runner import HOOK_TIMEOUT_S, SdkRunner
from .messages_api import assistant_turns, tool_results
from .stub import TOKEN, StubModel, stub

_PATIENCE_S = 300.0
_MODEL = "claude-sonnet-4-5"
_TOUCH = {"name": "Bash", "input": {"command": "touch made.txt"}}
_SECRET = "not-for-the-model-4711"  # noqa: S105 - made up, to be looked for
_NUDGE = "Mind the date line."


class Failure(Exception):
    """The CLI did something else than the platform relies on."""


@dataclass(frozen=True)
class Place:
    """Where a check works and what the CLI is given beside the usual."""

    root: Path
    environment: Mapping[str, str]

    @property
    def work(self) -> Path:
        """The directory that stands for a repository."""
        path = self.root / "work"
        path.mkdir(parents=True, exist_ok=True)
        return path


class _Denying:
    async def judge(self, call: ToolCall) -> Verdict:
        del call
        return Verdict(False, "rule selftest: nothing is allowed")


class _Silent:
    """A gate that never answers."""

    async def judge(self, call: ToolCall) -> Verdict:
        del call
        await asyncio.Event().wait()
        return Verdict(True)


class _Nudging:
    """A person speaks up while a tool call waits at the gate."""

    def __init__(self, mode: Mode = "next") -> None:
        self.runner: SdkRunner | None = None
        self._mode = mode

    async def judge(self, call: ToolCall) -> Verdict:
        if self.runner is not None:
            await self.runner.nudge(Message(("n1",), _NUDGE, self._mode))
        return Verdict(bool(call.id))


async def denied(place: Place) -> None:
    """A call that the gate denies is not executed, and the model reads why."""
    with stub(_one_tool(_TOUCH)) as model:
        async with _running(model, place, _Denying()) as runner:
            await _completed(runner)
        _expect(not (place.work / "made.txt").exists(), "the tool ran although the gate denied it")
        _expect("rule selftest" in str(tool_results(model.requests[1])), "the model was not told why")


async def timed_out(place: Place) -> None:
    """A gate that does not answer in time denies."""
    with stub(_one_tool(_TOUCH)) as model:
        async with _running(model, place, _Silent(), hook_timeout_s=1) as runner:
            await _completed(runner)
        _expect(not (place.work / "made.txt").exists(), "the tool ran although the gate never answered")


async def nudged(place: Place) -> None:
    """A nudge is in the very next request."""
    gate = _Nudging()
    with stub(_one_tool(_TOUCH)) as model:
        async with _running(model, place, gate) as runner:
            await _completed(runner)
        _expect((place.work / "made.txt").exists(), "the tool did not run although the gate allowed it")
        _expect(_NUDGE in json.dumps(model.requests[1]["messages"]), "the nudge was not in the next request")


async def steered(place: Place) -> None:
    """A nudge takes the place of a call that is about to start."""
    gate = _Nudging("steer")
    with stub(_one_tool(_TOUCH)) as model:
        async with _running(model, place, gate) as runner:
            await _completed(runner)
        _expect(not (place.work / "made.txt").exists(), "the tool ran although a person steered")
        _expect(_NUDGE in str(tool_results(model.requests[1])), "the nudge was not in the call's place")


async def interrupted(place: Place) -> None:
    """A nudge stops the tool that runs, and the conversation goes on with it."""
    waits = {
        "name": "Bash",
        "input": {"command": "touch started; exec tail -f /dev/null", "timeout": 600_000},
    }
    with stub(_one_tool(waits)) as model:
        async with _running(model, place, OpenGate()) as runner:
            await _until((place.work / "started").exists, "the tool never started")
            await runner.nudge(Message(("n1",), _NUDGE, "interrupt"))
            await _completed(runner)
        _expect(_NUDGE in json.dumps(model.requests[1]["messages"]), "the nudge was not in the next request")


async def redacted(place: Place) -> None:
    """A secret in a tool's output does not reach the model."""
    spoken = "".join(f"\\{ord(char):o}" for char in _SECRET)
    with stub(_one_tool({"name": "Bash", "input": {"command": f"printf '{spoken} is out\\n'"}})) as model:
        async with _running(model, place, OpenGate()) as runner:
            await _completed(runner)
        results = str(tool_results(model.requests[1]))
        _expect("is out" in results, "the tool did not run")
        _expect(_SECRET not in json.dumps(model.requests[1]), "the model was shown the secret")
        _expect("[redacted" in results, "the place of the secret is not marked")


async def resumed(place: Place) -> None:
    """A conversation whose CLI was killed in the middle of a tool goes on."""
    from claude_agent_sdk import ClaudeSDKClient, ResultMessage

    waits = {
        "name": "Bash",
        "input": {"command": "touch started; exec tail -f /dev/null", "timeout": 600_000},
    }
    mark, session, started = uuid.uuid4().hex, str(uuid.uuid4()), place.work / "started"
    brief = Brief("Remember the word marmalade.", "", str(place.work), _MODEL, ("Bash",), 5, 0)
    with stub(
        lambda body: {"text": "It goes on."} if "go on" in str(body["messages"]) else {"tools": [waits]}
    ) as model:
        access = ModelAccess(model.url, TOKEN, 1)
        environment = cli_environment(_tools(place, mark), access, place.root / "private")
        options = cli_options(brief, environment, {}, lambda line: None)
        options.session_id = session
        client = ClaudeSDKClient(options)
        try:
            await client.connect()
            await client.query(brief.prompt)
            await _until(started.exists, "the tool never started")
            # What it remembers a conversation by is written behind its back.
            await _until(lambda: _remembers(place, session, "marmalade"), "the CLI kept no conversation")
        finally:
            await kill_marked(mark)
            await client.disconnect()
        options.session_id, options.resume = None, session
        async with ClaudeSDKClient(options) as again:
            await again.query("Please go on.")
            async for message in again.receive_messages():
                if isinstance(message, ResultMessage):
                    _expect(not message.is_error, f"the resumed conversation failed: {message.result}")
                    break
        last = json.dumps(model.requests[-1]["messages"])
        _expect(
            "marmalade" in last and "go on" in last, "the model was not shown what was said before the kill"
        )


CHECKS: tuple[Callable[[Place], Awaitable[None]], ...] = (
    denied,
    timed_out,
    nudged,
    steered,
    interrupted,
    redacted,
    resumed,
)


def _one_tool(tool: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda body: {"tools": [tool]} if assistant_turns(body) == 0 else {"text": "Over."}


def _tools(place: Place, mark: str) -> dict[str, str]:
    home = place.root / "home"
    home.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", MARK_VARIABLE: mark, **place.environment}


@asynccontextmanager
async def _running(
    model: StubModel, place: Place, gate: Gate, hook_timeout_s: float = HOOK_TIMEOUT_S
) -> AsyncIterator[SdkRunner]:
    mark = uuid.uuid4().hex
    redactor = Redactor([_SECRET])

    async def kill() -> None:
        await kill_marked(mark)

    access, private, log = (
        ModelAccess(model.url, TOKEN, 1),
        place.root / "private",
        Log(redactor, io.StringIO()),
    )
    runner = SdkRunner(access, gate, redactor, private, _tools(place, mark), kill, log, hook_timeout_s)
    if isinstance(gate, _Nudging):
        gate.runner = runner
    await runner.start(Brief("Go.", "", str(place.work), _MODEL, ("Bash", "Read"), 5, 0))
    try:
        yield runner
    finally:
        await runner.cancel("the check is over")


async def _completed(runner: SdkRunner) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        async for event in runner.events():
            if isinstance(event, QueryDone):
                _expect(event.reason == "completed", f"the query ended as {event.reason}: {event.detail}")
                return
    raise Failure("the agent ended without a word")


def _remembers(place: Place, session: str, word: str) -> bool:
    return any(word in path.read_text() for path in place.root.rglob(f"{session}.jsonl"))


async def _until(condition: Callable[[], bool], otherwise: str) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - a file that another process makes
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise Failure(otherwise) from None


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failure(otherwise)
