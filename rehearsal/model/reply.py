"""The assistant message made of a step, whole or as server-sent events."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from rehearsal.wire import JsonObject

SMALLEST_CACHED = 1024


def tokens(value: Any) -> int:
    """About how many tokens a value takes: a token is about four characters."""
    return max(1, len(value if isinstance(value, str) else json.dumps(value)) // 4)


def usage_of(body: JsonObject, blocks: list[JsonObject]) -> JsonObject:
    """Usage as caching would make it: what was sent before is read, what is new is written."""
    messages = body["messages"]
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    fixed = tokens([body.get("system", ""), body.get("tools", [])])
    old = fixed + tokens(messages[: answers[-1]]) if answers else 0
    total = fixed + tokens(messages)
    if (
        "cache_control" not in json.dumps([body.get("system"), body.get("tools"), messages])
        or total < SMALLEST_CACHED
    ):
        read, written, fresh = 0, 0, total
    else:
        fresh = 4
        read = old if old >= SMALLEST_CACHED else 0
        written = max(0, total - read - fresh)
    return {
        "input_tokens": fresh,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": sum(tokens(block) for block in blocks),
        "service_tier": "standard",
    }


def message_of(step: JsonObject, body: JsonObject, key: str, index: int) -> JsonObject:
    """The message. Ids come from the conversation and the step, so a repeated request gets the same ones."""
    identity = hashlib.sha256(f"{key}/{index}".encode()).hexdigest()
    blocks: list[JsonObject] = []
    thinking = (body.get("thinking") or {}).get("type", "disabled") != "disabled"
    if step.get("thinking") and thinking:
        signature = hashlib.sha256(step["thinking"].encode()).hexdigest()
        blocks.append({"type": "thinking", "thinking": step["thinking"], "signature": signature})
    if step.get("text"):
        blocks.append({"type": "text", "text": step["text"]})
    for number, tool in enumerate(step.get("tools", [])):
        name = f"toolu_01{identity[number : number + 22]}"
        blocks.append({"type": "tool_use", "id": name, "name": tool["name"], "input": tool["input"]})
    return {
        "id": f"msg_01{identity[-22:]}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": step.get("stop_reason") or ("tool_use" if step.get("tools") else "end_turn"),
        "stop_sequence": None,
        "usage": usage_of(body, blocks),
    }


def events_of(message: JsonObject) -> Iterator[bytes]:
    """The message as the stream of events that the real service sends."""
    usage = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield _event("message_start", message=start)
    for index, block in enumerate(message["content"]):
        empty, deltas = _pieces(block)
        yield _event("content_block_start", index=index, content_block=empty)
        if index == 0:
            yield _event("ping")
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    final = {name: value for name, value in usage.items() if isinstance(value, int)}
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage=final)
    yield _event("message_stop")


def _pieces(block: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    if block["type"] == "text":
        words = re.findall(r"\s*\S+(?:\s+\S+){0,3}\s*", block["text"])
        return {**block, "text": ""}, [{"type": "text_delta", "text": part} for part in words]
    if block["type"] == "thinking":
        deltas = [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
        return {"type": "thinking", "thinking": "", "signature": ""}, deltas
    text = json.dumps(block["input"])
    parts = ["", *(text[at : at + 48] for at in range(0, len(text), 48))]
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
