"""An agent gateway for tests: the session API over real HTTP, real git over `git http-backend`, a scripted
model.

It refuses what the real one refuses (dead tokens, old attempts, gaps in the numbers, malformed bodies) and
can be stopped and started again on the same port with what it knew.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

from fake_git import backend
from fake_people import FakePeople, Refusal
from fake_trace import FakeTrace
from messages_api import stream_step

HARNESS, GIT, MODEL = "harness-token-4711", "git-token-4711", "model-token-4711"
TYPES = re.compile(r"agent_(turn|tool_call|tool_result|milestone|error|blocked)|nudge_\w+|status_response")
Step = dict[str, Any]


class FakeGateway:
    """State first, sockets second, so that a restart keeps everything."""

    def __init__(self, repositories: Path, payload: dict[str, Any]) -> None:
        self.repositories = repositories
        self.payload = payload
        self.attempt = int(payload["task"]["attempt"])
        self.starting_polls = 1
        self.stale = False
        self.model_status: int | None = None
        self.model_url: str | None = None
        self.model: Callable[[dict[str, Any]], Step] = lambda body: {"text": "done"}
        self.model_requests: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.heartbeats: list[dict[str, Any]] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.receipts: list[tuple[str, str]] = []
        self.receipt_bodies: list[dict[str, Any]] = []
        self.withdrawn: set[str] = set()
        self.people = FakePeople(self.post, self.note)
        self.trace = FakeTrace(lambda: bool(self.payload["trace"]))
        self.results: list[dict[str, Any]] = []
        self.inbox: list[dict[str, Any]] = []
        self.remaining_s = float(payload["limits"]["remaining_s"])
        self.faults: list[tuple[str, int, dict[str, Any]]] = []
        self.requests: list[str] = []
        self.changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        server.daemon_threads = True
        self._port = int(server.server_address[1])
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        with self.changed:
            self.changed.notify_all()
        if server is not None:
            server.shutdown()
            server.server_close()

    @property
    def stopped(self) -> bool:
        return self._server is None

    def note(self, change: Callable[[], Any]) -> None:
        with self.changed:
            change()
            self.changed.notify_all()

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> None:
        """Waits for a state of the gateway, with a deadline."""

        def wait() -> bool:
            with self.changed:
                return bool(self.changed.wait_for(condition, seconds))

        assert await asyncio.to_thread(wait), f"never happened; requests: {self.requests[-20:]}"

    def milestones(self) -> list[str]:
        return [e["metadata"]["milestone"] for e in self.events if e["event_type"] == "agent_milestone"]

    def post(self, *items: dict[str, Any]) -> None:
        self.note(lambda: self.inbox.extend(items))

    def delivered(self) -> list[tuple[str, int]]:
        """Which items the model has, and in the request of which turn."""
        both = zip(self.receipts, self.receipt_bodies, strict=True)
        return [(item, body["turn"]) for (item, status), body in both if status == "delivered"]


def _handler(gateway: FakeGateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: Any) -> None:
            return

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            try:
                body = self._body()
                url = urlsplit(self.path)
                gateway.note(lambda: gateway.requests.append(f"{self.command} {url.path}"))
                if gateway.stopped:
                    self.close_connection = True
                    return
                if url.path.startswith("/git/"):
                    _git(gateway, self, url.path.removeprefix("/git"), url.query, body)
                elif url.path.startswith("/model/"):
                    self._model(body)
                else:
                    self._session(url.path, parse_qs(url.query), body)
            except Refusal as answer:
                self._json(answer.status, answer.body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                chunks = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    chunks += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return chunks
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _json(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _model(self, raw: bytes) -> None:
            body = json.loads(raw)
            assert self.headers["Authorization"] == f"Bearer {MODEL}"
            gateway.note(lambda: gateway.model_requests.append(body))
            if gateway.model_status:
                error = {"type": "error", "error": {"type": "api_error", "message": "run budget spent"}}
                self._json(gateway.model_status, error)
                return
            if gateway.model_url:
                self._forward(gateway.model_url, raw)
                return
            stream_step(self, body, gateway.model(body))

        def _forward(self, url: str, raw: bytes) -> None:
            path = self.path.removeprefix("/model")
            headers = {"x-api-key": MODEL, "Content-Type": "application/json"}
            headers["anthropic-version"] = self.headers.get("anthropic-version", "2023-06-01")
            if beta := self.headers.get("anthropic-beta"):
                headers["anthropic-beta"] = beta
            try:
                answer = urlopen(Request(url + path, raw, headers))
            except HTTPError as error:
                answer = error
            with answer:
                data = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def _session(self, path: str, query: dict[str, list[str]], raw: bytes) -> None:
            if self.headers.get("Authorization") != f"Bearer {HARNESS}":
                raise Refusal(401, "UNAUTHORIZED")
            if gateway.stale:
                raise Refusal(410, "STALE_EPOCH")
            for fault in list(gateway.faults):
                pattern, status, extra = fault
                if re.search(pattern, path):
                    gateway.faults.remove(fault)
                    raise Refusal(status, "SEQUENCE_GAP" if status == 409 else "SERVICE_UNAVAILABLE", **extra)
            if (self.command, path) == ("POST", "/session/trace"):
                kind = self.headers.get("Content-Type", "")
                with gateway.changed:
                    answer = gateway.trace.take(query, kind, raw)
                    gateway.changed.notify_all()
                self._json(200, {"data": answer})
                return
            body = json.loads(raw) if raw else {}
            if raw and body.get("attempt") != gateway.attempt:
                raise Refusal(410, "STALE_EPOCH")
            answer = _session_call(gateway, self.command, path, query, body)
            self._json(202 if answer.get("state") == "starting" else 200, {"data": answer})

    return Handler


def _session_call(
    gateway: FakeGateway, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]
) -> dict[str, Any]:
    with gateway.changed:
        try:
            return _session_state(gateway, method, path, query, body)
        finally:
            gateway.changed.notify_all()


def _session_state(
    gateway: FakeGateway, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]
) -> dict[str, Any]:
    if (method, path) == ("GET", "/session"):
        if gateway.starting_polls > 0:
            gateway.starting_polls -= 1
            return {"state": "starting"}
        return gateway.payload
    if path == "/session/events":
        assert 0 < len(body["events"]) <= 100
        for event in body["events"]:
            assert TYPES.fullmatch(event["event_type"]), event
            if event["client_seq"] <= len(gateway.events):
                continue
            if event["client_seq"] != len(gateway.events) + 1:
                raise Refusal(409, "SEQUENCE_GAP", expected=len(gateway.events) + 1)
            gateway.events.append(event)
        return {"last_client_seq": len(gateway.events)}
    if path == "/session/heartbeat":
        gateway.heartbeats.append(body)
        return {"cancel_requested": False, "remaining_s": gateway.remaining_s}
    if path == "/session/inbox":
        wait = min(float(query["wait"][0]), 60.0)
        gateway.changed.wait_for(lambda: gateway.inbox or gateway.stopped, wait)
        return {"items": gateway.inbox}
    if match := re.fullmatch(r"/session/inbox/(.+)/receipt", path):
        if match.group(1) in gateway.withdrawn:
            raise Refusal(409, "WITHDRAWN")
        gateway.receipts.append((match.group(1), body["status"]))
        gateway.receipt_bodies.append(body)
        gateway.inbox = [item for item in gateway.inbox if item["id"] != match.group(1)]
        return {"status": body["status"]}
    if (reply := gateway.people.call(path, body)) is not None:
        return reply
    if path == "/session/checkpoint":
        gateway.checkpoints.append(body)
        return {}
    if path == "/session/result":
        gateway.results.append(body)
        return {}
    raise Refusal(404, "NOT_FOUND")


def _git(gateway: FakeGateway, handler: Any, path: str, query: str, body: bytes) -> None:
    expected = "Basic " + base64.b64encode(f"bgagent:{GIT}".encode()).decode()
    if gateway.stale:
        raise Refusal(410, "STALE_EPOCH")
    if handler.headers.get("Authorization") != expected:
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", 'Basic realm="git"')
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    for fault in list(gateway.faults):
        if re.search(fault[0], f"/git{path}?{query}"):
            gateway.faults.remove(fault)
            raise Refusal(fault[1], "SERVICE_UNAVAILABLE")
    status, fields, content = backend(gateway.repositories, handler, path, query, body)
    handler.send_response(status)
    for name, value in fields:
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)
    with gateway.changed:
        gateway.changed.notify_all()
