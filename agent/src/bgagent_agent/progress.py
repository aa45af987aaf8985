"""The agent says how far it is, and is reminded of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from .reporter import Reporter

PERIOD_S = 300.0
REMINDER = (
    "Nobody has heard of your progress for some minutes: call mcp__bgagent__report_progress once, shortly, "
    "and go on."
)
_LISTS = ("done", "next", "blockers")
_ENTRIES = 20
_ENTRY_CHARS = (200, 80, 30)
# Events over 32 KB lose all they say.
_LARGEST_BYTES = 24_000
_STATES = ("open", "doing", "done")


class Progress:
    """Reports become milestones. Whoever asks for a reminder does so between turns, so none comes at rest."""

    def __init__(self, reporter: Reporter, clock: Callable[[], float] = time.monotonic) -> None:
        self._reporter = reporter
        self._clock = clock
        self._since = clock()

    def begin(self) -> None:
        """The agent starts to work now."""
        self._since = self._clock()

    def remind(self) -> str | None:
        """A word to the model when there was no report for five minutes, and none like it either."""
        if self._clock() - self._since < PERIOD_S:
            return None
        self._since = self._clock()
        return REMINDER

    async def report(self, said: Mapping[str, Any]) -> str:
        """The milestone `progress`."""
        self._since = self._clock()
        for limit in _ENTRY_CHARS:
            told = self._told(said, limit)
            if len(json.dumps(told, ensure_ascii=False).encode()) <= _LARGEST_BYTES:
                break
        await self._reporter.emit("agent_milestone", milestone="progress", **told)
        return "Noted."

    def _told(self, said: Mapping[str, Any], limit: int) -> dict[str, Any]:
        def cut(value: object) -> str:
            return self._reporter.preview(" ".join(str(value).split()))[:limit]

        lists = {name: [cut(entry) for entry in (said.get(name) or [])[:_ENTRIES]] for name in _LISTS}
        todo = [
            {"text": cut(entry.get("text", "")), "state": _state(entry.get("state"))}
            for entry in (said.get("todo") or [])[:_ENTRIES]
        ]
        return {"details": self._reporter.preview(_line(lists)), **lists, "todo": todo}


def _state(value: object) -> str:
    return next((state for state in _STATES if state == value), "open")


def _line(lists: Mapping[str, list[str]]) -> str:
    words = {"done": "Done", "next": "Next", "blockers": "Blocked by"}
    return ". ".join(f"{words[name]}: {'; '.join(entries)}" for name, entries in lists.items() if entries)
