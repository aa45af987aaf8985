"""A model on loopback that says what a check wants it to say, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .messages_api import stream_step

Step = dict[str, Any]
TOKEN = "selftest-token"  # noqa: S105 - opens nothing but this stub


class StubModel(ThreadingHTTPServer):
    """`answer` maps a request body to the step that is streamed back."""

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, Any]], Step]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def stub(answer: Callable[[dict[str, Any]], Step]) -> Iterator[StubModel]:
    """Serves until the block ends."""
    model = StubModel(answer)
    thread = threading.Thread(target=model.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        model.shutdown()
        model.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: StubModel
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        """One request to the model; requests without tools are the CLI's own, about titles and the like."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            stream_step(self, body, {"status": 401})
        elif not body.get("tools"):
            stream_step(self, body, {"text": "Self-test"})
        else:
            self.server.requests.append(body)
            stream_step(self, body, self.server.answer(body))
