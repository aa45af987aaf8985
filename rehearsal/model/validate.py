"""What the Messages API refuses about a request, before any model sees it."""

from __future__ import annotations

import re
from typing import Any

from rehearsal.model.errors import ApiError
from rehearsal.wire import JsonObject

FIELDS = {
    "model",
    "messages",
    "max_tokens",
    "system",
    "tools",
    "tool_choice",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "metadata",
    "thinking",
    "context_management",
    "output_config",
    "service_tier",
    "container",
    "mcp_servers",
    "cache_control",
    "inference_geo",
    "speed",
    "diagnostics",
}
MOST_CACHE_MARKS = 4
ROLES = ("user", "assistant", "system")


def refuse(message: str) -> ApiError:
    """A 400."""
    return ApiError(400, message)


def check_body(body: JsonObject) -> None:
    """Raises ApiError where the body is not a valid request."""
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise refuse(f"{name}: Field required")
    for name in body:
        if name not in FIELDS:
            raise refuse(f"{name}: Extra inputs are not permitted")
    model = body["model"]
    if not isinstance(model, str):
        raise refuse("model: Input should be a valid string")
    if not re.fullmatch(r"claude-[a-z0-9.-]+", model):
        raise ApiError(404, f"model: {model}")
    limit = body["max_tokens"]
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise refuse("max_tokens: Input should be greater than or equal to 1")
    if not isinstance(body.get("stream", False), bool):
        raise refuse("stream: Input should be a valid boolean")
    temperature = body.get("temperature", 1.0)
    if not isinstance(temperature, (int, float)) or not 0 <= temperature <= 1:
        raise refuse("temperature: Input should be between 0 and 1")
    _check_tools(body.get("tools", []))
    _check_messages(body["messages"])
    if (marks := _count_marks(body)) > MOST_CACHE_MARKS:
        raise refuse(f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")


def _check_tools(tools: Any) -> None:
    if not isinstance(tools, list):
        raise refuse("tools: Input should be a valid list")
    names = [tool.get("name") for tool in tools if isinstance(tool, dict)]
    if len(names) != len(tools):
        raise refuse("tools.0: Input should be an object")
    for index, tool in enumerate(tools):
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", str(tool.get("name", ""))):
            raise refuse(f"tools.{index}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if tool.get("type", "custom") == "custom" and not isinstance(tool.get("input_schema"), dict):
            raise refuse(f"tools.{index}.custom.input_schema: Field required")
    if len(set(names)) != len(names):
        raise refuse("tools: Tool names must be unique.")


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list):
        raise refuse("messages: Input should be a valid list")
    if not messages:
        raise refuse("messages: at least one message is required")
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            raise refuse(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        if index == 0 and role != "user":
            raise refuse('messages: first message must use the "user" role')
        if extra := set(message) - {"role", "content"}:
            raise refuse(f"messages.{index}.{sorted(extra)[0]}: Extra inputs are not permitted")
        blocks = _blocks(index, message, last=index == len(messages) - 1)
        results = [str(block.get("tool_use_id")) for block in blocks if block["type"] == "tool_result"]
        if role == "system":
            continue
        if role == "user":
            for result in results:
                if result not in open_calls:
                    raise refuse(
                        f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` "
                        f"blocks: {result}. Each `tool_result` block must have a corresponding "
                        "`tool_use` block in the previous message."
                    )
            unanswered = [call for call in open_calls if call not in results]
            # What was answered may be spread over user messages that follow each other.
            follows = index + 1 < len(messages) and messages[index + 1].get("role") in ("user", "system")
            if unanswered and not follows:
                raise _unanswered(index, unanswered)
            open_calls = unanswered
        else:
            if open_calls:
                raise _unanswered(index, open_calls)
            open_calls = [str(block.get("id")) for block in blocks if block["type"] == "tool_use"]
    if open_calls:
        raise _unanswered(len(messages), open_calls)


def _unanswered(index: int, calls: list[str]) -> ApiError:
    return refuse(
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(calls)}. Each `tool_use` block must have a corresponding `tool_result` block "
        "in the next message."
    )


def _blocks(index: int, message: JsonObject, last: bool) -> list[JsonObject]:
    content = message.get("content")
    if isinstance(content, str):
        if not content and not (last and message["role"] == "assistant"):
            raise refuse(f"messages.{index}: {message['role']} messages must have non-empty content")
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise refuse(f"messages.{index}.content: Input should be a valid list")
    if not content and not (last and message["role"] == "assistant"):
        raise refuse(f"messages.{index}: {message['role']} messages must have non-empty content")
    for position, block in enumerate(content):
        where = f"messages.{index}.content.{position}"
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise refuse(f"{where}.type: Field required")
        if block["type"] == "text" and not block.get("text"):
            raise refuse(f"{where}.text: text content blocks must be non-empty")
        if block["type"] == "tool_use" and not isinstance(block.get("input"), dict):
            raise refuse(f"{where}.tool_use.input: Input should be a valid dictionary")
    return content


def _count_marks(value: Any) -> int:
    if isinstance(value, dict):
        own = 1 if value.get("cache_control") else 0
        return own + sum(
            _count_marks(inner) for key, inner in value.items() if key not in ("input", "input_schema")
        )
    if isinstance(value, list):
        return sum(_count_marks(inner) for inner in value)
    return 0
