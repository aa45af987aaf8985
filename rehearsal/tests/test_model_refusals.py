"""What the simulated Messages API refuses."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.tests.support import Client
from rehearsal.tests.test_model import BASH, MARK, body


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"x-api-key": None}, 401, "authentication_error"),
        ({"x-api-key": "wrong"}, 401, "authentication_error"),
        ({"x-api-key": None, "Authorization": "Bearer model-key"}, 401, "authentication_error"),
        ({"anthropic-version": None}, 400, "invalid_request_error"),
        ({"anthropic-version": "1999"}, 400, "invalid_request_error"),
    ],
)
def test_headers_are_checked(model: Client, headers: dict[str, str | None], status: int, kind: str) -> None:
    cleared = {**dict.fromkeys([name for name in model.headers if name.lower() in headers])}
    answer = model("POST", "/v1/messages", body(), {**cleared, **headers})
    assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (status, "error", kind)
    assert answer.headers["request-id"] == answer.json["request_id"]


TOOL_USE = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}
USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"model": None}, 400, "model: Field required"),
        ({"max_tokens": None}, 400, "max_tokens: Field required"),
        ({"messages": None}, 400, "messages: Field required"),
        ({"model": "gpt"}, 404, "model: gpt"),
        ({"max_tokens": 0}, 400, "max_tokens: Input should be greater than or equal to 1"),
        ({"messages": []}, 400, "messages: at least one message is required"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "Input should be 'user' or 'assistant'"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "first message must use"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "non-empty content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
            400,
            "must be non-empty",
        ),
        (
            {"messages": [USER, {"role": "assistant", "content": [TOOL_USE]}, USER]},
            400,
            "without `tool_result`",
        ),
        ({"messages": [{"role": "user", "content": [RESULT]}]}, 400, "unexpected `tool_use_id`"),
        ({"messages": [{"role": "user", "content": "x", "id": 1}]}, 400, "Extra inputs are not permitted"),
        ({"strange": 1}, 400, "strange: Extra inputs are not permitted"),
        ({"stream": "yes"}, 400, "stream"),
        ({"temperature": 2}, 400, "temperature"),
        ({"tools": [BASH, BASH]}, 400, "Tool names must be unique"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, 400, "tools.0.name"),
        ({"tools": [{"name": "a"}]}, 400, "input_schema: Field required"),
        ({"system": [{"type": "text", "text": "x", **MARK}] * 5}, 400, "A maximum of 4 blocks"),
    ],
)
def test_a_bad_body_is_refused(model: Client, change: dict[str, Any], status: int, message: str) -> None:
    sent = {name: value for name, value in {**body(), **change}.items() if value is not None}
    answer = model("POST", "/v1/messages", sent)
    assert answer.status == status
    assert message in answer.json["error"]["message"]
