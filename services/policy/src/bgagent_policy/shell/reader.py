"""Reads a line of shell, and the lines within it, into commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..paths import Layout
from .command import Command, Feed, Scope
from .limits import Limits, TooMuch
from .walk import Walk

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028\u2029\ud800-\udfff]")
# A comment that seems to go on, and a word that is cut: here neither reading need be the shell's.
_UNEVEN = re.compile(r"(?:^|[\s;&|()])#[^\n]*\\\n|[^\s\\]\\\n\S", re.MULTILINE)
# The grammar keeps the delimiter in a small buffer.
_LONG_DELIMITER = re.compile(r"<<-?\s*\S{200}")
# The home directory is known unless the line itself might change it.
_HOME_CHANGED = re.compile(r"(?<![\w$])(?<!\$\{)HOME\b")


@dataclass
class Reader:
    """Collects the commands of one line; `unparsed` says why the line could not be read in full.

    `aliases` and `branches` are what the line itself has made so far.
    """

    layout: Layout
    limits: Limits = field(default_factory=Limits)
    unparsed: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    branches: list[str] = field(default_factory=list)
    _commands: dict[Command, None] = field(default_factory=dict)
    _counted: int = 0
    _nodes: int = 0

    @property
    def commands(self) -> tuple[Command, ...]:
        """Every simple command, in the order of the line; one that stands twice is told once."""
        return tuple(self._commands)

    @property
    def max_depth(self) -> int:
        """How deep lines within lines are followed."""
        return self.limits.nesting

    def add(self, command: Command) -> None:
        """Takes note of a command."""
        self._commands[command] = None

    def count(self) -> None:
        """Counts a command that is about to be read."""
        self._counted += 1
        if self._counted > self.limits.commands:
            raise TooMuch("too many commands")

    def read_line(self, line: str, directory: str | None = None) -> None:
        """Reads a whole line as a tool was given it."""
        try:
            self.read(line, Scope(frozenset((directory or self.layout.workspace,))), 0)
        except TooMuch as error:
            self.unparsed.append(str(error))
        except RecursionError:
            self.unparsed.append("the line is nested too deeply")

    def read(self, line: str, scope: Scope, depth: int, feeds: Sequence[Feed] = ()) -> None:
        """Reads a line, or a line within a line, in the given scope."""
        if depth > self.limits.nesting:
            raise TooMuch("the line is nested too deeply")
        if len(line) > self.limits.characters:
            raise TooMuch(f"the line is longer than {self.limits.characters} characters")
        if _LONG_DELIMITER.search(line):
            raise TooMuch("the delimiter of a here-document is too long")
        if _CONTROLS.search(line):
            self.unparsed.append("the line holds control characters")
        variables = {} if _HOME_CHANGED.search(line) else {"HOME": self.layout.home}
        if "\\\n" in line:
            # The shell joins the two lines, even within a word, but neither behind a comment nor in every
            # here-document. Where there may be one of them, the line is read both ways.
            joined = re.sub(r"(?<!\\)((?:\\\\)*)\\\n", r"\1", line)
            Walk(self, joined, variables, depth).line(scope.copy(), feeds)
            if "#" not in line and "<<" not in line:
                Walk(self, line, variables, depth).check()
                return
            if _UNEVEN.search(line):
                self.unparsed.append("where lines are joined")
        Walk(self, line, variables, depth).line(scope, feeds)

    def count_node(self, depth: int) -> None:
        """Counts a node of the syntax tree."""
        self._nodes += 1
        if self._nodes > self.limits.nodes:
            raise TooMuch("the line has too many parts")
        if depth > self.limits.depth:
            raise TooMuch("the line is nested too deeply")
