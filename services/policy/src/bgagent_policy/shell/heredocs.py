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
    problems: tuple[str, ...] = ()


def read_heredoc(source: str, redirect: tree_sitter.Node) -> Heredoc:
    """Reads a `heredoc_redirect`."""
    start = next((c for c in redirect.children if c.type == "heredoc_start"), None)
    body = next((c for c in redirect.children if c.type == "heredoc_body"), None)
    if start is None or not _ends_as_it_says(source, redirect, start, body):
        problems: tuple[str, ...] = ("where a here-document ends",)
    else:
        problems = ()
    if body is None:
        return Heredoc(Feed("", True), problems=problems)
    text = _text(source, body)
    if any(c.type == "<<-" for c in redirect.children):
        text = re.sub(r"^\t+", "", text, flags=re.MULTILINE)
    if start is not None and re.search(r"[\"'\\]", _text(source, start)):
        return Heredoc(Feed(text, True), problems=problems)
    bare = re.sub(r"\\[\\$`]", "", text)
    if "`" in bare:
        problems = (*problems, "a command substitution within a here-document")
    return Heredoc(Feed(text, not re.search(r"`|\$[\w{(@*#?!$-]", bare)), body, problems)


def _ends_as_it_says(
    source: str, redirect: tree_sitter.Node, start: tree_sitter.Node, body: tree_sitter.Node | None
) -> bool:
    """The grammar may take more or less for the delimiter than the shell does."""
    end = next((c for c in redirect.children if c.type == "heredoc_end"), None)
    found = _DELIMITER.fullmatch(_text(source, start))
    if end is None or found is None or source[start.end_byte : start.end_byte + 1] not in _AFTER_DELIMITER:
        return False
    delimiter = next(filter(None, found.groups()))
    before = source[: end.start_byte].rpartition("\n")[2]
    alone = not before.strip("\t") and source[end.end_byte : end.end_byte + 1] in ("", "\n")
    lines = [line.lstrip("\t") for line in _text(source, body).split("\n")] if body is not None else []
    return alone and _text(source, end) == delimiter and delimiter not in lines


def _text(source: str, node: tree_sitter.Node) -> str:
    return source[node.start_byte : node.end_byte]
