"""A receiver of OTLP over HTTP that reads exports with the official messages."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class Told:
    """One span, and whose it is."""

    service: str
    span: Span
    attributes: dict[str, Any]

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent(self) -> str:
        """Empty for the first of a trace."""
        return self.span.parent_span_id.hex()

    @property
    def failed(self) -> bool:
        return self.span.status.code == Status.STATUS_CODE_ERROR


def _as_base64(value: Any) -> Any:
    """OTLP writes ids in hexadecimal where the JSON of protobuf has base64; everything else is the same."""
    if isinstance(value, list):
        return [_as_base64(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(one)).decode()
        if key in ("traceId", "spanId", "parentSpanId")
        else _as_base64(one)
        for key, one in value.items()
    }


@dataclass
class Receiver:
    """What came. `mode` says how exports are answered: take, fail (status 500), away (503) or hang."""

    mode: str = "take"
    url: str = ""
    raw: list[bytes] = field(default_factory=list)
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refused: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def take(self, path: str, kind: str, body: bytes) -> int:
        """The answer to an export."""
        if self.mode == "hang":
            self.refused += 1
            self.over.wait(60)
            return 503
        if self.mode != "take":
            self.refused += 1
            return 500 if self.mode == "fail" else 503
        if path != "/v1/traces" or kind != "application/json":
            self.problems.append(f"{path} as {kind}")
        try:
            request = json_format.ParseDict(_as_base64(json.loads(body)), ExportTraceServiceRequest())
        except (ValueError, json_format.ParseError) as error:
            self.problems.append(f"{error}: {body[:500]!r}")
            return 400
        self.raw.append(body)
        self.requests.append(request)
        return 200

    @property
    def spans(self) -> list[Told]:
        """All spans that were taken."""
        found = []
        for request in list(self.requests):
            for group in request.resource_spans:
                names = {one.key: one.value.string_value for one in group.resource.attributes}
                for scope in group.scope_spans:
                    for span in scope.spans:
                        told = {
                            one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value")
                            for one in span.attributes
                        }
                        found.append(Told(names.get("service.name", ""), span, told))
        return found

    def trace(self, trace_id: str) -> list[Told]:
        """The spans of one trace."""
        return [one for one in self.spans if one.span.trace_id.hex() == trace_id]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of the loopback."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = receiver.take(self.path, self.headers.get("Content-Type", ""), body)
            # Who was kept waiting may have left.
            with suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
