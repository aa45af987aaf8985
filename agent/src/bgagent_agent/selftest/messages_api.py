"""The part of a Messages API that the agent's CLI needs: one scripted answer as a stream of events.

A step is {"text": …} or {"tools": [{"name": …, "input": …}]}, or both; {"status": 529} is an error instead.
A step may say its {"usage": {"input_tokens": …}}, from which the CLI tells how long the conversation is.
"""

from __future__ import annotations

import json
import uuid
from typing import Any


def tool_results(body: dict[str, Any]) -> list[str]:
    """The texts of all tool results in the conversation, oldest first."""
    found = []
    for message in body["messages"]:
        if message["role"] == "user" and isinstance(message["content"], list):
            for block in message["content"]:
                if block.get("type") == "tool_result":
                    found.append(json.dumps(block.get("content")))
    return found


def assistant_turns(body: dict[str, Any]) -> int:
    """How often the model has spoken in this conversation."""
    return sum(message["role"] == "assistant" for message in body["messages"])


def stream_step(handler: Any, body: dict[str, Any], step: dict[str, Any]) -> None:
    """Answers one request with one step."""
    if "status" in step:
        data = json.dumps({"type": "error", "error": {"type": "api_error", "message": "scripted"}}).encode()
        handler.send_response(step["status"])
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
        return
    blocks: list[dict[str, Any]] = [{"type": "text", "text": step["text"]}] if step.get("text") else []
    for tool in step.get("tools", []):
        blocks.append({"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:20]}", **tool})
    usage = {"input_tokens": 100, "output_tokens": 20, **step.get("usage", {})}
    stop = "tool_use" if step.get("tools") else "end_turn"
    message = {
        "id": f"msg_{uuid.uuid4().hex[:20]}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Connection", "close")
    handler.end_headers()

    def event(kind: str, **fields: Any) -> None:
        handler.wfile.write(f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode())
        handler.wfile.flush()

    event("message_start", message=message)
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            event("content_block_start", index=index, content_block={"type": "text", "text": ""})
            delta = {"type": "text_delta", "text": block["text"]}
        else:
            event("content_block_start", index=index, content_block={**block, "input": {}})
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        event("content_block_delta", index=index, delta=delta)
        event("content_block_stop", index=index)
    event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage=usage)
    event("message_stop")
