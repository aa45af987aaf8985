"""Takes secrets out of text before it leaves the sandbox.

The gateway's proxies scrub as well; this is the layer that sees tool output first. It errs on the side of
removing too much, and it is idempotent, so that text may pass it more than once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

MARK: Final = "[redacted]"
PREVIEW_CHARS: Final = 200
TRACE_PREVIEW_CHARS: Final = 4096
# A preview never needs more of its source than this; it bounds the work for outputs of many megabytes.
_PREVIEW_SOURCE_CHARS: Final = 65_536
_SHORTEST_EXACT: Final = 8

# Quantifiers are bounded wherever a hostile text could make a search start over at every character.
# Each pattern keeps its named groups `before` and `after` and loses what is between them.
_PATTERNS: Final = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.S),
        (r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA)[A-Z0-9]{16}\b", 0),
        (r"(?P<before>aws_?secret_?(?:access_?)?key\"?'?\s*[=:]\s*[\"']?)[A-Za-z0-9/+=]{30,}", re.I),
        (r"\bgh[pousr]_[A-Za-z0-9]{16,}\b", 0),
        (r"\bgithub_pat_[A-Za-z0-9_]{20,}\b", 0),
        (r"\bglpat-[A-Za-z0-9_-]{16,}", 0),
        (r"\bxox[abeoprs]-[A-Za-z0-9-]{8,}", 0),
        (r"\bxapp-[0-9]-[A-Za-z0-9-]{8,}", 0),
        (r"\bsk-[A-Za-z0-9_-]{20,}", 0),
        (r"\beyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{4,}", 0),
        (r"(?P<before>\bbearer\s+)(?=\S{0,200}[0-9])[A-Za-z0-9._~+/=-]{12,}", re.I),
        (r"(?P<before>\bauthorization[\"']?\s*[:=]\s*[\"']?(?:basic|token|bearer)\s+)[\w.~+/=-]{4,}", re.I),
        (
            r"(?P<before>\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>]{0,256}:)[^\s/@\"'<>]{1,512}(?P<after>@)",
            re.I,
        ),
        (r"(?P<before>\bhttps?://)[^\s/:@\"'<>]{16,512}(?P<after>@)", re.I),
        (
            r"(?P<before>[?&](?:access_token|auth_token|token|api_key|apikey|key|secret|password|sig|signature)=)"
            r"[^\s&#\"'<>]{4,}",
            re.I,
        ),
        (r"(?P<before>\b(?:password|pwd)=)[^\s;&\"']{3,}(?=[;\s\"']|$)", re.I),
    )
)


class Redactor:
    """Scrubs known shapes of secrets and the exact values it was given."""

    def __init__(self, exact: Iterable[str] = ()) -> None:
        values = sorted({value for value in exact if len(value) >= _SHORTEST_EXACT}, key=len, reverse=True)
        self._exact = re.compile("|".join(map(re.escape, values))) if values else None

    def text(self, text: str) -> str:
        """The text without secrets."""
        if self._exact is not None:
            text = self._exact.sub(MARK, text)
        for pattern in _PATTERNS:
            text = pattern.sub(_replacement, text)
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


def _replacement(match: re.Match[str]) -> str:
    groups = match.groupdict()
    return f"{groups.get('before') or ''}{MARK}{groups.get('after') or ''}"
