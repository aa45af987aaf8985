"""Policy text cut into its statements, so that every complaint can name a line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy as it is written, with the line that it begins on."""

    line: int
    text: str

    def line_of(self, message: str) -> int:
        """The line that a message of the parser means: that of the token it quotes, if there is one such."""
        quoted = message.split("`")
        if len(quoted) >= 3 and quoted[1] and self.text.count(quoted[1]) == 1:
            return self.line + self.text[: self.text.index(quoted[1])].count("\n")
        return self.line


def statements_of(text: str) -> list[Statement]:
    """The statements of a text; what is left after the last semicolon is one as well."""
    found: list[Statement] = []
    begin: int | None = None
    at = 0
    while at < len(text):
        c = text[at]
        if text.startswith("//", at):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        if begin is None and not c.isspace():
            begin = at
        if c == '"':
            at = _string_end(text, at + 1)
            continue
        at += 1
        if c == ";" and begin is not None:
            found.append(_statement(text, begin, at))
            begin = None
    if begin is not None:
        found.append(_statement(text, begin, len(text)))
    return found


def _statement(text: str, begin: int, end: int) -> Statement:
    return Statement(text.count("\n", 0, begin) + 1, text[begin:end])


def _string_end(text: str, at: int) -> int:
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return min(at + 1, len(text))
