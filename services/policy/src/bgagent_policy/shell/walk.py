"""Walks the syntax tree of one text of shell and reads every simple command in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tree_sitter

from .command import Call, Feed, Scope
from .grammar import LOOPS, WORDS, parse
from .heredocs import read_heredoc
from .interpreter import run
from .misreadings import misreadings
from .words import Word, word_of, words_of

if TYPE_CHECKING:
    from .reader import Reader

_MOVES = re.compile(r"\b(?:cd|chdir|pushd|popd)\b")
_WRITES = frozenset((">", ">>", "&>", "&>>", ">|", ">&", "<>"))


class Walk:
    """One pass over the tree of one text."""

    def __init__(self, reader: Reader, text: str, variables: dict[str, str], depth: int) -> None:
        self._reader = reader
        self._source = text
        self._variables = variables
        self._depth = depth
        self._level = 0
        self._behind: dict[int, tuple[Word, ...]] = {}

    def check(self) -> tree_sitter.Node:
        """Parses the text and says so where it is not understood."""
        root = parse(self._source)
        if root.has_error:
            self._reader.unparsed.append("the line is not valid shell, or not understood")
        self._reader.unparsed += misreadings(self._source, root, self._reader.limits.nodes)
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
        if kind == "comment":
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
        return self._children(node, scope, feeds)

    def _children(self, node: tree_sitter.Node, scope: Scope, feeds: tuple[Feed, ...]) -> Feed:
        printed = Feed()
        for child in node.children:
            if child.is_named:
                printed = self._visit(child, scope, feeds)
        return printed

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
        last = body
        while last is not None and last.type in ("list", "pipeline", "negated_command"):
            last = last.named_children[-1] if last.named_children else None
        if words and body is not None and (last is None or last.type != "command"):
            self._reader.unparsed.append("whose arguments stand behind a redirection")
        elif words and last is not None and last != body:
            # They are the arguments of the last command of a list, though the grammar hangs them on the list.
            self._behind[last.id] = words
            words = ()
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
        for child in node.children:
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
            (*words, *extra, *self._behind.pop(node.id, ())),
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
        return words_of(self._text(node), self._variables)

    def _word(self, node: tree_sitter.Node) -> Word:
        return word_of(self._text(node), self._variables)

    def _text(self, node: tree_sitter.Node) -> str:
        return self._source[node.start_byte : node.end_byte]
