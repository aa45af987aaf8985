"""What a hook answers the CLI."""

from __future__ import annotations

from typing import Any


def denial(reason: str) -> dict[str, Any]:
    """The call does not run, and the model reads why."""
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": reason,
        }
    }


def added_context(event: str, text: str | None) -> dict[str, Any]:
    """The model reads the text in its next request; nothing to say is no answer."""
    if not text:
        return {}
    return {"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}}
