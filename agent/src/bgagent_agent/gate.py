"""The `Gate` seam: who says whether a tool call may run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .runner import ToolCall


@dataclass(frozen=True)
class Verdict:
    """A decision about one tool call; the model reads `reason` when it is denied."""

    allow: bool
    reason: str = ""


class Gate(Protocol):
    """Asked before every tool call; an exception counts as a denial."""

    async def judge(self, call: ToolCall) -> Verdict:
        """May wait as long as a person needs; it is cancelled when the run is."""
        ...


class OpenGate:
    """Allows everything: the boundary is the agent gateway until policies are in force."""

    async def judge(self, call: ToolCall) -> Verdict:
        """Always allowed."""
        del call
        return Verdict(True)
