"""The HTTP server under every simulator: HTTP/1.1 keep-alive, chunked bodies, faults, a log line each."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO

from rehearsal.disk import readable, without_secrets
from rehearsal.faults import Fault
from rehearsal.simulator import Simulator
from rehearsal.wire import Abort, JsonObject, Request, Response

MAX_BODY = 512 * 1024 * 1024
SPOOL = 4 * 1024 * 1024


class BadBody(Exception):
    """The body does not follow its own framing."""


class Server(ThreadingHTTPServer):
    """Serves one simulator, on loopback unless told otherwise; port 0 picks a free one."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, simulator: Simulator, port: int = 0, host: str = "127.0.0.1") -> None:
        self.simulator = simulator
        self.stopping = threading.Event()
        super().__init__((host, port), Handler)

    @property
    def port(self) -> int:
        """The bound port."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of ours; anything else is shown."""
        import sys

        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "rehearsal"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = 120
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the journal is the log."""

    def _any(self) -> None:
        with tempfile.SpooledTemporaryFile(max_size=SPOOL) as spool:
            try:
                self._read_body(spool)
            except BadBody as error:
                self.close_connection = True
                self._send(Response.of_text(400, f"{error}\n"))
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, spool, self.client_address[0])
            if request.path.startswith("/__"):
                self._send(self.server.simulator.answer_control(request))
            else:
                self._exchange(request)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _any

    def _read_body(self, spool: IO[bytes]) -> None:
        """Reads a body with a length or in chunks; a client that left half-way ends the connection."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            total = 0
            while size := self._chunk_size():
                total += size
                if total > MAX_BODY:
                    raise BadBody("body too large")
                self._copy(size, spool)
                if self.rfile.readline(8) not in (b"\r\n", b"\n"):
                    raise BadBody("a chunk does not end with a line break")
            while self.rfile.readline(65536) not in (b"\r\n", b"\n", b""):
                pass
            return
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise BadBody("bad Content-Length")
        self._copy(int(length), spool)

    def _chunk_size(self) -> int:
        line = self.rfile.readline(1024).split(b";")[0].strip()
        try:
            return int(line, 16)
        except ValueError as error:
            raise BadBody("bad chunk size") from error

    def _copy(self, count: int, spool: IO[bytes]) -> None:
        while count > 0:
            piece = self.rfile.read(min(count, 1 << 16))
            if not piece:
                raise ConnectionResetError("the client left in the middle of a body")
            spool.write(piece)
            count -= len(piece)

    def _exchange(self, request: Request) -> None:
        """One request of the simulated service: fault, work, log, answer."""
        simulator = self.server.simulator
        started = time.monotonic()
        body = request.body()
        fault = simulator.faults.take(request.method, request.target, body)
        entry: JsonObject = {
            "method": request.method,
            "path": request.target,
            "headers": without_secrets(dict(request.headers)),
            "body": readable(body),
            "fault": fault.action if fault else None,
        }

        def log(status: int | None, answer: object, note: JsonObject) -> None:
            took = round(1000 * (time.monotonic() - started), 1)
            simulator.journal.append({**entry, "status": status, "answer": answer, "ms": took, **note})

        action = fault.action if fault else ""
        if fault and action in ("hang", "drop"):
            log(None, None, {})
            if action == "hang":
                self._hold(fault)
            raise ConnectionAbortedError(action)
        if fault and action == "slow":
            self.server.stopping.wait(fault.delay)
        response = simulator.answer_fault(fault) if fault and action == "status" else self._work(request)
        if fault and action == "late_commit":
            if not isinstance(response.body, bytes):
                with contextlib.suppress(Abort):
                    list(response.body)
            log(None, None, {**response.note, "committed": True})
            self._hold(fault, fault.delay)
            raise ConnectionAbortedError(action)
        if isinstance(response.body, bytes):
            log(response.status, readable(response.body), response.note)
        else:
            # The line is written before the last piece leaves, so a client that has its answer finds it.
            response.body = _counted(
                response.body, lambda sent: log(response.status, {"bytes": sent}, response.note)
            )
        self._send(response, fault)

    def _work(self, request: Request) -> Response:
        try:
            return self.server.simulator.handle(request)
        except ConnectionError:
            raise
        except Exception as error:
            return Response.of_json(500, {"message": f"rehearsal: {type(error).__name__}: {error}"})

    def _hold(self, fault: Fault, seconds: float | None = None) -> None:
        """Keeps the connection open without a word until the client leaves or the order ends."""
        limit = seconds if seconds is not None else (fault.delay or None)
        deadline = None if limit is None else time.monotonic() + limit
        while not self.server.stopping.is_set() and self.server.simulator.faults.stands(fault):
            if deadline is not None and time.monotonic() >= deadline:
                return
            ready, _, _ = select.select([self.connection], [], [], 0.05)
            if ready and not self.connection.recv(1, socket.MSG_PEEK):
                return

    def _send(self, response: Response, fault: Fault | None = None) -> None:
        names = {name.lower() for name, _ in response.headers}
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        if isinstance(response.body, bytes):
            if response.status not in (204, 304) and "content-length" not in names:
                self.send_header("Content-Length", str(len(response.body)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "HEAD" or response.status in (204, 304):
                return
            if fault and fault.action == "cut":
                self.wfile.write(response.body[: len(response.body) // 2])
                raise ConnectionAbortedError("cut")
            self.wfile.write(response.body)
            return
        self._stream(response.body, fault)

    def _stream(self, body: Iterator[bytes], fault: Fault | None) -> None:
        chunked = self.request_version == "HTTP/1.1"
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        self.end_headers()
        self.close_connection = self.close_connection or not chunked
        count = 0
        with contextlib.closing(body) as pieces:  # type: ignore[type-var]
            try:
                for piece in pieces:
                    if fault and fault.action == "cut" and count >= fault.chunks:
                        raise ConnectionAbortedError("cut")
                    if fault and fault.action == "slow" and fault.chunk_delay:
                        self.server.stopping.wait(fault.chunk_delay)
                    if piece:
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                    count += 1
            except Abort as error:
                raise ConnectionAbortedError(str(error)) from error
        if chunked:
            self.wfile.write(b"0\r\n\r\n")


def _counted(pieces: Iterator[bytes], ended: Callable[[int], None]) -> Iterator[bytes]:
    """Passes pieces on and tells how many bytes they had, also where they end too early."""
    count = 0
    try:
        for piece in pieces:
            count += len(piece)
            yield piece
    finally:
        if isinstance(pieces, Generator):
            pieces.close()
        ended(count)


@contextlib.contextmanager
def running(simulator: Simulator, port: int = 0, host: str = "127.0.0.1") -> Iterator[Server]:
    """Serves a simulator on threads of this process until the block ends."""
    server = Server(simulator, port, host)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
        simulator.close()


def wait_for_signal() -> None:
    """Returns at SIGTERM or SIGINT."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
