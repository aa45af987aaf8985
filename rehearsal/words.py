"""Messages as people read them."""

from __future__ import annotations

from typing import Any


def slack_text(message: dict[str, Any]) -> str:
    """A message as people read it: its blocks, else its text."""
    parts = []
    for block in message.get("blocks", []):
        texts = [block.get("text"), *(block.get("fields") or []), *(block.get("elements") or [])]
        parts += [
            text["text"] for text in texts if isinstance(text, dict) and isinstance(text.get("text"), str)
        ]
        parts += [text for text in texts if isinstance(text, str)]
    return "\n".join(parts) or str(message.get("text", ""))
