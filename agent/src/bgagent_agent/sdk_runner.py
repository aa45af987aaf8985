"""`Runner` on the Claude Agent SDK and its bundled CLI."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from claude_agent_sdk import ClaudeSDKClient, HookMatcher, ResultMessage

from .gate import Gate, Verdict
from .logs import Log
from .redaction import Redactor
from .runner import (
    Brief,
    Message,
    MessageAttached,
    QueryDone,
    RunnerEvent,
    ToolCall,
    joined,
    unrecorded,
)
from .sdk_answers import added_context, denial
from .sdk_options import ModelAccess, cli_environment, cli_options
from .sdk_recording import SdkRecording
from .sdk_tools import SdkTools
from .steer import HELD_BACK, Steer
from .transcript import Transcript, ending

_INTERRUPT_S = 5.0
_DISCONNECT_S = 5.0
# A person may take a day at a gate; larger values overflow in older CLIs.
HOOK_TIMEOUT_S = 86_400.0
_STDERR_LINES = 20
# Longer lines are the CLI's own source code, printed when a hook's answer does not fit.
_STDERR_LINE_CHARS = 400


class SdkRunner:
    """Owns the SDK client. `kill` ends whatever the CLI has started, by means the runner need not know."""

    def __init__(
        self,
        access: ModelAccess,
        gate: Gate,
        redactor: Redactor,
        private: Path,
        tool_environment: Mapping[str, str],
        kill: Callable[[], Awaitable[None]],
        log: Log,
        hook_timeout_s: float = HOOK_TIMEOUT_S,
    ) -> None:
        self._access = access
        self._gate = gate
        self._redactor = redactor
        self._private = private
        self._environment = cli_environment(tool_environment, access, private)
        self._kill = kill
        self._log = log
        self._hook_timeout_s = hook_timeout_s
        self._events: asyncio.Queue[RunnerEvent | None] = asyncio.Queue(maxsize=256)
        self._client: ClaudeSDKClient | None = None
        self._reader: asyncio.Task[None] | None = None
        self._transcript = Transcript(0)
        self._turn_limit = 0
        self._stopping = False
        self._out_of_turns = False
        self._asked = False
        self._steer = Steer()
        self._own = SdkTools((), self._current_turn)
        self._brief: Brief | None = None
        self._attached: list[str] = []
        self._recording = SdkRecording(unrecorded, self._current_turn)
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)

    async def start(self, brief: Brief) -> None:
        """Starts the CLI, which takes about a second, and sends the prompt."""
        self._transcript = Transcript(brief.turns_used)
        self._turn_limit = brief.turns_used + brief.turns_left
        self._own = SdkTools(brief.own_tools, self._current_turn)
        self._brief = brief
        self._recording = SdkRecording(brief.record, self._current_turn)
        self._recording.brief(brief)
        for name in ("cli", "tmp"):
            (self._private / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        # In this mode the CLI accepts hooks and never calls them, so the gate would be open.
        os.environ.pop("CLAUDE_CODE_SIMPLE", None)
        hooks = {
            "PreToolUse": [
                HookMatcher(hooks=[self._before_tool], timeout=self._hook_timeout_s, on_failure="block")
            ],
            "PostToolUse": [HookMatcher(hooks=[self._after_tool], timeout=60)],
            "PostToolBatch": [HookMatcher(hooks=[self._between_turns], timeout=60)],
            "UserPromptSubmit": [HookMatcher(hooks=[self._before_prompt], timeout=60)],
            "SessionStart": [HookMatcher(hooks=[self._after_compaction], timeout=60)],
        }
        told = self._recording.hooks(hooks)
        self._client = ClaudeSDKClient(
            cli_options(brief, self._environment, told, self._note_stderr, self._own)
        )
        try:
            await self._client.connect()
            self._reader = asyncio.create_task(self._read(self._client))
            await self._send(Message(brief.message_ids, brief.prompt))
        except Exception as error:
            await self._events.put(QueryDone("crashed", "", None, self._crash(error)))

    async def resume(self, text: str, message_ids: tuple[str, ...] = ()) -> None:
        """The conversation, its cache and its files in the CLI's memory go on."""
        if self._turn_limit <= self._transcript.turns:
            await self._events.put(QueryDone("max_turns", self._transcript.last_text))
            return
        try:
            await self._send(Message(message_ids, text))
        except Exception as error:
            await self._events.put(QueryDone("crashed", self._transcript.last_text, None, self._crash(error)))

    async def nudge(self, message: Message) -> bool:
        """Mode `next` goes to the CLI at once, which attaches it to the results of the running tools."""
        if not self._asked:
            return False
        if message.mode == "interrupt":
            waiting = self._steer.take()
            await self._send(joined([waiting, message]) if waiting else message, interrupt=True)
        elif message.mode == "steer" or self._steer.waits:
            self._steer.add(message)
        else:
            await self._send(message)
        return True

    async def cancel(self, reason: str) -> None:
        """Interrupt, wait, disconnect, kill: the flag goes up first, so no tool starts in between."""
        self._stopping = True
        client, self._client = self._client, None
        if client is not None:
            self._log.info("stopping the agent", reason=reason)
            # Waited for, never cancelled: a cancelled disconnect leaves the CLI behind.
            await asyncio.wait({asyncio.ensure_future(_quietly(client.interrupt()))}, timeout=_INTERRUPT_S)
            leaving = asyncio.ensure_future(_quietly(client.disconnect()))
            done, _ = await asyncio.wait({leaving}, timeout=_DISCONNECT_S)
            await self._kill()
            if not done:
                await asyncio.wait({leaving}, timeout=_DISCONNECT_S)
        await self._kill()
        if self._reader is not None:
            self._reader.cancel()
        while self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(None)

    async def events(self) -> AsyncIterator[RunnerEvent]:
        """One consumer; a slow one slows the agent down."""
        while (event := await self._events.get()) is not None:
            yield event

    async def _send(self, message: Message, interrupt: bool = False) -> None:
        client = self._client
        if client is None:
            raise ConnectionError("the agent is not running")
        name = str(uuid.uuid4())
        # Before anything else: a result that comes from now on is not the end, because this follows.
        self._transcript.sent(name, message.ids)
        self._asked = True
        if interrupt:
            self._steer.holds_back = False
            await asyncio.wait({asyncio.ensure_future(_quietly(client.interrupt()))}, timeout=_INTERRUPT_S)

        async def prompt() -> AsyncIterator[dict[str, Any]]:
            yield {
                "type": "user",
                "message": {"role": "user", "content": message.text},
                "parent_tool_use_id": None,
                "uuid": name,
                "origin": {"kind": "human"},
            }

        await client.query(prompt())

    async def _read(self, client: ClaudeSDKClient) -> None:
        detail = "the agent's process ended before the work did"
        try:
            async for message in client.receive_messages():
                events = list(self._transcript.feed(message))
                self._recording.message(message)
                for event in events:
                    if isinstance(event, MessageAttached):
                        if event.turn > self._turn_limit:
                            # The request that would carry it is not made any more.
                            continue
                        self._attached.extend(event.ids)
                    self._recording.event(event)
                    await self._events.put(event)
                    if self._transcript.ungated(event) and not self._stopping:
                        await self._events.put(QueryDone("ungated", "", None, "a tool ran without the gate"))
                        return
                if isinstance(message, ResultMessage):
                    await self._end(ending(message, self._transcript.last_text))
        except Exception as error:
            detail = self._crash(error)
        finally:
            self._recording.broken_off()
        if not self._stopping:
            await self._events.put(QueryDone("crashed", self._transcript.last_text, None, detail))

    async def _end(self, done: QueryDone) -> None:
        self._steer.holds_back = False
        if self._out_of_turns and done.reason == "completed":
            done = QueryDone("max_turns", self._transcript.last_text)
        if done.reason == "completed" and (message := self._steer.take()):
            # The model called no tool any more.
            await self._send(message)
        # A message that came in at the very end, or that interrupts, starts a turn of its own, with a result
        # of its own.
        if self._transcript.idle or done.reason not in ("completed", "interrupted"):
            self._asked = False
            await self._events.put(done)

    async def _before_tool(self, data: Any, tool_use_id: str | None, context: Any) -> Any:
        del context
        name = tool_use_id or str(data.get("tool_use_id", ""))
        self._transcript.gated.add(name)
        if self._stopping:
            return {"continue_": False, **denial("the task is being stopped")}
        call = ToolCall(name, str(data["tool_name"]), dict(data["tool_input"]), str(data.get("cwd") or ""))
        if call.name in self._own.names:
            # What the model says to people is not what a person wants to replace.
            own = await self._judged(call)
            if own.allow:
                self._own.announce(call)
            return {} if own.allow else denial(own.reason)
        if self._steer.holds_back:
            return denial(HELD_BACK)
        verdict = await self._steer.unless_steered(self._judged(call))
        if verdict is None and (message := self._steer.take()):
            self._steer.holds_back = True
            self._transcript.steered(call.id, message.ids)
            return denial(message.text)
        if verdict is None or self._steer.holds_back:
            return denial(HELD_BACK)
        if self._stopping:
            return {"continue_": False, **denial("the task is being stopped")}
        return {} if verdict.allow else denial(verdict.reason or "denied by policy")

    async def _judged(self, call: ToolCall) -> Verdict:
        try:
            return await self._gate.judge(call)
        except Exception as error:
            self._log.error("the gate failed, the call is denied", error=repr(error))
            return Verdict(False, "the gate failed, so the call is denied")

    async def _after_tool(self, data: Any, tool_use_id: str | None, context: Any) -> Any:
        del tool_use_id, context
        response = data.get("tool_response")
        clean = self._redactor.scrub(response)
        if clean == response:
            return {}
        return {"hookSpecificOutput": {"hookEventName": "PostToolUse", "updatedToolOutput": clean}}

    async def _between_turns(self, data: Any, tool_use_id: str | None, context: Any) -> Any:
        """The CLI's own turn limit starts anew with every query; this one does not."""
        del data, tool_use_id, context
        self._steer.holds_back = False
        if self._stopping or self._transcript.turns >= self._turn_limit:
            self._out_of_turns = not self._stopping
            return {"decision": "block", "reason": "the task's limit of turns is reached"}
        if message := self._steer.take():
            # No tool started: what is sent before this hook returns is in the very next request.
            await self._send(message)
        return added_context("PostToolBatch", self._brief.remind() if self._brief else None)

    async def _after_compaction(self, data: Any, tool_use_id: str | None, context: Any) -> Any:
        """What the CLI makes of a long conversation need not hold what people have said in it."""
        del tool_use_id, context
        if self._brief is None or data.get("source") != "compact":
            return {}
        return added_context("SessionStart", self._brief.standing(tuple(self._attached)))

    async def _before_prompt(self, data: Any, tool_use_id: str | None, context: Any) -> Any:
        """A message that still waits when the turns are used up would start further ones."""
        del data, tool_use_id, context
        if self._stopping or self._out_of_turns:
            return {"decision": "block", "reason": "the task's limit of turns is reached"}
        return {}

    def _current_turn(self) -> int:
        return self._transcript.current

    def _note_stderr(self, line: str) -> None:
        if len(line) <= _STDERR_LINE_CHARS:
            self._stderr.append(self._redactor.text(line))

    def _crash(self, error: BaseException) -> str:
        return "\n".join([f"{type(error).__name__}: {error}", *self._stderr])


async def _quietly(call: Awaitable[None]) -> None:
    with contextlib.suppress(Exception):
        await call
