"""What a run may spend on the model, and what each answer costs. Money is in millionths of a dollar."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from importlib.resources import files
from typing import Any

_KINDS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_LONGEST_LINE = 1 << 20
# Tokens of answer that are kept back for a call under way; most answers are shorter.
_EXPECTED_ANSWER = 4_096


class Verdict(Enum):
    """May a call be made?"""

    FORWARD = "forward"
    WAIT = "wait"
    SPENT = "spent"


class Prices:
    """By the beginnings of models' names; an unknown model costs the dearest of each kind."""

    def __init__(self) -> None:
        table = json.loads(files(__package__).joinpath("prices.json").read_text("utf-8"))["models"]
        self._prices: dict[str, dict[str, int]] = {
            prefix: {kind: round(entry[kind] * 1_000_000) for kind in _KINDS}
            for prefix, entry in table.items()
        }
        self._dearest = {kind: max(price[kind] for price in self._prices.values()) for kind in _KINDS}

    def cost(self, model: str, usage: dict[str, int]) -> int:
        """What these tokens cost; a fraction is rounded up, once for the whole call."""
        prefixes = [prefix for prefix in self._prices if model.startswith(prefix)]
        price = self._prices[max(prefixes, key=len)] if prefixes else self._dearest
        return -(-sum(usage[kind] * price[kind] for kind in _KINDS) // 1_000_000)

    def estimate(self, model: str, sent_bytes: int, max_tokens: int) -> tuple[int, int]:
        """What a call is likely to cost, and what it costs at least once it was made."""
        sent = dict.fromkeys(_KINDS, 0) | {"input": sent_bytes // 4}
        return self.cost(model, sent | {"output": min(max_tokens, _EXPECTED_ANSWER)}), self.cost(model, sent)


class Budget:
    """A call on its own may be made while money is left, so a budget is passed by one answer at most."""

    def __init__(self, limit: Decimal | None) -> None:
        self._limit = None if limit is None else int(limit * 1_000_000)
        self._lock = threading.Lock()
        self._reserved = 0
        self._under_way = 0
        self.spent = 0

    def reserve(self, estimate: int) -> Verdict:
        """FORWARD keeps the estimate back until `settle`."""
        with self._lock:
            if self._limit is not None:
                if self.spent >= self._limit:
                    return Verdict.SPENT
                if self._under_way and self.spent + self._reserved + estimate > self._limit:
                    return Verdict.WAIT
            self._reserved += estimate
            self._under_way += 1
            return Verdict.FORWARD

    def settle(self, estimate: int, cost: int) -> None:
        """A reserved call is over."""
        with self._lock:
            self._reserved -= estimate
            self._under_way -= 1
            self.spent += cost

    def __str__(self) -> str:
        spent = f"${self.spent / 1_000_000:.4f}"
        return spent if self._limit is None else f"{spent} of ${self._limit / 1_000_000:.2f}"


@dataclass
class Meter:
    """Reads along what an answer costs; changes nothing, and no answer can make it fail."""

    model: str = ""
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    is_known: bool = False
    is_complete: bool = False
    _line: bytearray = field(default_factory=bytearray)
    # Tokens that passed by, roughly: all there is to go by when a stream breaks off before it says so.
    _passed: int = 0

    def feed(self, piece: bytes) -> None:
        """A stream of server-sent events, in pieces of any size."""
        *lines, rest = piece.split(b"\n")
        for line in lines:
            self._read_line(bytes(self._line) + line)
            self._line.clear()
        if len(self._line) + len(rest) <= _LONGEST_LINE:
            self._line += rest

    def take(self, message: bytes) -> None:
        """An answer that is one JSON document."""
        value = _object(message)
        if value is not None:
            self._message(value)
            self.is_complete = self.is_known

    def cost(self, prices: Prices, asked: str, least: int) -> int:
        """The model's own count, or what passed by, or at least what was sent."""
        if not self.is_known:
            return least
        output = self.usage["output"] if self.is_complete else max(self.usage["output"], self._passed)
        return prices.cost(self.model or asked, self.usage | {"output": output})

    def _read_line(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        if b'"content_block_delta"' in line[:80]:
            self._passed += max(1, (len(line) - 90) // 4)
            return
        value = _object(line[5:])
        if value is None:
            return
        kind, message, usage = value.get("type"), value.get("message"), value.get("usage")
        if kind == "message_start" and isinstance(message, dict):
            self._message(message)
        elif kind == "message_delta" and isinstance(usage, dict):
            self._count(usage)
        elif kind == "message_stop":
            self.is_complete = True

    def _message(self, message: dict[str, Any]) -> None:
        if isinstance(message.get("model"), str):
            self.model = message["model"]
        if isinstance(message.get("usage"), dict):
            self._count(message["usage"])
            self.is_known = True

    def _count(self, usage: dict[str, Any]) -> None:
        def number(value: Any) -> int | None:
            return min(max(value, 0), 1 << 32) if isinstance(value, int) else None

        counts = self.usage
        counts["input"] = number(usage.get("input_tokens")) or counts["input"]
        counts["output"] = max(counts["output"], number(usage.get("output_tokens")) or 0)
        counts["cache_read"] = number(usage.get("cache_read_input_tokens")) or counts["cache_read"]
        creation = usage.get("cache_creation")
        hour = number(creation.get("ephemeral_1h_input_tokens")) if isinstance(creation, dict) else None
        counts["cache_write_1h"] = hour or counts["cache_write_1h"]
        written = number(usage.get("cache_creation_input_tokens"))
        if written is not None:
            counts["cache_write_5m"] = max(0, written - counts["cache_write_1h"])


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
