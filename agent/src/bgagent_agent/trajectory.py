"""The whole trajectory of an attempt, kept for people to read later: gzip JSON lines, uploaded in parts."""

from __future__ import annotations

import asyncio
import functools
import json
import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from .control import Control
from .errors import Refused, StaleAttempt, TraceGap, Unauthorized, Unreachable
from .logs import Log
from .payload import Session
from .plain import plain
from .redaction import Redactor
from .runner import unrecorded

VERSION: Final = 1
_MB: Final = 1024 * 1024
# Room for the marker of the limit and for the end.
_RESERVE_BYTES = 4_096
# A secret that lies across the cut of a long text is shorter than what is taken away with it.
_SECRET_CHARS = 4_096
# The same texts come again and again: in messages, as input and output of tools, before hooks.
_REMEMBERED, _SHORTEST_REMEMBERED, _LONGEST_REMEMBERED = 64, 400, 20_000


@dataclass(frozen=True)
class Limits:
    """Sizes are of what is not compressed, but for `waiting_bytes`."""

    total_bytes: int = 50 * _MB
    line_bytes: int = _MB
    part_bytes: int = _MB
    part_s: float = 5.0
    waiting_bytes: int = 4 * _MB
    again_s: float = 5.0


@dataclass(frozen=True)
class _Sealed:
    number: int
    body: bytes
    final: bool
    truncated: bool


