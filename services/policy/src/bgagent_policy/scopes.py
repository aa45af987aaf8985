"""Scopes: what a person allows beforehand or with an approval.

One text format, read and written here alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from . import globs
from .facts import Facts
from .policies import Match, Policies
from .rule import Tier
from .tools import GROUP_NAMES, TOOLS, is_tool_name

MAX_PATTERN = 512
# What cannot be read cannot be held against the hard rules either, so only a scope that names it covers it.
UNREADABLE = frozenset(("unparsed_command", "unknown_command", "piped_script"))


class ScopeError(ValueError):
    """A scope that cannot be granted; the text says why."""


class Kind(StrEnum):
    """The kinds of scopes, from the narrowest."""

    THIS_CALL = "this_call"
    BASH_PATTERN = "bash_pattern"
    WRITE_PATH = "write_path"
    RULE = "rule"
    TOOL_TYPE = "tool_type"
    TOOL_GROUP = "tool_group"
    ALL_SESSION = "all_session"


_BARE = (Kind.THIS_CALL, Kind.ALL_SESSION)
_PATTERNS = (Kind.BASH_PATTERN, Kind.WRITE_PATH)
# Words that mean the tool of the call that is being approved.
_OF_THE_CALL = {"tool_type_session": Kind.TOOL_TYPE, "tool_group_session": Kind.TOOL_GROUP}


@dataclass(frozen=True, slots=True)
class Scope:
    """One grant. `str` gives the text that `parse` takes."""

    kind: Kind
    value: str = ""

    def __str__(self) -> str:
        return self.kind.value if self.kind in _BARE else f"{self.kind.value}:{self.value}"

    @classmethod
    def parse(cls, text: str, call: Facts | None = None) -> Scope:
        """Reads a scope; `call` is the call that is being approved, if there is one. Raises `ScopeError`."""
        word, colon, value = text.strip().partition(":")
        if not colon and word in _OF_THE_CALL:
            kind = _OF_THE_CALL[word]
            if call is None:
                raise ScopeError(
                    f"{word} means the tool of a call, and there is none yet: say {kind.value}:NAME"
                )
            return cls(kind, call.tool if kind is Kind.TOOL_TYPE else call.group)
        if word not in list(Kind):
            raise ScopeError(f"{text[:80]!r} is no scope; there are {', '.join(_forms())}")
        kind = Kind(word)
        if kind in _BARE:
            if colon:
                raise ScopeError(f"{word} takes nothing behind a colon")
            return cls(kind)
        if not value.strip():
            raise ScopeError(f"{word} needs a value: {_form(kind)}")
        scope = cls(kind, value if kind in _PATTERNS else value.strip())
        scope._check()
        return scope

    def _check(self) -> None:
        if self.kind is Kind.TOOL_TYPE and not is_tool_name(self.value):
            raise ScopeError(
                f"there is no tool {self.value[:80]!r}; there are {', '.join(TOOLS)} and mcp__SERVER__TOOL"
            )
        if self.kind is Kind.TOOL_GROUP and self.value not in GROUP_NAMES:
            raise ScopeError(
                f"there is no group of tools {self.value[:80]!r}; there are {', '.join(GROUP_NAMES)}"
            )
        if self.kind in _PATTERNS:
            _check_pattern(self.kind, self.value)


def check_scopes(texts: Sequence[str], policies: Policies, call: Facts | None = None) -> tuple[Scope, ...]:
    """Scopes that may be granted: at submit without a call, with an approval for one. Raises `ScopeError`."""
    scopes = []
    for text in texts:
        scope = Scope.parse(text, call)
        if scope.kind is Kind.THIS_CALL and call is None:
            raise ScopeError("this_call means a call, and there is none yet")
        if scope.kind is Kind.RULE:
            rule = policies.rule(scope.value)
            if rule is None:
                raise ScopeError(f"there is no rule {scope.value[:80]!r}")
            if rule.tier is Tier.HARD:
                raise ScopeError(f"{scope.value} is a hard rule; nobody can allow what it forbids")
        scopes.append(scope)
    return tuple(dict.fromkeys(scopes))


def uncovered(matches: Sequence[Match], facts: Facts, scopes: Sequence[Scope]) -> list[Match]:
    """The matches that no scope covers. A line is covered by patterns only if every command of it is."""
    patterns = [scope.value for scope in scopes if scope.kind is Kind.BASH_PATTERN]
    patterned = bool(patterns) and _every_command(facts, patterns)
    return [
        m
        for m in matches
        if not (any(_covers(s, m, facts) for s in scopes) or (patterned and _by_command(m)))
    ]


def suggestions(matches: Sequence[Match], facts: Facts, scopes: Sequence[Scope]) -> tuple[Scope, ...]:
    """Scopes each of which would have covered the call, the narrowest first; `this_call` always does."""
    found = [Scope(Kind.THIS_CALL)]
    for scope in dict.fromkeys(_candidates(matches, facts)):
        try:
            scope._check()
        except ScopeError:
            continue
        if not uncovered(matches, facts, [*scopes, scope]):
            found.append(scope)
    return tuple(found)


def _covers(scope: Scope, match: Match, facts: Facts) -> bool:
    if scope.kind is Kind.RULE:
        return scope.value == match.rule.rule_id
    if match.rule.built_in and match.rule.rule_id in UNREADABLE:
        return False
    if scope.kind is Kind.WRITE_PATH:
        place = match.unit.place
        return (
            match.unit.action == "write_file"
            and place is not None
            and globs.matches_path(scope.value, place.path)
        )
    if scope.kind is Kind.TOOL_TYPE:
        return scope.value == facts.tool
    if scope.kind is Kind.TOOL_GROUP:
        return scope.value == facts.group
    return scope.kind is Kind.ALL_SESSION


def _every_command(facts: Facts, patterns: Sequence[str]) -> bool:
    commands = [command for command in facts.commands if command.words]
    return (
        bool(commands)
        and not facts.unparsed
        and all(not c.unknown and not c.piped_script for c in facts.commands)
        and all(any(globs.matches(pattern, c.text) for pattern in patterns) for c in commands)
    )


def _by_command(match: Match) -> bool:
    """True for what a command does by its arguments; where its output goes is not in its text."""
    return match.unit.command is not None and not match.unit.redirected and bool(match.unit.command.words)


def _candidates(matches: Sequence[Match], facts: Facts) -> list[Scope]:
    found: list[Scope] = []
    texts = list(dict.fromkeys(c.text for c in facts.commands if c.words))
    if len(texts) == 1:
        found.append(Scope(Kind.BASH_PATTERN, globs.literal(texts[0])))
        words = texts[0].split(" ")
        if len(words) > 2 and not words[1].startswith("-"):
            found.append(Scope(Kind.BASH_PATTERN, globs.literal(" ".join(words[:2])) + " *"))
    for match in matches:
        if match.unit.place is not None and match.unit.action == "write_file":
            path = match.unit.place.path
            found.append(Scope(Kind.WRITE_PATH, globs.literal(path)))
            if parent := path.rpartition("/")[0]:
                found.append(Scope(Kind.WRITE_PATH, globs.literal(parent) + "/**"))
        found.append(Scope(Kind.RULE, match.rule.rule_id))
    found += [Scope(Kind.TOOL_TYPE, facts.tool), Scope(Kind.TOOL_GROUP, facts.group), Scope(Kind.ALL_SESSION)]
    order = list(Kind)
    return sorted(found, key=lambda scope: order.index(scope.kind))


def _check_pattern(kind: Kind, pattern: str) -> None:
    wild = globs.wildcards(pattern)
    length = len(globs.parts_of(pattern))
    if len(pattern) > MAX_PATTERN:
        raise ScopeError(f"the pattern is longer than {MAX_PATTERN} characters")
    if not pattern.isprintable():
        raise ScopeError("the pattern holds characters that cannot be shown")
    if length <= 2:
        raise ScopeError(f"the pattern {pattern!r} is too short to mean anything in particular")
    if wild == length or pattern.strip("*?/. ") == "":
        raise ScopeError(f"the pattern {pattern!r} matches everything; say all_session if that is meant")
    if wild * 2 > length:
        raise ScopeError(f"the pattern {pattern!r} is more wildcards than text")
    if kind is Kind.BASH_PATTERN and pattern[0] in "*?":
        raise ScopeError(f"the pattern {pattern!r} does not say which program it allows")


def _form(kind: Kind) -> str:
    values = {
        "tool_type": "TOOL",
        "tool_group": "GROUP",
        "bash_pattern": "GLOB",
        "write_path": "GLOB",
        "rule": "ID",
    }
    return kind.value if kind in _BARE else f"{kind.value}:{values[kind.value]}"


def _forms() -> list[str]:
    return [_form(kind) for kind in Kind]
