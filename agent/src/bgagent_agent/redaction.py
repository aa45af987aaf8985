"""Takes secrets out of text before it leaves the sandbox.

The gateways scrub by the same rules (`redaction.json`, which `shared/Patterns` holds); this is the layer that
sees tool output first. It errs on the side of removing too much, and it is idempotent, so that text may pass
it more than once.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

PREVIEW_CHARS: Final = 200
TRACE_PREVIEW_CHARS: Final = 4096
# A preview never needs more of its source than this; it bounds the work for outputs of many megabytes.
_PREVIEW_SOURCE_CHARS: Final = 65_536
_SHORTEST_EXACT: Final = 8


def mark(name: str | None = None) -> str:
    """What stands in the place of a secret."""
    return f"[redacted {name}]" if name else "[redacted]"


def entropy(text: str) -> float:
    """Shannon's entropy of a text's characters, in bits a character."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


@dataclass(frozen=True)
class _Rule:
    """One rule. Where the pattern has a group `secret`, that part is the secret, else all of the match."""

    name: str
    pattern: re.Pattern[str]
    min_entropy: float

    def apply(self, text: str) -> str:
        """The text without what this rule finds."""
        return self.pattern.sub(self._replacement, text)

    def _replacement(self, match: re.Match[str]) -> str:
        group = "secret" if "secret" in self.pattern.groupindex else 0
        if self.min_entropy and entropy(match[group]) < self.min_entropy:
            return match[0]
        start, end = match.span(group)
        before, after = match.string[match.start() : start], match.string[end : match.end()]
        return before + mark(self.name) + after


def _load() -> tuple[_Rule, ...]:
    file = json.loads(resources.files(__package__).joinpath("redaction.json").read_text("utf-8"))
    return tuple(
        _Rule(
            rule["name"],
            re.compile(
                rule["pattern"],
                (re.I if rule.get("ignore_case") else re.NOFLAG)
                | (re.S if rule.get("dot_all") else re.NOFLAG),
            ),
            rule.get("min_entropy", 0.0),
        )
        for rule in file["rules"]
    )


_RULES: Final = _load()


class Redactor:
    """Scrubs known shapes of secrets and the exact values it was given."""

    def __init__(self, exact: Iterable[str] = ()) -> None:
        values = sorted({value for value in exact if len(value) >= _SHORTEST_EXACT}, key=len, reverse=True)
        self._exact = re.compile("|".join(map(re.escape, values))) if values else None

    def text(self, text: str) -> str:
        """The text without secrets."""
        if self._exact is not None:
            text = self._exact.sub(mark(), text)
        for rule in _RULES:
            text = rule.apply(text)
        return text

    def scrub(self, value: Any) -> Any:
        """A deep copy of a JSON-like value with every string scrubbed; its structure stays as it was."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.scrub(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.scrub(item) for item in value]
        return value

    def preview(self, text: str, limit: int = PREVIEW_CHARS) -> str:
        """At most `limit` characters, cut after scrubbing so that no half of a secret survives the cut."""
        clean = self.text(text[:_PREVIEW_SOURCE_CHARS])
        return clean if len(clean) <= limit else clean[: limit - 1] + "…"
