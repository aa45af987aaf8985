"""The grammar of the shell, and what it may be shown."""

from __future__ import annotations

import re

import tree_sitter
import tree_sitter_bash

# Nodes that are one word of a command, and those that run more than once.
WORDS = frozenset(
    """word string raw_string ansi_c_string translated_string concatenation simple_expansion expansion
    number command_substitution process_substitution arithmetic_expansion brace_expression
    extglob_pattern regex array command_name special_variable_name variable_name subscript""".split()
)
LOOPS = frozenset(("while_statement", "for_statement", "c_style_for_statement", "function_definition"))
_LANGUAGE = tree_sitter.Language(tree_sitter_bash.language())
_NOT_PARSABLE = re.compile(r"[^\t\n\x20-\x7e]")


def parse(text: str) -> tree_sitter.Node:
    """The root of the text's tree. Places in it are characters of the text."""
    return tree_sitter.Parser(_LANGUAGE).parse(parsable(text)).root_node


def parsable(text: str) -> bytes:
    """The text as the grammar may see it: a byte for each character, so that places in it are the text's own.

    The grammar's scanner looks characters up in tables made for ASCII and crashes on some others. A letter
    that no keyword holds stands for each of them, as for control characters, no blanks to the shell.
    """
    return _NOT_PARSABLE.sub("Z", text).encode("ascii")
