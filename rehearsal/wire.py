"""What a simulator is given and what it gives back: one HTTP request, one HTTP response."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import parse_qs, unquote, urlsplit

JsonObject = dict[str, Any]


class BadJson(ValueError):
    """The body is not JSON, or not a JSON object where one is needed."""


class Abort(Exception):
    """Raised while a body is being streamed: the connection is cut instead of ended cleanly."""


@dataclass
class Request:
    """One request with its whole body read; `body_file` is seekable and has a file descriptor."""

    method: str
    target: str
    headers: Mapping[str, str]
    body_file: IO[bytes]
    remote: str = "127.0.0.1"

    @property
    def path(self) -> str:
        """The decoded path without the query."""
        return unquote(urlsplit(self.target).path)

    @property
    def query_string(self) -> str:
        """The query as it came, still encoded."""
        return urlsplit(self.target).query

    @property
    def query(self) -> dict[str, str]:
        """The first value of each query parameter."""
        return {name: values[0] for name, values in parse_qs(self.query_string).items()}

    def header(self, name: str) -> str:
        """A header's value, empty when it is absent."""
        return self.headers.get(name.lower(), "")

    def body(self) -> bytes:
        """The whole body."""
        self.body_file.seek(0)
        return self.body_file.read()

    def json_object(self) -> JsonObject:
        """The body as a JSON object; raises BadJson otherwise."""
        try:
            value = json.loads(self.body() or b"null")
        except (ValueError, RecursionError) as error:
            raise BadJson(str(error)) from error
        if not isinstance(value, dict):
            raise BadJson("not an object")
        return value


@dataclass
class Response:
    """An answer. An iterator as body is streamed; `note` is added to the log line of the exchange."""

    status: int
    body: bytes | Iterator[bytes] = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    note: JsonObject = field(default_factory=dict)

    @classmethod
    def of_json(cls, status: int, value: Any, headers: list[tuple[str, str]] | None = None) -> Response:
        """A JSON answer."""
        body = json.dumps(value, ensure_ascii=False).encode()
        return cls(status, body, [("Content-Type", "application/json; charset=utf-8"), *(headers or [])])

    @classmethod
    def of_text(cls, status: int, text: str, headers: list[tuple[str, str]] | None = None) -> Response:
        """A plain text answer."""
        return cls(status, text.encode(), [("Content-Type", "text/plain; charset=utf-8"), *(headers or [])])
