"""What the shell makes of one word: quotes, escapes, braces and the home directory.

A word that depends on anything outside the line (a variable, a substitution) is unknown and keeps its text
as it was written. Reading words here, from their source text, keeps every rule of quoting in one place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

# A brace expression may multiply; more words than this are as good as unknown.
MAX_EXPANSION = 64

_NAME = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_SEQUENCE = re.compile(r"(-?\d+|[A-Za-z])\.\.(-?\d+|[A-Za-z])(?:\.\.(-?\d+))?")
_ESCAPES = {
    "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "?": "?",
}  # fmt: skip
_NUMERIC = re.compile(
    r"x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|c(.)", re.DOTALL
)

# One character, and whether it may still mean something: false inside quotes.
_Char = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Word:
    """One argument. `pattern` says that file names are matched against it."""

    text: str
    known: bool = True
    pattern: bool = False


class _Unknown(Exception):
    """The word depends on something that the line does not say."""


def words_of(source: str, variables: Mapping[str, str]) -> tuple[Word, ...]:
    """The words that one written word becomes; `variables` are those whose value is certain."""
    try:
        chars = _unquote(source, variables)
        expanded = list(_braces(chars))
    except _Unknown:
        return (Word(source, known=False),)
    words = []
    for one in expanded:
        one = _home(one, variables)
        words.append(Word("".join(c for c, _ in one), pattern=any(a and c in "*?[" for c, a in one)))
    return tuple(words)


def word_of(source: str, variables: Mapping[str, str]) -> Word:
    """The word where the shell expects exactly one; several are unknown."""
    words = words_of(source, variables)
    return words[0] if len(words) == 1 else Word(source, known=False)


def quoted(text: str) -> str:
    """The text as one word of a normalised command."""
    if text and re.fullmatch(r"[\w@%+=:,./~^{}*?\[\]!#-]+", text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def _unquote(source: str, variables: Mapping[str, str]) -> list[_Char]:
    chars: list[_Char] = []
    at = 0
    while at < len(source):
        c = source[at]
        if c == "\\":
            if source[at + 1 : at + 2] != "\n":
                chars.append((source[at + 1 : at + 2] or "\\", False))
            at += 2
        elif c == "'":
            end = source.find("'", at + 1)
            if end < 0:
                raise _Unknown
            chars += [(q, False) for q in source[at + 1 : end]]
            chars.append(("", False))
            at = end + 1
        elif c == '"':
            at = _double(source, at + 1, variables, chars)
        elif c == "$":
            at = _dollar(source, at, variables, chars, quoted=False)
        elif c in "`()<>|&;" or (c.isspace() or not c.isprintable()):
            raise _Unknown
        else:
            chars.append((c, True))
            at += 1
    return chars


def _double(source: str, at: int, variables: Mapping[str, str], chars: list[_Char]) -> int:
    chars.append(("", False))
    while at < len(source):
        c = source[at]
        if c == '"':
            return at + 1
        if c == "`":
            raise _Unknown
        if c == "\\" and source[at + 1 : at + 2] in ("$", "`", '"', "\\", "\n"):
            if source[at + 1] != "\n":
                chars.append((source[at + 1], False))
            at += 2
        elif c == "$":
            at = _dollar(source, at, variables, chars, quoted=True)
        else:
            chars.append((c, False))
            at += 1
    raise _Unknown


def _dollar(source: str, at: int, variables: Mapping[str, str], chars: list[_Char], *, quoted: bool) -> int:
    following = source[at + 1 : at + 2]
    if not quoted and following == "'":
        return _ansi(source, at + 2, chars)
    if not quoted and following == '"':
        return _double(source, at + 2, variables, chars)
    if found := _NAME.match(source, at):
        value = variables.get(found.group(1) or found.group(2))
        if value is None:
            raise _Unknown
        chars += [(c, False) for c in value]
        return found.end()
    if following and (following in "{([$!#?*@-" or following.isalnum() or following == "_"):
        raise _Unknown
    chars.append(("$", False))
    return at + 1


def _ansi(source: str, at: int, chars: list[_Char]) -> int:
    chars.append(("", False))
    while at < len(source):
        c = source[at]
        if c == "'":
            return at + 1
        if c != "\\":
            chars.append((c, False))
            at += 1
            continue
        at += 1
        if found := _NUMERIC.match(source, at):
            chars.append((_numeric(found), False))
            at = found.end()
        else:
            escaped = source[at : at + 1]
            chars.append((_ESCAPES.get(escaped, "\\" + escaped), False))
            at += 1
    raise _Unknown


def _numeric(found: re.Match[str]) -> str:
    byte, short, long, octal, control = found.groups()
    if control is not None:
        return chr(ord(control) & 0x1F)
    code = int(byte or short or long, 16) if octal is None else int(octal, 8) & 0xFF
    # Zero ends the string in the shell; bytes over 127 may be halves of a character.
    if code == 0 or code > 0x10FFFF or 0xD800 <= code < 0xE000 or (code > 127 and not (short or long)):
        raise _Unknown
    return chr(code)


def _braces(chars: list[_Char], left: int = MAX_EXPANSION) -> Iterator[list[_Char]]:
    """Brace expansion, as the shell does it before anything else."""
    for start, end, commas in _groups(chars):
        inner = chars[start + 1 : end]
        if commas:
            cuts = [start, *commas, end]
            options = [chars[a + 1 : b] for a, b in pairwise(cuts)]
        elif (sequence := _sequence(inner)) is not None:
            options = sequence
        else:
            continue
        made = 0
        for option in options:
            for word in _braces([*chars[:start], *option, *chars[end + 1 :]], left):
                made += 1
                if made > left:
                    raise _Unknown
                yield word
        return
    yield chars


def _groups(chars: list[_Char]) -> Iterator[tuple[int, int, list[int]]]:
    """Every `{`…`}` that closes, with its commas at the top level; outermost and leftmost first."""
    opened: list[tuple[int, list[int]]] = []
    found = []
    for at, char in enumerate(chars):
        if char == ("{", True):
            opened.append((at, []))
            if len(opened) > MAX_EXPANSION:
                raise _Unknown
        elif char == (",", True) and opened:
            opened[-1][1].append(at)
        elif char == ("}", True) and opened:
            start, commas = opened.pop()
            found.append((start, at, commas))
    yield from sorted(found)


def _sequence(inner: list[_Char]) -> list[list[_Char]] | None:
    if not all(active for _, active in inner):
        return None
    found = _SEQUENCE.fullmatch("".join(c for c, _ in inner))
    if found is None:
        return None
    first, last, step_text = found.groups()
    if first.isalpha() != last.isalpha():
        return None
    a, b = (ord(first), ord(last)) if first.isalpha() else (int(first), int(last))
    step = abs(int(step_text or 1)) or 1
    if abs(b - a) // step >= MAX_EXPANSION:
        raise _Unknown
    values = range(a, b + 1, step) if a <= b else range(a, b - 1, -step)
    texts = [chr(v) if first.isalpha() else str(v) for v in values]
    return [[(c, True) for c in text] for text in texts]


def _home(chars: list[_Char], variables: Mapping[str, str]) -> list[_Char]:
    if not chars or chars[0] != ("~", True):
        return chars
    end = next((at for at, (c, _) in enumerate(chars) if c == "/"), len(chars))
    user = "".join(c for c, _ in chars[1:end])
    if not all(active for _, active in chars[1:end]):
        return chars
    home = {"": variables.get("HOME", "~"), "root": "/root"}.get(user, f"/home/{user}")
    return [(c, False) for c in home] + chars[end:]
