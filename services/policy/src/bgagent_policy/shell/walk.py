"""Walks the syntax tree of one text of shell and reads every simple command in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import tree_sitter

from .command import Call, Feed, Scope
from .grammar import LOOPS, ONE_LINE, STRUCTURES, WORDS, parse
from .heredocs import read_heredoc
from .interpreter import run
from .words import Word, word_of, words_of

if TYPE_CHECKING:
    from .reader import Reader

_MOVES = re.compile(r"\b(?:cd|chdir|pushd|popd)\b")
_WRITES = frozenset((">", ">>", "&>", "&>>", ">|", ">&", "<>"))
# Quotes and braces in `${…}` end it in ways that depend on what is around it.
_UNCLEAR_EXPANSION = re.compile(r"[\"']|(?<!\$)\{")
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_SPLIT = re.compile(r"[\s;&|<>()]")
_BESIDE = re.compile(r"(?:[ \t]|\\\n)*")
_BLANK = re.compile(r"(?:[ \t\n]|\\\n)*")


class Walk:
    """One pass over the tree of one text."""

    def __init__(self, reader: Reader, text: str, variables: dict[str, str], depth: int) -> None:
        self._reader = reader
        self._source = text
        self._variables = variables
        self._depth = depth
        self._level = 0

    def check(self) -> tree_sitter.Node:
        """Parses the text and says so where it is not understood."""
        root = parse(self._source)
        if root.has_error:
            self._reader.unparsed.append("the line is not valid shell, or not understood")
        return root

    def line(self, scope: Scope, feeds: Sequence[Feed]) -> None:
        """Reads all commands of the text."""
        self._visit(self.check(), scope, tuple(feeds))

    def _visit(self, node: tree_sitter.Node, scope: Scope, feeds: tuple[Feed, ...]) -> Feed:
        self._level += 1
        self._reader.count_node(self._level)
        try:
            return self._node(node, scope, feeds)
        finally:
            self._level -= 1

    def _node(self, node: tree_sitter.Node, scope: Scope, feeds: tuple[Feed, ...]) -> Feed:
        kind = node.type
        if kind in ONE_LINE:
            for before, after in pairwise(node.children):
                if not _BESIDE.fullmatch(self._source, before.end_byte, after.start_byte):
                    self._reader.unparsed.append("where a line ends")
        if kind == "comment":
            if self._source[node.start_byte - 1 : node.start_byte].strip(" \t\n;&|"):
                self._reader.unparsed.append("where a comment begins")
            return Feed()
        if kind == "command":
            return self._command(node, scope, feeds, ())
        if kind == "redirected_statement":
            return self._redirected(node, scope, feeds)
        if kind == "pipeline":
            return self._pipeline(node, scope, feeds)
        if kind == "list":
            return self._list(node, scope, feeds)
        if kind == "subshell":
            return self._children(node, scope.copy(), feeds)
        if kind == "process_substitution":
            # What is written to `>(…)` comes from the command that it is an argument of.
            return self._children(node, scope.copy(), (Feed(),) if self._text(node).startswith(">") else ())
        if kind == "command_substitution":
            return self._substitution(node, scope, feeds)
        if kind == "variable_assignment":
            return self._assigned(node, scope, feeds)
        if kind in LOOPS and _MOVES.search(self._text(node)):
            # What a later round or a later call does depends on where the one before it ended.
            scope.directories = None
            scope.settle()
        if kind in STRUCTURES:
            self._cover(node)
        elif kind == "word" and _SPLIT.search(_ESCAPED.sub("", self._text(node))):
            # At the beginning of a line the grammar may put `\\rm` to the line before.
            self._reader.unparsed.append("where a word ends")
        elif kind == "expansion" and _UNCLEAR_EXPANSION.search(self._text(node)[2:]):
            self._reader.unparsed.append("where an expansion ends")
        return self._children(node, scope, feeds)

    def _children(self, node: tree_sitter.Node, scope: Scope, feeds: tuple[Feed, ...]) -> Feed:
        printed = Feed()
        for child in node.children:
            if child.is_named:
                printed = self._visit(child, scope, feeds)
        return printed

    def _cover(self, node: tree_sitter.Node) -> None:
        """Between the parts of a structure there are blanks, and a newline between two statements."""
        whole = node.type == "program"
        at = 0 if whole else node.start_byte
        statement = False
        for child in node.children:
            self._gap(at, child.start_byte, parted=statement and child.is_named and child.type != "comment")
            at = child.end_byte
            statement = child.is_named
        self._gap(at, len(self._source) if whole else node.end_byte)

    def _gap(self, start: int, end: int, parted: bool = False) -> None:
        gap = self._source[start:end]
        if not _BLANK.fullmatch(gap) or (parted and "\n" not in gap):
            self._reader.unparsed.append("a part of the line is not understood")

    def _list(self, node: tree_sitter.Node, scope: Scope, feeds: tuple[Feed, ...]) -> Feed:
        printed = Feed()
        operator = ""
        for child in node.children:
            if not child.is_named:
                operator = child.type
            elif operator == "&&":
                before = scope.directories
                right = Scope(scope.sure)
                printed = self._visit(child, right, feeds)
                both = before is None or right.directories is None
                scope.directories = (
                    None if both else (before or frozenset()) | (right.directories or frozenset())
                )
                scope.sure = right.sure
            else:
                printed = self._visit(child, scope, feeds)
        return printed

    def _pipeline(self, node: tree_sitter.Node, scope: Scope, feeds: tuple[Feed, ...]) -> Feed:
        printed: Feed | None = None
        parts = [child for child in node.children if child.is_named]
        for at, child in enumerate(parts):
            # What feeds the whole pipeline may be meant for any of its commands.
            given = feeds if at == 0 else (*feeds, *((printed,) if printed is not None else ()))
            printed = self._visit(child, scope.copy(), given)
        scope.settle()
        return printed or Feed()

    def _substitution(self, node: tree_sitter.Node, scope: Scope, feeds: tuple[Feed, ...]) -> Feed:
        text = self._text(node)
        if text.startswith("`") and "\\" in text:
            self._reader.read(re.sub(r"\\([`\\$])", r"\1", text[1:-1]), scope.copy(), self._depth + 1, feeds)
            return Feed()
        return self._children(node, scope.copy(), feeds)

    def _assigned(self, node: tree_sitter.Node, scope: Scope, feeds: tuple[Feed, ...]) -> Feed:
        name, value = self._assignment(node)
        run(self._reader, Call((), ((name, value),)), scope, self._depth)
        return self._children(node, scope, feeds)

    def _redirected(self, node: tree_sitter.Node, scope: Scope, feeds: tuple[Feed, ...]) -> Feed:
        body = node.child_by_field_name("body")
        redirects = [child for child in node.children if child != body and child.is_named]
        extra: list[tree_sitter.Node] = []
        after: list[tree_sitter.Node] = []
        targets: list[tree_sitter.Node] = []
        own: list[Feed] = []
        while redirects:
            redirect = redirects.pop(0)
            if redirect.type == "file_redirect":
                self._file(redirect, targets, extra, own)
            elif redirect.type == "herestring_redirect":
                own.append(self._herestring(redirect))
            elif redirect.type == "heredoc_redirect":
                own.append(self._heredoc(redirect))
                for child in redirect.children:
                    if child.type in ("file_redirect", "heredoc_redirect", "herestring_redirect"):
                        redirects.append(child)
                    elif child.type in WORDS:
                        extra.append(child)
                    elif (
                        child.is_named
                        and not child.type.startswith("heredoc_")
                        and child.type != "file_descriptor"
                    ):
                        after.append(child)
            else:
                extra.append(redirect)
        for target in (*targets, *extra):
            self._visit(target, scope, ())
        given = tuple(own) or feeds
        writes = tuple(self._word(target) for target in targets)
        words = tuple(word for one in extra for word in self._words(one))
        if body is not None and body.type == "command":
            printed = self._command(body, scope, given, words, writes)
        else:
            # The grammar hangs the redirection of a list's last command on the list: it may be after a `cd`.
            printed = self._visit(body, scope, given) if body is not None else Feed()
            run(self._reader, Call(words, redirections=writes, feeds=given), scope, self._depth)
        for child in after:
            # `cat <<END | sh`: the grammar hangs what follows the here-document below it.
            if child.type == "pipeline":
                self._visit(child, scope, (printed,))
            else:
                self._visit(child, scope, feeds)
        return printed

    def _file(
        self,
        redirect: tree_sitter.Node,
        targets: list[tree_sitter.Node],
        extra: list[tree_sitter.Node],
        own: list[Feed],
    ) -> None:
        operator = next((child.type for child in redirect.children if not child.is_named), "")
        destinations = redirect.children_by_field_name("destination")
        for at, destination in enumerate(destinations):
            text = self._text(destination)
            if at > 0:
                extra.append(destination)  # words behind a redirection are arguments of the command
            elif operator in _WRITES and not (operator == ">&" and re.fullmatch(r"\d+-?|-", text)):
                targets.append(destination)
            elif operator == "<":
                # A file is known as far as it matters: it was there before, or was written under these rules.
                own.append(Feed("", known=self._word(destination).known and text != "/dev/stdin"))
                self._visit(destination, Scope(None), ())

    def _herestring(self, redirect: tree_sitter.Node) -> Feed:
        content = next((child for child in redirect.children if child.is_named), None)
        if content is None:
            return Feed()
        self._visit(content, Scope(None), ())
        word = self._word(content)
        return Feed(word.text, word.known)

    def _heredoc(self, redirect: tree_sitter.Node) -> Feed:
        document = read_heredoc(self._source, redirect)
        self._reader.unparsed += document.problems
        if document.expanded is not None:
            self._visit(document.expanded, Scope(None), ())
        return document.feed

    def _command(
        self,
        node: tree_sitter.Node,
        scope: Scope,
        feeds: tuple[Feed, ...],
        extra: tuple[Word, ...],
        writes: tuple[Word, ...] = (),
    ) -> Feed:
        words: list[Word] = []
        assignments: list[tuple[str, Word]] = []
        targets: list[tree_sitter.Node] = []
        more: list[tree_sitter.Node] = []
        own: list[Feed] = []
        end = -1
        for child in node.children:
            if child.start_byte == end and child.type in WORDS:
                self._reader.unparsed.append("where a word ends")
            end = child.end_byte
            if child.type == "variable_assignment":
                assignments.append(self._assignment(child))
                self._children(child, scope, ())
            elif child.type == "file_redirect":
                self._file(child, targets, more, own)
            elif child.type == "herestring_redirect":
                own.append(self._herestring(child))
            elif child.type == "heredoc_redirect":
                own.append(self._heredoc(child))
            elif child.type == "ERROR" or not child.is_named:
                if child.type == "ERROR":
                    self._visit(child, scope, feeds)
                elif self._text(child) not in ("", "=", "=="):
                    words.append(Word(self._text(child)))
            else:
                words += self._words(child)
                self._visit(child, scope, ())
        for one in (*targets, *more):
            self._visit(one, scope, ())
        words += [word for one in more for word in self._words(one)]
        call = Call(
            (*words, *extra),
            tuple(assignments),
            (*writes, *(self._word(target) for target in targets)),
            tuple(own) or feeds,
        )
        return run(self._reader, call, scope, self._depth)

    def _assignment(self, node: tree_sitter.Node) -> tuple[str, Word]:
        name = node.child_by_field_name("name")
        value = node.child_by_field_name("value")
        return (
            self._text(name) if name is not None else "",
            self._word(value) if value is not None else Word(""),
        )

    def _words(self, node: tree_sitter.Node) -> tuple[Word, ...]:
        text = self._text(node)
        if self._source[node.end_byte : node.end_byte + 1] in ("<", ">") and re.fullmatch(r"\{\w+\}", text):
            # `{name}>file` opens a descriptor; the grammar takes it for an argument.
            self._reader.unparsed.append("a descriptor by name")
        return words_of(text, self._variables)

    def _word(self, node: tree_sitter.Node) -> Word:
        return word_of(self._text(node), self._variables)

    def _text(self, node: tree_sitter.Node) -> str:
        return self._source[node.start_byte : node.end_byte]
