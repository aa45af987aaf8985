"""The commit message: a subject from the task, a body from what the agent said at the end."""

from __future__ import annotations

import re
import textwrap

_SUBJECT_CHARS = 72
_BODY_CHARS = 2_000
_BODY_WIDTH = 76
_DECORATION = re.compile(r"^(?:[#>*\-\s]|\d+[.)]\s)+|[*_`]+")
_FALLBACK = "Change what the task asks for"


def subject(description: str, summary: str) -> str:
    """At most 72 characters: the first line of the task, else the first one of the agent's last text."""
    for source in (description, summary):
        for line in source.splitlines():
            clean = " ".join(_DECORATION.sub("", line).split())
            if clean:
                return _shortened(clean[0].upper() + clean[1:])
    return _FALLBACK


def body(summary: str) -> str:
    """The agent's last text, wrapped; lines that look like code or lists keep their shape."""
    lines: list[str] = []
    for line in summary[:_BODY_CHARS].strip().splitlines():
        line = line.rstrip()
        plain = bool(line) and not line.startswith((" ", "\t", "|", "```"))
        lines += textwrap.wrap(line, _BODY_WIDTH, break_long_words=False) if plain else [line]
    return "\n".join(lines)


def _shortened(line: str) -> str:
    sentence = re.split(r"(?<=[a-z0-9)])[.;:](?:\s|$)", line, maxsplit=1)[0]
    if len(sentence) >= 12:
        line = sentence
    line = line.rstrip(" .")
    if len(line) <= _SUBJECT_CHARS:
        return line
    return textwrap.shorten(line, _SUBJECT_CHARS, placeholder=" …")
