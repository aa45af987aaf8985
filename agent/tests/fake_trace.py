"""The part of the agent gateway of the tests that takes traces, with the refusals of the real one."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fake_people import Refusal


@dataclass
class FakeTrace:
    """Parts in the order of their numbers; `full_at` is the part that finds no room any more."""

    enabled: Callable[[], bool]
    full_at: int | None = None
    away: bool = False
    parts: list[bytes] = field(default_factory=list)
    final: list[int] = field(default_factory=list)
    truncated: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def take(self, query: dict[str, list[str]], content_type: str, body: bytes) -> dict[str, Any]:
        """Stores a part, or refuses it."""
        number = int(query["part"][0])
        assert content_type == "application/gzip"
        assert set(query) <= {"part", "final", "truncated"}
        if self.away:
            raise self._refusal(503, "SERVICE_UNAVAILABLE")
        if not self.enabled():
            raise self._refusal(409, "TRACE_NOT_ENABLED")
        if number > len(self.parts) + 1:
            raise self._refusal(409, "TRACE_GAP", details={"expected": len(self.parts) + 1})
        if self.full_at is not None and number >= self.full_at:
            raise self._refusal(413, "TRACE_FULL")
        if number == len(self.parts) + 1:
            assert not self.final, "nothing follows the final part"
            assert one_member(body), "a part is one complete gzip member"
            self.parts.append(body)
            for name, numbers in (("final", self.final), ("truncated", self.truncated)):
                if query.get(name) == ["true"]:
                    numbers.append(number)
        return {"part": number, "bytes": sum(map(len, self.parts))}

    def lines(self) -> list[dict[str, Any]]:
        """All that is there, read as a person who downloads it would."""
        return [json.loads(line) for line in gzip.decompress(b"".join(self.parts)).splitlines()]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The lines of one type."""
        return [line for line in self.lines() if line["type"] == kind]

    def text(self) -> str:
        """All of it as text."""
        return gzip.decompress(b"".join(self.parts)).decode()

    def _refusal(self, status: int, code: str, **extra: Any) -> Refusal:
        self.refused.append(code)
        return Refusal(status, code, **extra)


def one_member(body: bytes) -> bool:
    """Whether the bytes are one gzip member, whole and with nothing behind it."""
    reader = zlib.decompressobj(wbits=31)
    reader.decompress(body)
    return reader.eof and not reader.unused_data
