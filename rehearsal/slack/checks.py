"""What Slack accepts as text, blocks and metadata."""

from __future__ import annotations

import re
from typing import Any

from rehearsal.wire import JsonObject

LONGEST_TEXT = 40_000
MOST_BLOCKS = 50
LARGEST_METADATA = 16_000
BLOCK_TYPES = {
    "actions",
    "context",
    "divider",
    "file",
    "header",
    "image",
    "input",
    "markdown",
    "rich_text",
    "section",
    "table",
    "video",
}
TEXT_LIMITS = {"section": 3000, "header": 150}


class SlackError(Exception):
    """An error as Slack names it: HTTP 200 with `ok` false, or 429."""

    def __init__(self, error: str, messages: list[str] | None = None, status: int = 200, **more: str) -> None:
        super().__init__(error)
        self.error = error
        self.messages = messages
        self.status = status
        self.headers = [(name.replace("_", "-"), value) for name, value in more.items()]


def check_blocks(blocks: Any) -> list[JsonObject]:
    """A message's blocks; raises invalid_blocks with the reasons in response_metadata."""
    if not isinstance(blocks, list):
        raise SlackError("invalid_blocks_format")
    problems = []
    if len(blocks) > MOST_BLOCKS:
        problems.append(f"[ERROR] no more than {MOST_BLOCKS} items allowed [json-pointer:/blocks]")
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        pointer = f"[json-pointer:/blocks/{index}]"
        if not isinstance(block, dict) or block.get("type") not in BLOCK_TYPES:
            kind = block.get("type") if isinstance(block, dict) else block
            problems.append(f"[ERROR] unsupported type: {kind} {pointer}")
            continue
        problems += [f"[ERROR] {problem} {pointer}" for problem in _block_problems(block)]
        block_id = block.get("block_id")
        if block_id is not None and (block_id in seen or len(str(block_id)) > 255):
            problems.append(f"[ERROR] invalid or repeated block_id {pointer}")
        seen.add(str(block_id))
    if problems:
        raise SlackError("invalid_blocks", problems)
    return blocks


def _block_problems(block: JsonObject) -> list[str]:
    kind = block["type"]
    if kind == "header":
        return _text_problems(block.get("text"), {"plain_text"}, TEXT_LIMITS["header"])
    if kind == "section":
        texts = ([block["text"]] if "text" in block else []) + list(block.get("fields") or [])
        if not texts:
            return ["missing required field: text or fields"]
        if len(block.get("fields") or []) > 10:
            return ["no more than 10 items allowed: fields"]
        return [
            one
            for text in texts
            for one in _text_problems(text, {"plain_text", "mrkdwn"}, TEXT_LIMITS["section"])
        ]
    if kind in ("context", "actions"):
        elements = block.get("elements")
        most = 10 if kind == "context" else 25
        if not isinstance(elements, list) or not 1 <= len(elements) <= most:
            return [f"elements must have 1 to {most} items"]
        known = {"plain_text", "mrkdwn", "image"} if kind == "context" else None
        return [
            f"unsupported element: {element}"
            for element in elements
            if not isinstance(element, dict)
            or "type" not in element
            or (known and element["type"] not in known)
        ]
    if kind == "markdown" and not (isinstance(block.get("text"), str) and len(block["text"]) <= 12_000):
        return ["text must be a string of at most 12000 characters"]
    return []


def _text_problems(text: Any, kinds: set[str], longest: int) -> list[str]:
    if not isinstance(text, dict) or text.get("type") not in kinds or not isinstance(text.get("text"), str):
        return [f"text must be one of {', '.join(sorted(kinds))}"]
    if not 1 <= len(text["text"]) <= longest:
        return [f"must be 1 to {longest} characters: text"]
    return []


def check_metadata(metadata: Any) -> JsonObject:
    """A message's metadata: a name and a flat payload."""
    if not isinstance(metadata, dict):
        raise SlackError("invalid_metadata_format")
    name, payload = metadata.get("event_type"), metadata.get("event_payload")
    if (
        not isinstance(name, str)
        or not re.fullmatch(r"[A-Za-z0-9_.:-]{1,255}", name)
        or not isinstance(payload, dict)
    ):
        raise SlackError("invalid_metadata_schema")
    if len(str(metadata)) > LARGEST_METADATA:
        raise SlackError("metadata_too_large")
    return {"event_type": name, "event_payload": payload}


def check_text(arguments: JsonObject) -> str:
    """The text, which may be absent only where there are blocks or attachments."""
    text = arguments.get("text") or ""
    if not isinstance(text, str):
        raise SlackError("invalid_arguments", ["[ERROR] must be a string: text"])
    if not text.strip() and not arguments.get("blocks") and not arguments.get("attachments"):
        raise SlackError("no_text")
    if len(text) > LONGEST_TEXT:
        raise SlackError("msg_too_long")
    return text
