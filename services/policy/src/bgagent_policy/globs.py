"""Patterns of people: `*` and `?`, with a backslash before one that is meant literally.

Matching never takes more steps than pattern times text.
"""

from __future__ import annotations

from functools import lru_cache

# Stands for one part of a pattern: a literal character, any one, or any number.
_ONE, _MANY = object(), object()
_Part = str | object


@lru_cache(maxsize=512)
def parts_of(pattern: str) -> tuple[_Part, ...]:
    """The pattern's parts; neighbouring stars are one."""
    parts: list[_Part] = []
    at = 0
    while at < len(pattern):
        c = pattern[at]
        if c == "\\" and at + 1 < len(pattern):
            at += 1
            parts.append(pattern[at])
        elif c == "*":
            if not parts or parts[-1] is not _MANY:
                parts.append(_MANY)
        else:
            parts.append(_ONE if c == "?" else c)
        at += 1
    return tuple(parts)


def literal(text: str) -> str:
    """The pattern that matches this text alone."""
    return "".join("\\" + c if c in "*?\\" else c for c in text)


def wildcards(pattern: str) -> int:
    """How many characters of the pattern stand for others."""
    return sum(not isinstance(part, str) for part in parts_of(pattern))


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text is matched; `*` goes over any character."""
    return _matches(parts_of(pattern), text)


def matches_path(pattern: str, path: str) -> bool:
    """Whether the whole path is matched; `*` ends at a slash, `**` stands for any directories."""
    wanted = pattern.split("/")
    reached = {0}
    for component in path.split("/"):
        following = set()
        for at in _skipped(wanted, reached):
            if wanted[at] == "**":
                following.add(at)
            elif _matches(parts_of(wanted[at]), component):
                following.add(at + 1)
        reached = following
    return len(wanted) in reached or any(set(wanted[at:]) == {"**"} for at in reached if at < len(wanted))


def _skipped(wanted: list[str], reached: set[int]) -> set[int]:
    """The places in the pattern from which the next component may be matched: `**` may stand for none."""
    places = set()
    for at in reached:
        while at < len(wanted):
            places.add(at)
            if wanted[at] != "**":
                break
            at += 1
    return places


def _matches(parts: tuple[_Part, ...], text: str) -> bool:
    at = here = 0
    star = mark = -1
    while here < len(text):
        if at < len(parts) and parts[at] is _MANY:
            star, mark = at, here
            at += 1
        elif at < len(parts) and (parts[at] is _ONE or parts[at] == text[here]):
            at += 1
            here += 1
        elif star >= 0:
            mark += 1
            at, here = star + 1, mark
        else:
            return False
    return all(part is _MANY for part in parts[at:])
