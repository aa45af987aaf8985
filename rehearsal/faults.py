"""Orders to misbehave: which requests, how often, and in what way.

status       answer with this status instead of doing the work
hang         answer nothing, keep the connection (until `delay` is over, or the order is withdrawn)
drop         do nothing and close the connection
late_commit  do the work, then close the connection (after `delay` seconds) without an answer
slow         wait `delay` seconds, then do the work; `chunk_delay` between the pieces of a stream
cut          do the work, begin the answer, cut the connection after `chunks` pieces
"""

from __future__ import annotations

import itertools
import re
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.disk import Document
from rehearsal.wire import JsonObject

ACTIONS = ("status", "hang", "drop", "late_commit", "slow", "cut")


class BadFault(ValueError):
    """An order that cannot be understood; the message says why."""


@dataclass
class Fault:
    """One order. `times` 0 means until withdrawn; `skip` lets that many matching requests pass first."""

    action: str
    match: dict[str, str] = field(default_factory=dict)
    times: int = 1
    skip: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    delay: float = 0.0
    chunk_delay: float = 0.0
    chunks: int = 3
    hits: int = 0
    id: int = 0

    @classmethod
    def parse(cls, value: JsonObject) -> Fault:
        """Reads an order as it was posted; raises BadFault."""
        unknown = set(value) - set(cls.__dataclass_fields__)
        if unknown:
            raise BadFault(f"unknown fields: {', '.join(sorted(unknown))}")
        if value.get("action") not in ACTIONS:
            raise BadFault(f"action must be one of {', '.join(ACTIONS)}")
        match = value.get("match") or {}
        strange = set(match) - {"method", "path_regex", "body_regex"}
        if strange:
            raise BadFault(f"unknown match fields: {', '.join(sorted(strange))}")
        for name in ("path_regex", "body_regex"):
            try:
                re.compile(match.get(name, ""))
            except re.error as error:
                raise BadFault(f"{name}: {error}") from error
        return cls(**{**value, "match": match, "hits": 0, "id": 0})

    def matches(self, method: str, target: str, body: bytes) -> bool:
        """Whether a request is meant."""
        if self.match.get("method", method).upper() != method.upper():
            return False
        if not re.search(self.match.get("path_regex", ""), target):
            return False
        pattern = self.match.get("body_regex")
        return pattern is None or re.search(pattern, body.decode(errors="replace")) is not None

    @property
    def spent(self) -> bool:
        """Whether it has been used as often as it was ordered."""
        return self.times > 0 and self.hits >= self.times


class Faults:
    """The orders in force, in the order in which they were given; the first that matches is taken."""

    def __init__(self, path: Path) -> None:
        self._document = Document(path, lambda: {"faults": []})
        self._lock = threading.Lock()
        self._faults = [Fault(**value) for value in self._document.value["faults"]]
        self._ids = itertools.count(max((fault.id for fault in self._faults), default=0) + 1)

    def add(self, value: JsonObject) -> Fault:
        """Adds an order; raises BadFault."""
        fault = Fault.parse(value)
        with self._lock:
            fault.id = next(self._ids)
            self._faults.append(fault)
            self._save()
        return fault

    def clear(self) -> None:
        """Withdraws all orders; what hangs because of one is let go."""
        with self._lock:
            self._faults.clear()
            self._save()

    def list(self) -> list[JsonObject]:
        """All orders, spent ones with their hits."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]

    def stands(self, fault: Fault) -> bool:
        """Whether an order has not been withdrawn."""
        with self._lock:
            return any(other.id == fault.id for other in self._faults)

    def take(self, method: str, target: str, body: bytes) -> Fault | None:
        """The order for this request, counted as used."""
        with self._lock:
            for fault in self._faults:
                if fault.spent or not fault.matches(method, target, body):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    self._save()
                    continue
                fault.hits += 1
                self._save()
                return fault
        return None

    def _save(self) -> None:
        with self._document.lock:
            self._document.value = {"faults": [asdict(fault) for fault in self._faults]}
            self._document.save()
