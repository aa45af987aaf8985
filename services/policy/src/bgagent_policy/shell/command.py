"""The facts of one simple command, and what stands around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..paths import Directories, Place
from .git_push import Git
from .words import Word, quoted


@dataclass(frozen=True, slots=True)
class Write:
    """One path that is written or removed, by a redirection or by the command's own arguments."""

    place: Place
    redirected: bool = False
    removed: bool = False


@dataclass(frozen=True, slots=True)
class RemovalFacts:
    """What a removal amounts to.

    `root` takes a whole system or home directory, `workspace` the whole repository.
    """

    recursive: bool
    force: bool
    root: bool
    workspace: bool


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command of a line, wrappers taken off.

    `text` is its normalised form, which patterns are matched against. `unknown` says what cannot be known
    before it runs; `piped_script` that it runs what another command sends it. A command without words stands
    for redirections or assignments alone.
    """

    program: str
    words: tuple[Word, ...] = ()
    text: str = ""
    writes: tuple[Write, ...] = ()
    git: Git | None = None
    removal: RemovalFacts | None = None
    unknown: tuple[str, ...] = ()
    piped_script: bool = False
    drops_table: bool = False
    scripts: tuple[str, ...] = ()

    @property
    def args(self) -> tuple[str, ...]:
        """The arguments, unknown ones as they were written."""
        return tuple(word.text for word in self.words[1:])


@dataclass(frozen=True, slots=True)
class Feed:
    """What a command reads: text that the line holds, or something that it does not."""

    text: str = ""
    known: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A command as it stands in the line."""

    words: tuple[Word, ...]
    assignments: tuple[tuple[str, Word], ...] = ()
    redirections: tuple[Word, ...] = ()
    feeds: tuple[Feed, ...] = ()
    prefix: str = ""

    @property
    def text(self) -> str:
        """The normalised text: one space between words, quotes only where they are needed."""
        parts = [f"{name}={_spelled(value)}" for name, value in self.assignments]
        return self.prefix + " ".join([*parts, *(_spelled(word) for word in self.words)])

    def inner(self, words: Sequence[Word], prefix: str) -> Call:
        """What a launcher starts: redirections stay with the launcher, what is read is passed on."""
        return Call(tuple(words), self.assignments, feeds=self.feeds, prefix=self.prefix + prefix)


@dataclass(slots=True)
class Scope:
    """Where commands run: in one of `directories`, and in one of `sure` if the last command succeeded."""

    directories: Directories
    sure: Directories = field(default=None)

    def __post_init__(self) -> None:
        self.sure = self.directories

    def copy(self) -> Scope:
        """A scope of its own, as a subshell has it."""
        return Scope(self.directories)

    def settle(self) -> None:
        """After a command that changes no directory."""
        self.sure = self.directories


def with_text(call: Call, words: Sequence[Word]) -> Call:
    """The call with other words."""
    return replace(call, words=tuple(words))


def _spelled(word: Word) -> str:
    return quoted(word.text) if word.known else word.text
