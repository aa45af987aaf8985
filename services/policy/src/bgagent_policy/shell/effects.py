"""What a command leaves behind: files written and removed, scripts run, text printed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..paths import SINKS, Layout
from .command import Call, Feed, RemovalFacts, Scope, Write
from .programs import INTERPRETERS, SHELLS, Removal
from .words import Word

_STDIN = frozenset(("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"))


def writes_of(
    layout: Layout, words: Sequence[Word], scope: Scope, *, redirected: bool = False, removed: bool = False
) -> tuple[list[Write], list[str]]:
    """Where the words lead to; reasons say what is not known."""
    writes: list[Write] = []
    reasons: list[str] = []
    for word in words:
        if word.known and SINKS.fullmatch(word.text):
            continue
        places = layout.places(word.text, scope.directories) if word.known else None
        if places is None or (word.pattern and re.search(r"(?:^|/)\.[^/]*[*?\[]", word.text)):
            # `.*` may be `.git` as well as `.env`.
            reasons.append("which files are removed" if removed else "which files are written")
        else:
            writes += (Write(place, redirected, removed) for place in places)
    return writes, reasons


def directory_of(layout: Layout, directories: Sequence[Word], scope: Scope) -> Scope:
    """Where a command runs that is told to go elsewhere first."""
    where = scope.copy()
    for word in directories:
        moved = layout.candidates(word.text, where.directories) if word.known else None
        where.directories = None if moved is None else frozenset(moved)
    return where


def removal_of(layout: Layout, removal: Removal | None, scope: Scope) -> RemovalFacts | None:
    """What a removal amounts to."""
    if removal is None:
        return None
    paths = [
        path
        for word in removal.operands
        if word.known
        for path in layout.candidates(word.text, scope.directories) or ()
    ]
    return RemovalFacts(
        removal.recursive,
        removal.force,
        root=removal.recursive and any(layout.is_root(path) for path in paths),
        workspace=removal.recursive and any(layout.is_workspace(path) for path in paths),
    )


def scripts_of(program: str, call: Call) -> tuple[tuple[str, ...], bool]:
    """Files that the command runs, and whether it runs what it is sent."""
    words = call.words[1:]
    if "/" in call.words[0].text and program not in SHELLS and program not in INTERPRETERS:
        return (call.words[0].text,), False
    if program in ("at", "batch"):
        operands: list[Word] = []
    elif program in ("source", "."):
        operands = list(words[:1])
    elif program in SHELLS or program in INTERPRETERS or re.fullmatch(r"python3\.\d+", program):
        if any(re.fullmatch(r"-[\w]*[ce]|-m|--eval|-p|--print|-S|--version|-V", w.text) for w in words):
            return (), False
        operands = [w for w in words if not re.match(r"-.", w.text)][:1]
        if program in SHELLS and any(re.fullmatch(r"-\w*s\w*", w.text) for w in words):
            operands = []
    else:
        return (), False
    if not operands or operands[0].text in _STDIN:
        return (), any(not feed.known for feed in call.feeds)
    if not operands[0].known:
        return (operands[0].text,), True
    return (operands[0].text,), False


def printed_of(program: str, words: Sequence[Word], feeds: Sequence[Feed]) -> Feed:
    """What a command prints, as far as the line says it."""
    if program == "echo":
        plain = words[1:] if words and words[0].text == "-n" else words
        known = all(w.known and not w.pattern for w in plain) and not any(
            w.text.startswith("-") or "\\" in w.text for w in plain
        )
        return Feed(" ".join(w.text for w in plain), known)
    if program == "printf" and words:
        text = words[0].text.replace("\\n", "\n") if len(words) == 1 else " ".join(w.text for w in words)
        return Feed(
            text, len(words) == 1 and words[0].known and not re.search(r"[%\\]", text.replace("%%", ""))
        )
    if program == "cat" and not words and len(feeds) == 1:
        return feeds[0]
    if program == "tee" and len(feeds) == 1:
        return feeds[0]
    return Feed()
