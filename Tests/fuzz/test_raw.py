"""What no generator of JSON and of URLs writes: bytes that are no text, endless numbers, ways out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from schemathesis import Response
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema

from Tests.fuzz.answers import DESCRIBED, hold
from Tests.fuzz.cast import Cast
from Tests.fuzz.world import FOR_LOGINS, PASSWORD, Scene

Operation = APIOperation[Any, Any, Any, Any]
BODIES = (
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{",
    b"{} {}",
    b"\xef\xbb\xbf{}",
    b'{"a":NaN}',
    b'{"repo":"a/b","repo":"a/b"}',
    '{"a":1}'.encode("utf-16"),
    b"[" * 100_000,
    b" " * (1 << 20) + b"{}",
)
VALUES = (
    r'"\u0000"',
    r'"\ud800"',
    r'"\udc00\ud800"',
    r'"\uffff\u202e\u0007"',
    '"' + "\U0001f469\u200d\U0001f680" * 700 + '"',
    "1e999",
    "9" * 400,
    "9223372036854775808",
    "-0.0",
    "1.0000000000000001",
    "[[]]",
)
SEGMENTS = (
    "%00",
    "%ff",
    "%C0%AF",
    "%ED%A0%80",
    "%2F",
    "%2e%2e",
    "..",
    "a%0d%0aX-Injected:%20yes",
    "%F0%9F%98%80",
    "%25",
    "'",
    "*",
    "x" * 3000,
    "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
)
QUERIES = (
    "%00=1",
    "limit=%00",
    "limit=99999999999999999999999",
    "after=9223372036854775807",
    "after=7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
    "next_token=%FF",
    "next_token=MQo5MjIzMzcyMDM2ODU0Nzc1ODA3CjdaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo",
    "next_token=MQo5OTk5LTEyLTMxVDIzOjU5OjU5LjAwWgp6",
    "limit=1&limit=1",
    "=&&;",
)
HEADERS = (
    {"X-Request-Id": "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "traceparent": "00-0-0-0"},
    {
        "X-Request-Id": "\xff",
        "traceparent": "ff-" + "f" * 32 + "-" + "f" * 16 + "-ff",
        "X-Forwarded-For": "::%1,x",
    },
    {
        "Idempotency-Key": "\xff",
        "Accept": "text/html;q=x",
        "Content-Type": "application/json; charset=utf-16",
    },
)


# No scene has a trace: TraceTests holds what is answered where there is one.
WITHOUT_A_TRACE = {"GET /v1/tasks/{task_id}/trace": 404, "GET /v1/traces/{task_id}": 403}


class Wire:
    """Sends what requests itself would mend."""

    def __init__(self, cast: Cast, session: requests.Session, operation: Operation) -> None:
        self.session, self.operation = session, operation
        # What has ended alone is done once more.
        state = "COMPLETED" if operation.path.endswith("/retry") else "RUNNING"
        self.scene: Scene = cast.world.scene("admin", state)
        self.url = cast.world.url
        self.names = cast.names(self.scene)
        raw = operation.definition.raw
        self.parameters = [one["name"] for one in raw.get("parameters", ()) if one["in"] == "path"]
        body = raw.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        self.fields: dict[str, object] = body.get("properties", {})

    def send(
        self,
        path: str = "",
        query: str = "",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> int:
        """One request, whose answer is held to the description; returns its status."""
        all_headers = {"Authorization": f"Bearer {self.scene.token}", **(headers or {})}
        if body is not None:
            all_headers.setdefault("Content-Type", "application/json")
        prepared = self.session.prepare_request(
            requests.Request(self.operation.method.upper(), self.url, headers=all_headers, data=body)
        )
        prepared.url = self.url + (path or self.path()) + (f"?{query}" if query else "")
        answer = self.session.send(prepared, timeout=30, allow_redirects=False)
        assert "X-Injected" not in answer.headers
        try:
            hold(self.operation.Case(path_parameters=self.names), Response.from_any(answer), DESCRIBED)
        except BaseException as error:
            error.add_note(f"sent: {prepared.method} {prepared.url} {headers or ''} {(body or b'')[:200]!r}")
            raise
        return answer.status_code

    def path(self, name: str = "", segment: str = "") -> str:
        """The path of what exists, or with one part of it in the place of `name`."""
        return self.operation.path.format(**{**self.names, **({name: segment} if name else {})})

    def good(self) -> dict[str, Any]:
        """A body that is right."""
        is_new = self.operation.path in ("/v1/repos", "/v1/users")
        texts: dict[str, Any] = {
            "repo": f"new/{self.scene.names['task_id']}" if is_new else self.scene.names["repo"],
            "name": ("new-" if is_new else "") + self.scene.names["user"],
            "password": PASSWORD,
            "decision": "approve",
            "level": "read",
            "tool_name": "Bash",
            "input": {"command": "ls"},
            "policies": "",
        }
        wanted = ("task_description", "message", "question", "answer", "new_password")
        texts |= dict.fromkeys(wanted, "five brown herons")
        return {name: text for name, text in texts.items() if name in self.fields}


def wires(cast: Cast, session: requests.Session, gateway: BaseSchema) -> Iterator[Wire]:
    """One for each operation."""
    for result in gateway.get_all_operations():
        assert isinstance(result, Ok), result
        yield Wire(cast, session, result.ok())


def test_a_right_request_is_taken_by_every_operation(
    cast: Cast, session: requests.Session, gateway: BaseSchema
) -> None:
    for wire in wires(cast, session, gateway):
        token = wire.scene.login if wire.operation.path in FOR_LOGINS else wire.scene.token
        body = json.dumps(wire.good()).encode() if wire.fields else None
        status = wire.send(body=body, headers={"Authorization": f"Bearer {token}"})
        wanted = WITHOUT_A_TRACE.get(wire.operation.label)
        assert status == wanted if wanted else 200 <= status < 300, wire.operation.label


@pytest.mark.parametrize("what", ["bodies", "values", "paths", "queries", "headers"])
def test_what_is_no_text_no_json_and_no_path_is_answered_as_described(
    what: str, cast: Cast, session: requests.Session, gateway: BaseSchema
) -> None:
    for wire in wires(cast, session, gateway):
        body = json.dumps(wire.good()).encode() if wire.fields else None
        if what == "bodies":
            for raw in BODIES:
                wire.send(body=raw)
        elif what == "values":
            for name in wire.fields:
                for value in VALUES:
                    others = {key: json.dumps(text) for key, text in wire.good().items()}
                    members = ",".join(f'"{key}":{text}' for key, text in {**others, name: value}.items())
                    wire.send(body=f"{{{members}}}".encode())
        elif what == "paths":
            for name in wire.parameters:
                for segment in SEGMENTS:
                    wire.send(wire.path(name, segment), body=body)
        elif what == "queries":
            for query in QUERIES:
                wire.send(query=query, body=body)
        else:
            for headers in HEADERS:
                wire.send(body=body, headers=headers)
