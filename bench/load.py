"""Load on an HTTP server: as fast as it answers (wrk), or at a given rate whatever it answers (open loop).

The open loop counts a request's time from when it was due, so that a server which stalls is charged for all that
waited meanwhile. It runs as a process of its own: `python -m bench.load PORT REQUESTS RATE SECONDS CONNECTIONS`.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Failed
from bench.statistics import percentile

HERE = Path(__file__).resolve().parent
BODY = json.dumps(
    {
        "repo": "bench/repo",
        "task_description": "The parser drops the last field of a quoted line; find out why, mend it and add a test "
        "that fails without the change. Keep the public interface as it is.",
    }
)


@dataclass(frozen=True)
class Load:
    """What a server did under load."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def _checked(output: str, what: str) -> Load:
    answer = json.loads(output.strip().splitlines()[-1])
    if answer["refused"] or answer["broken"] or not answer["requests"]:
        raise Failed(f"{what}: {answer}")
    return Load(answer["requests"], answer["seconds"], answer["p50_ms"], answer["p99_ms"])


def closed(port: int, requests: Path, seconds: float, connections: int = 32) -> Load:
    """As fast as it goes, over so many connections. Any refusal fails the measurement."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(HERE / "requests.lua")]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"],
        env={**os.environ, "BENCH_REQUESTS": str(requests), "BENCH_BODY": BODY},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"wrk ended with {done.returncode}: {done.stderr[-300:]}")
    return _checked(done.stdout, "wrk")


def open_loop(port: int, requests: Path, rate: float, seconds: float, connections: int = 64) -> Load:
    """So many requests a second, whatever comes back."""
    arguments = [str(port), str(requests), str(rate), str(seconds), str(connections)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", *arguments],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"the open loop failed: {done.stderr[-500:]}")
    return _checked(done.stdout, "open loop")


class Exchange:
    """One connection and the request that is under way on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._answer = b""

    def fileno(self) -> int:
        """For select."""
        return self.socket.fileno()

    def send(self, request: bytes, due: float) -> None:
        """Begins a request."""
        self.due, self._answer = due, b""
        self.socket.sendall(request)

    def receive(self) -> int:
        """Takes what has come; returns the status once the answer is whole, else 0."""
        chunk = self.socket.recv(262144)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self._answer += chunk
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            return 0
        head = self._answer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        return int(head[9:12]) if len(self._answer) >= end + 4 + length else 0


def _get(line: str) -> bytes:
    method, path, token = line.split()
    return f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def _run(port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int) -> dict[str, float]:
    idle = deque(Exchange(port) for _ in range(connections))
    busy: set[Exchange] = set()
    warm = int(rate * 0.5)
    total = warm + int(rate * seconds)
    times: list[float] = []
    refused = sent = done = 0
    start = time.perf_counter() + 0.1
    while done < total:
        now = time.perf_counter()
        while sent < total and idle and start + sent / rate <= now:
            exchange = idle.popleft()
            exchange.send(requests[sent * 7919 % len(requests)], start + sent / rate)
            busy.add(exchange)
            sent += 1
        pause = max(0.0, start + sent / rate - time.perf_counter()) if sent < total and idle else 1.0
        for exchange in select.select(busy, [], [], pause)[0]:
            status = exchange.receive()
            if not status:
                continue
            done += 1
            if done > warm:
                times.append((time.perf_counter() - exchange.due) * 1e3)
            refused += not 200 <= status < 300
            busy.discard(exchange)
            idle.append(exchange)
    times.sort()
    return {
        "requests": len(times),
        "seconds": time.perf_counter() - start - 0.5,
        "p50_ms": percentile(times, 0.5),
        "p99_ms": percentile(times, 0.99),
        "refused": refused,
        "broken": 0,
    }


def main() -> None:
    """The open loop as a process."""
    port, path, rate, seconds, connections = sys.argv[1:]
    requests = [_get(line) for line in Path(path).read_text().splitlines()]
    print(json.dumps(_run(int(port), requests, float(rate), float(seconds), int(connections))))


if __name__ == "__main__":
    main()
