"""Where the grammar is known to read a line otherwise than the shell does, without an error in its tree.

Each was found by running lines in bash that the rules had allowed. A line that meets one of them is not
understood, so it needs a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import tree_sitter

from .grammar import WORDS
from .heredocs import ends_as_it_says

# Nodes that hold statements, and those that end with their line.
_STRUCTURES = frozenset(("program", "do_group", "compound_statement", "if_statement", "else_clause"))
_ONE_LINE = frozenset(
    "command file_redirect redirected_statement simple_expansion concatenation declaration_command".split()
)
_BLANK = re.compile(r"(?:[ \t\n]|\\\n)*")
# The grammar drops the `-` of `python3 - <<END`.
_BESIDE = re.compile(r"(?:[ \t]|\\\n)*(?:[ \t]-[ \t]*)?")
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_SPLIT = re.compile(r"[\s;&|<>()]")
# Quotes and braces in `${…}` end it in ways that depend on what is around it.
_UNCLEAR_EXPANSION = re.compile(r"[\"']|(?<!\$)\{")
_DESCRIPTOR = re.compile(r"\{\w+\}[<>]")


def misreadings(source: str, root: tree_sitter.Node, most: int) -> list[str]:
    """What is wrong with the tree of a text, of which no more than `most` nodes are looked at."""
    found: dict[str, None] = {}
    nodes = [root]
    looked = 0
    while nodes:
        node = nodes.pop()
        nodes += node.children
        looked += 1
        if looked > 4 * most:
            return [*found, "the line has too many parts"]
        found.update(dict.fromkeys(_of(source, node)))
    return list(found)


def _of(source: str, node: tree_sitter.Node) -> Iterator[str]:
    kind = node.type
    text = source[node.start_byte : node.end_byte]
    if kind in _ONE_LINE:
        # `cat <$`, a newline, `rm x`: the grammar goes on in the next line.
        pairs = pairwise(node.children)
        if not all(_BESIDE.fullmatch(source, a.end_byte, b.start_byte) for a, b in pairs):
            yield "where a line ends"
    if kind in _STRUCTURES and not _is_covered(source, node):
        yield "a part of the line is passed over"
    if kind == "command" and any(
        a.end_byte == b.start_byte and b.type in WORDS for a, b in pairwise(node.children)
    ):
        # `X=(a)b rm x`: to the shell all of the first word is an assignment.
        yield "where a word ends"
    if kind == "word" and _SPLIT.search(_ESCAPED.sub("", text)):
        # `ls`, a newline, `\\rm x`: the grammar may put the second command to the first.
        yield "where a word ends"
    if kind == "comment" and source[node.start_byte - 1 : node.start_byte].strip(" \t\n;&|"):
        yield "where a comment begins"
    if kind == "expansion" and _UNCLEAR_EXPANSION.search(text[2:]):
        yield "where an expansion ends"
    if kind in WORDS and _DESCRIPTOR.fullmatch(source, node.start_byte, node.end_byte + 1):
        # `{name}>file` opens a descriptor; the grammar takes it for an argument.
        yield "a descriptor by name"
    if kind == "heredoc_redirect" and not ends_as_it_says(source, node):
        yield "where a here-document ends"
    if kind == "heredoc_body" and "`" in _ESCAPED.sub("", text):
        parent = node.parent
        start = next((c for c in parent.children if c.type == "heredoc_start"), None) if parent else None
        if start is not None and not re.search(r"[\"'\\]", source[start.start_byte : start.end_byte]):
            yield "a command substitution in a here-document"


def _is_covered(source: str, node: tree_sitter.Node) -> bool:
    """Whether there are only blanks between the parts, and a newline between two statements."""
    whole = node.type == "program"
    at = 0 if whole else node.start_byte
    statement = False
    for child in node.children:
        gap = source[at : child.start_byte]
        parted = statement and child.is_named and child.type != "comment"
        if not _BLANK.fullmatch(gap) or (parted and "\n" not in gap):
            return False
        at = child.end_byte
        statement = child.is_named
    return _BLANK.fullmatch(source[at : len(source) if whole else node.end_byte]) is not None
