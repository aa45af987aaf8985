"""Lines of shell, and what is to become of them.

`allow` stands alone; `ask` and `deny` name all the rules that are met. What is met beside a hard rule is not
told.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import files, harmless, pushes, removals, unclear


@dataclass(frozen=True)
class Case:
    """One line and its verdict."""

    line: str
    effect: str
    rules: frozenset[str]


CASES = [
    Case(line, verdict.partition(" ")[0], frozenset(filter(None, verdict.partition(" ")[2].split(","))))
    for part in (harmless, pushes, removals, files, unclear)
    for verdict, lines in part.CASES.items()
    for line in lines
]
