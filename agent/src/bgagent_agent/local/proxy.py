"""The model on loopback: takes a token of this run, adds the key, and stops at the budget.

The agent's CLI and every tool it starts know this address and this token only. Both die with the run.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2

from .meter import Budget, Meter, Prices, Verdict
from .settings import LocalSettings

_PATHS = ("/v1/messages", "/v1/messages/count_tokens")
_PASSED_ON = ("anthropic-version", "anthropic-beta", "user-agent", "accept")
_OF_THE_CONNECTION = frozenset(
    {
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-length",
        "date",
        "server",
        "set-cookie",
        "trailer",
    }
)
_LARGEST_BODY = 32 * 1024 * 1024
_CONNECT_S = 10.0
# The longest silence of the model, before its answer as within it.
_SILENCE_S = 300.0


class ModelProxy(ThreadingHTTPServer):
    """One run's way to the model; `model_proxy` starts and stops it."""

    daemon_threads = True

    def __init__(self, settings: LocalSettings, budget: Budget) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.budget = budget
        self.prices = Prices()
        self.token = secrets.token_urlsafe(32)
        self.credentials = (
            {"x-api-key": settings.model_key}
            if settings.model_key
            else {"authorization": f"Bearer {settings.model_bearer}"}
        )
        self.client = httpx2.Client(
            base_url=settings.model_url,
            timeout=httpx2.Timeout(_SILENCE_S, connect=_CONNECT_S),
            verify=ssl.create_default_context(),
            trust_env=False,
            limits=httpx2.Limits(max_connections=16),
        )

    @property
    def url(self) -> str:
        """Where the CLI finds it."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is its own business."""


@contextmanager
def model_proxy(settings: LocalSettings, budget: Budget) -> Iterator[ModelProxy]:
    """Serves until the block ends."""
    proxy = ModelProxy(settings, budget)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        proxy.client.close()
        thread.join()


class _Refused(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


class _Call:
    """A call from its reservation to its end, which comes once, however it comes."""

    def __init__(self, proxy: ModelProxy, model: str, estimate: int, least: int) -> None:
        self._proxy, self._model, self._estimate, self._least = proxy, model, estimate, least
        self._is_settled = False
        self.meter = Meter()
        self.is_answered = False
        self.is_relayed = False

    def settle(self) -> None:
        """Books what the meter read; an answer that says nothing costs what was sent, a refusal nothing."""
        if not self._is_settled:
            self._is_settled = True
            least = self._least if self.is_answered else 0
            self._proxy.budget.settle(self._estimate, self.meter.cost(self._proxy.prices, self._model, least))


class _Handler(BaseHTTPRequestHandler):
    server: ModelProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: a request line is no news."""

    def do_POST(self) -> None:
        """Checks a request, then passes it on."""
        try:
            self._check_token()
            path, _, query = self.path.partition("?")
            if path not in _PATHS:
                raise _Refused(404, "not_found_error", "There is nothing but /v1/messages here.")
            self._pass_on(path, query, self._body())
        except _Refused as refused:
            error = {"type": refused.kind, "message": str(refused)}
            self._answer(refused.status, [], json.dumps({"type": "error", "error": error}).encode())

    def do_GET(self) -> None:
        """Nothing here is read."""
        self._answer(404, [], b'{"type":"error","error":{"type":"not_found_error","message":"Not found"}}')

    def _check_token(self) -> None:
        scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
        shown = bearer.strip() if scheme.lower() == "bearer" else self.headers.get("x-api-key", "")
        if not hmac.compare_digest(shown.encode(), self.server.token.encode()):
            self.close_connection = True
            raise _Refused(401, "authentication_error", "This is not the token of this run.")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _LARGEST_BODY:
            self.close_connection = True
            raise _Refused(
                413, "request_too_large", f"A body of at most {_LARGEST_BODY} bytes with its length is taken."
            )
        return self.rfile.read(int(length))

    def _pass_on(self, path: str, query: str, body: bytes) -> None:
        try:
            asked = json.loads(body)
            model, longest = str(asked["model"]), int(asked.get("max_tokens") or 1)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _Refused(
                400, "invalid_request_error", "The body must be a JSON object with a model."
            ) from None
        estimate, least = self.server.prices.estimate(model, len(body), longest)
        if path != _PATHS[0]:
            estimate = least = 0
        verdict = self.server.budget.reserve(estimate)
        if verdict is Verdict.SPENT:
            raise _Refused(402, "budget_exhausted", "The budget of this run is spent.")
        if verdict is Verdict.WAIT:
            raise _Refused(
                429, "rate_limit_error", "Requests under way may use up the budget; wait for them."
            )
        call = _Call(self.server, model, estimate, least)
        try:
            with self._upstream(path, query, body) as response:
                call.is_answered = response.is_success
                self._relay(response, call)
        except httpx2.TransportError as error:
            # After the first byte went out the only answer is to break off, as the model did.
            if call.is_relayed:
                self.close_connection = True
                return
            raise _Refused(
                529, "overloaded_error", f"The model cannot be reached: {type(error).__name__}: {error}"
            ) from None
        finally:
            call.settle()

    @contextmanager
    def _upstream(self, path: str, query: str, body: bytes) -> Iterator[httpx2.Response]:
        headers = {name: self.headers[name] for name in _PASSED_ON if self.headers.get(name)}
        headers |= {
            "content-type": "application/json",
            "accept-encoding": "identity",
            **self.server.credentials,
        }
        target = f"{path}?{query}" if query else path
        with self.server.client.stream("POST", target, content=body, headers=headers) as response:
            yield response

    def _relay(self, response: httpx2.Response, call: _Call) -> None:
        headers = [
            (name, value) for name, value in response.headers.items() if name not in _OF_THE_CONNECTION
        ]
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            content = response.read()
            if response.is_success:
                call.meter.take(content)
            call.settle()
            self._answer(response.status_code, headers, content)
            return
        call.is_relayed = True
        # A client that went away is charged for what the model said until then.
        with contextlib.suppress(ConnectionError):
            self.send_response(response.status_code)
            for name, value in [*headers, ("Transfer-Encoding", "chunked")]:
                self.send_header(name, value)
            self.end_headers()
            for piece in response.iter_raw():
                call.meter.feed(piece)
                if call.meter.is_complete:
                    # Before the last bytes are handed on: the next request finds this one booked.
                    call.settle()
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            names = {name.lower() for name, _ in headers}
            for name, value in headers:
                self.send_header(name, value)
            if "content-type" not in names:
                self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
