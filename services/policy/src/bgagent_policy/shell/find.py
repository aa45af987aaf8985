"""`find`: which commands it runs and what it removes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .programs import Removal
from .words import Word

_RUNS = ("-exec", "-execdir", "-ok", "-okdir")
_NAMES = ("-name", "-iname", "-path", "-ipath", "-wholename", "-iwholename", "-regex", "-iregex")
_FILES = ("-fprint", "-fprint0", "-fls", "-fprintf")


@dataclass(frozen=True, slots=True)
class Find:
    """Commands with the paths that they may be given, files written, and what is removed."""

    commands: tuple[tuple[Word, ...], ...] = ()
    writes: tuple[Word, ...] = ()
    removal: Removal | None = None


def read_find(words: Sequence[Word]) -> Find:
    """Reads the words after `find`."""
    rest = list(words)
    while rest and rest[0].text in ("-H", "-L", "-P"):
        rest.pop(0)
    starts: list[Word] = []
    while rest and not (rest[0].known and rest[0].text.startswith(("-", "(", "!"))):
        starts.append(rest.pop(0))
    starts = starts or [Word(".")]
    matched = _matched(starts, rest)
    commands: list[tuple[Word, ...]] = []
    writes: list[Word] = []
    deletes = False
    at = 0
    while at < len(rest):
        text = rest[at].text
        at += 1
        if text in _RUNS:
            end = next((i for i in range(at, len(rest)) if _ends(rest, i)), len(rest))
            commands += _commands(rest[at:end], matched)
            at = end + 1
        elif text == "-delete":
            deletes = True
        elif text in _FILES and at < len(rest):
            writes.append(rest[at])
            at += 1
    if not deletes:
        return Find(tuple(commands), tuple(writes))
    removal = Removal(tuple(matched), recursive=not _named(rest))
    return Find(tuple(commands), (*writes, *matched), removal)


def _ends(rest: Sequence[Word], at: int) -> bool:
    return rest[at].text == ";" or (rest[at].text == "+" and rest[at - 1].text == "{}")


def _named(rest: Sequence[Word]) -> list[Word]:
    """The patterns that a file has to match, those behind a negation left out."""
    named = []
    for at, word in enumerate(rest[:-1]):
        negated = at > 0 and rest[at - 1].text in ("!", "-not")
        if word.text in _NAMES and not negated:
            named.append(rest[at + 1])
    return named


def _matched(starts: Sequence[Word], rest: Sequence[Word]) -> list[Word]:
    """Words for the paths that are found: the start itself, or what the patterns make of it."""
    named = _named(rest)
    if not named:
        return list(starts)
    found = []
    for start in starts:
        for name in named:
            known = start.known and name.known
            tail = name.text.removeprefix(start.text.rstrip("/") + "/").lstrip("/").removeprefix("*/")
            found.append(Word(f"{start.text.rstrip('/') or ''}/{tail}", known, pattern=True))
    return found


def _commands(words: Sequence[Word], matched: Sequence[Word]) -> list[tuple[Word, ...]]:
    """The command once for each path that it may be given."""
    if not any("{}" in w.text for w in words):
        return [tuple(words)]
    made = []
    for path in matched:
        made.append(
            tuple(
                Word(w.text.replace("{}", path.text), w.known and path.known, pattern=path.pattern)
                if "{}" in w.text
                else w
                for w in words
            )
        )
    return made
