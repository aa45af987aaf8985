"""How the words of people stand before the model: in blocks that the words themselves cannot end or fake."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from .control import InboxItem

# Left out with the controls: marks of direction make a text read otherwise than it is.
_DIRECTION = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_BREAKS = "\n\t"


def nudge(item: InboxItem) -> str:
    """A person's direction."""
    fields = item.fields
    return _block(
        "user_nudge",
        {"id": item.id, "from": _said(fields, "from"), "at": _said(fields, "sent_at")},
        _said(fields, "text"),
    )


def question(item: InboxItem) -> str:
    """A person's question, to be answered beside the work."""
    fields = item.fields
    return _block(
        "user_question",
        {"ask_id": item.id, "from": _said(fields, "from"), "at": _said(fields, "sent_at")},
        _said(fields, "text"),
    )


def _block(tag: str, attributes: Mapping[str, str], text: str) -> str:
    named = "".join(f" {name}={quoteattr(_visible(value))}" for name, value in attributes.items() if value)
    return f"<{tag}{named}>\n{escape(_visible(text, keep=_BREAKS)).strip()}\n</{tag}>"


def _visible(text: str, keep: str = "") -> str:
    def shown(char: str) -> bool:
        return char in keep or (unicodedata.category(char) not in ("Cc", "Cs") and char not in _DIRECTION)

    return "".join(filter(shown, text))


def _said(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