class _Part:
    """A gzip member under construction: compressed line by line, so that no moment pays for all of it."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.size = 0
        self._gzip = zlib.compressobj(wbits=31)
        self._chunks: list[bytes] = []

    def add(self, line: bytes) -> None:
        self.size += len(line)
        self._chunks.append(self._gzip.compress(line))

    def sealed(self) -> bytes:
        return b"".join([*self._chunks, self._gzip.flush()])


class Untraced:
    """Stands in where the trajectory is not kept."""

    record = staticmethod(unrecorded)

    def begin(self, session: Session) -> None:
        """Nothing begins."""

    async def close(self, outcome: str, seconds: float) -> None:
        """Nothing ends."""


class Trajectory:
    """Records at once, sends in the background, and never fails or holds up the run.

    What is recorded is redacted first. A platform that takes no more, or not fast enough, ends the recording.
    """

    def __init__(self, control: Control, redactor: Redactor, log: Log, limits: Limits | None = None) -> None:
        self._control = control
        self._log = log
        self._limits = limits or Limits()
        self._clean = redactor.text
        self._clean_again = functools.lru_cache(_REMEMBERED)(redactor.text)
        self._part: _Part | None = None
        self._waiting: deque[_Sealed] = deque()
        self._written = 0
        self._made = 0
        self._recording = False
        self._truncated = False
        self._closing = False
        self._changed = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None

    def begin(self, session: Session) -> None:
        """The first line; from now on parts are sent."""
        self._recording = True
        self._sender = asyncio.create_task(self._send_all())
        self.record(
            "header",
            version=VERSION,
            task_id=session.task_id,
            attempt=session.attempt,
            model=session.model,
            started_at=_now(),
            repo=session.repo,
            branch=session.branch,
            prompt_version=session.prompt_version,
            turns_used=session.turns_used,
        )

    def record(self, kind: str, turn: int | None = None, /, **fields: Any) -> None:
        """One line; see `Recorder`."""
        if not self._recording:
            return
        line = self._line(kind, turn, fields)
        if self._written + len(line) > self._limits.total_bytes - _RESERVE_BYTES:
            self._log.warning("the trace is full", bytes=self._written)
            self._truncate(self._limits.total_bytes)
            return
        self._add(line)
        if self._part is not None and self._part.size >= self._limits.part_bytes:
            self._seal()

    async def close(self, outcome: str, seconds: float) -> None:
        """The last line; what waits is sent for so long at most. Only the first call counts."""
        if self._closing or self._sender is None:
            return
        self._closing = True
        self._recording = False
        if not self._sender.done():
            self._add(self._line("end", None, {"outcome": outcome}))
            self._seal()
        self._changed.set()
        await asyncio.wait({self._sender}, timeout=seconds)
        self._sender.cancel()
        await asyncio.wait({self._sender})
        if self._waiting:
            self._log.warning("the end of the trace could not be uploaded", parts=len(self._waiting))

    def _line(self, kind: str, turn: int | None, fields: Mapping[str, Any]) -> bytes:
        first = {"type": kind, "at": _now()} | ({} if turn is None else {"turn": turn})
        try:
            told = {**first, **plain(fields, self._text)}
            line = _json(told)
            for chars in (256 * 1024, 32 * 1024, 4_096, 256):
                if len(line) <= self._limits.line_bytes:
                    return line
                line = _json(_cut(told, chars))
            if len(line) <= self._limits.line_bytes:
                return line
            return _json({**first, "left_out": f"{len(line)} bytes"})
        except Exception as error:
            return _json({**first, "left_out": type(error).__name__})

    def _text(self, text: str) -> str:
        if len(text) > self._limits.line_bytes:
            cut = len(text) - self._limits.line_bytes
            text = self._clean(text[: self._limits.line_bytes])[:-_SECRET_CHARS]
            return f"{text}{_mark(cut + _SECRET_CHARS)}"
        again = _SHORTEST_REMEMBERED <= len(text) <= _LONGEST_REMEMBERED
        return self._clean_again(text) if again else self._clean(text)

    def _add(self, line: bytes) -> None:
        if self._part is None:
            self._part = _Part(asyncio.get_running_loop().time())
            self._changed.set()
        self._part.add(line)
        self._written += len(line)

    def _seal(self) -> None:
        """The open part is complete. When too much waits it is left out, and none but the end follows it."""
        if self._part is None:
            return
        body, self._part = self._part.sealed(), None
        waiting = sum(len(part.body) for part in self._waiting) + len(body)
        if waiting > self._limits.waiting_bytes and not (self._truncated or self._closing):
            self._log.warning("the trace ends early: its parts are not taken", parts=len(self._waiting))
            self._truncate(self._limits.waiting_bytes)
            return
        self._made += 1
        self._waiting.append(_Sealed(self._made, body, self._closing, self._truncated))
        self._changed.set()

    def _truncate(self, limit_bytes: int) -> None:
        self._recording = False
        self._truncated = True
        self._add(self._line("truncated", None, {"limit_bytes": limit_bytes}))

    async def _send_all(self) -> None:
        while True:
            await self._due()
            if not self._waiting:
                self._seal()
            while self._waiting:
                if not await self._sent(self._waiting[0]):
                    self._give_up()
                    return
            if self._closing and self._part is None:
                return

    async def _due(self) -> None:
        """Returns when there is a part to send, or to seal, or nothing more will come."""
        while not self._waiting and not self._closing:
            self._changed.clear()
            at = None if self._part is None else self._part.began + self._limits.part_s
            try:
                async with asyncio.timeout_at(at):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _sent(self, part: _Sealed) -> bool:
        """False when no part will be taken any more."""
        try:
            await self._control.upload_trace(
                part.number, part.body, final=part.final, truncated=part.truncated
            )
            known = part.number
        except Unreachable:
            await asyncio.sleep(self._limits.again_s)
            return True
        except TraceGap as gap:
            if gap.expected <= part.number:
                self._log.warning("the trace ends: parts of it were lost", expected=gap.expected)
                return False
            known = gap.expected - 1
        except (StaleAttempt, Unauthorized):
            # Whoever else speaks to the platform ends the attempt.
            return False
        except Exception as error:
            self._log.warning("the trace ends: the platform takes no more of it", error=_reason(error))
            return False
        while self._waiting and self._waiting[0].number <= known:
            self._waiting.popleft()
        return True

    def _give_up(self) -> None:
        self._recording = False
        self._part = None
        self._waiting.clear()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"


def _cut(value: Any, chars: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= chars else value[:chars] + _mark(len(value) - chars)
    if isinstance(value, dict):
        return {key: _cut(one, chars) for key, one in value.items()}
    return [_cut(one, chars) for one in value] if isinstance(value, list) else value


def _mark(chars: int) -> str:
    return f"… [{chars} characters cut]"


def _reason(error: Exception) -> str:
    return error.code or str(error) if isinstance(error, Refused) else repr(error)
