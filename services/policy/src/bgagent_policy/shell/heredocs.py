"""Here-documents: what they hold, and whether the grammar saw them end where the shell does."""

from __future__ import annotations

import re
from dataclasses import dataclass

import tree_sitter

from .command import Feed

_DELIMITER = re.compile(r"(\w[\w.-]*)|'([\w .-]+)'|\"([\w .-]+)\"|\\(\w+)")
_AFTER_DELIMITER = tuple(" \t\n;|&<>)")


@dataclass(frozen=True, slots=True)
class Heredoc:
    """What a command reads from it. `expanded` is the body where the shell looks for substitutions in it."""

    feed: Feed
    expanded: tree_sitter.Node | None = None


def read_heredoc(source: str, redirect: tree_sitter.Node) -> Heredoc:
    """Reads a `heredoc_redirect`."""
    start = _child(redirect, "heredoc_start")
    body = _child(redirect, "heredoc_body")
    if body is None:
        return Heredoc(Feed("", True))
    text = _text(source, body)
    if any(c.type == "<<-" for c in redirect.children):
        text = re.sub(r"^\t+", "", text, flags=re.MULTILINE)
    if start is not None and re.search(r"[\"'\\]", _text(source, start)):
        return Heredoc(Feed(text, True))
    bare = re.sub(r"\\[\\$`]", "", text)
    return Heredoc(Feed(text, not re.search(r"`|\$[\w{(@*#?!$-]", bare)), body)


def ends_as_it_says(source: str, redirect: tree_sitter.Node) -> bool:
    """Whether the shell sees the same delimiter; if not, all that follows is off."""
    start = _child(redirect, "heredoc_start")
    end = _child(redirect, "heredoc_end")
    body = _child(redirect, "heredoc_body")
    found = _DELIMITER.fullmatch(_text(source, start)) if start is not None else None
    if start is None or end is None or found is None:
        return False
    if source[start.end_byte : start.end_byte + 1] not in _AFTER_DELIMITER:
        return False
    delimiter = next(filter(None, found.groups()))
    before = source[: end.start_byte].rpartition("\n")[2]
    alone = not before.strip("\t") and source[end.end_byte : end.end_byte + 1] in ("", "\n")
    lines = [line.lstrip("\t") for line in _text(source, body).split("\n")] if body is not None else []
    return alone and _text(source, end) == delimiter and delimiter not in lines


def _child(node: tree_sitter.Node, kind: str) -> tree_sitter.Node | None:
    return next((child for child in node.children if child.type == kind), None)


def _text(source: str, node: tree_sitter.Node) -> str:
    return source[node.start_byte : node.end_byte]
