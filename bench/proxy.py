"""The model proxy of the agent gateway beside nginx, both in front of the same upstream: what a small request costs on
the way, and how fast a stream passes.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from dataclasses import dataclass, field

from bench import sandbox
from bench.load import Exchange
from bench.processes import Failed, Process, free_port
from bench.report import Figure
from bench.statistics import median, percentile
from bench.upstream import MODEL, PIECE
from bench.webservers import folder_of_nobody, nginx
from bench.world import ROOT, World

WARM = 50
STREAM_MB, QUICK_STREAM_MB = 200.0, 20.0
END = b"0\r\n\r\n"
BUFFER = 1 << 20
SILENCE = 30.0


@dataclass
class Way:
    """One way to the upstream, and what was measured on it."""

    port: int
    path: str
    process: Process | None = None
    small: list[list[float]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def request(self, token: str, is_stream: bool) -> bytes:
        """A request of an agent's client."""
        body = json.dumps(
            {
                "model": MODEL,
                "max_tokens": 1024,
                "stream": is_stream,
                "messages": [{"role": "user", "content": "Find out why the parser drops the last field."}],
            }
        )
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: bench\r\nx-api-key: {token}\r\nanthropic-version: 2023-06-01\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def ask(self, token: str, count: int) -> None:
        """So many small requests, one after the other on one connection; keeps their milliseconds."""
        exchange = Exchange(self.port)
        request = self.request(token, is_stream=False)
        times: list[float] = []
        for number in range(WARM + count):
            began = time.perf_counter()
            exchange.send(request, began)
            status = 0
            while not status:
                if not select.select([exchange], [], [], SILENCE)[0]:
                    raise Failed(f"no answer from port {self.port}")
                status = exchange.receive()
            if status != 200:
                raise Failed(f"port {self.port} answers {status}")
            if number >= WARM:
                times.append((time.perf_counter() - began) * 1e3)
        exchange.socket.close()
        self.small.append(sorted(times))

    def stream(self, token: str, megabytes: float) -> None:
        """One long answer, read as fast as it comes; keeps megabytes a second, and CPU for each megabyte."""
        before = self.process.cpu_seconds() if self.process else 0.0
        with socket.create_connection(("127.0.0.1", self.port), timeout=SILENCE) as connection:
            connection.sendall(self.request(token, is_stream=True))
            began = time.perf_counter()
            count, tail = _read_to_end(connection)
        took = time.perf_counter() - began
        if not tail.endswith(END) or count < megabytes * 0.99e6:
            raise Failed(f"a stream of {count} bytes from port {self.port} is not whole")
        self.rates.append(count / 1e6 / took)
        if self.process:
            self.cpu.append((self.process.cpu_seconds() - before) / (count / 1e6) * 1e3)

    def p(self, share: float) -> list[float]:
        """That percentile of each round."""
        return [percentile(times, share) for times in self.small]


def _read_to_end(connection: socket.socket) -> tuple[int, bytes]:
    """Bytes of a chunked answer, and its last ones."""
    buffer = memoryview(bytearray(BUFFER))
    count, tail = 0, b""
    while not tail.endswith(END):
        got = connection.recv_into(buffer)
        if not got:
            break
        count += got
        tail = (tail + bytes(buffer[max(0, got - len(END)) : got]))[-len(END) :]
    return count, tail


def measure(world: World) -> list[Figure]:
    """Direct, through nginx and through ours, in turns."""
    settings = world.settings
    count, megabytes = (300, QUICK_STREAM_MB) if settings.quick else (2000, STREAM_MB)
    upstream, front = free_port(), free_port()
    session = sandbox.running(world)
    command = [sys.executable, "-m", "bench.upstream", str(upstream), str(megabytes)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        folder_of_nobody(world, "nginx") as folder,
        Process("upstream", command, env, world.files / "upstream.log", (upstream, "/ready")) as model,
    ):
        model.wait_ready()
        with (
            nginx(world, folder, front, upstream) as beside,
            world.ready("agent-gateway", BGAGENT_MODEL_URL=f"http://127.0.0.1:{upstream}") as gateway,
        ):
            direct = Way(upstream, "/v1/messages")
            theirs = Way(front, "/v1/messages", beside)
            ours = Way(world.agent_gateway_port, "/model/v1/messages", gateway)
            for _ in range(settings.rounds):
                for way in (direct, theirs, ours):
                    way.ask(session.model_token, count)
            for _ in range(settings.rounds):
                for way in (direct, theirs, ours):
                    way.stream(session.model_token, megabytes)
    return [*_small(direct, theirs, ours), *_streams(megabytes, direct, theirs, ours)]


def _small(direct: Way, theirs: Way, ours: Way) -> list[Figure]:
    part = "model proxy: a small request"
    figures = []
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        base = direct.p(share)
        figures.append(Figure(part, f"{name} without a proxy", median(base), "ms", samples=base))
        for whose, way in (("nginx", theirs), ("ours", ours)):
            more = [one - other for one, other in zip(way.p(share), base, strict=True)]
            figures.append(Figure(part, f"{name}, {whose} adds", median(more), "ms", samples=more))
    return figures


def _streams(megabytes: float, direct: Way, theirs: Way, ours: Way) -> list[Figure]:
    part = "model proxy: a stream"
    note = f"{megabytes:g} MB of events, {PIECE // 1024} KB at once"
    shares = [one / other * 100 for one, other in zip(ours.rates, theirs.rates, strict=True)]
    return [
        Figure(part, "without a proxy", median(direct.rates), "MB/s", note=note, samples=direct.rates),
        Figure(part, "through nginx", median(theirs.rates), "MB/s", samples=theirs.rates),
        Figure(part, "through ours", median(ours.rates), "MB/s", samples=ours.rates),
        Figure(part, "ours beside nginx", median(shares), "%", samples=shares),
        Figure(part, "nginx's CPU for a megabyte", median(theirs.cpu), "ms", samples=theirs.cpu),
        Figure(part, "ours, CPU for a megabyte", median(ours.cpu), "ms", note="metered and booked", samples=ours.cpu),
    ]
