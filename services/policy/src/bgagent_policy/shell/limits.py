"""How much of a line is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is read of a line. Beyond it nobody can say what the line does, so it needs a person."""

    characters: int = 65_536
    commands: int = 256
    nodes: int = 20_000
    depth: int = 120
    nesting: int = 8


class TooMuch(Exception):
    """The line is larger than the limits."""
