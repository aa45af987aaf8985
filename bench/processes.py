"""Processes that a measurement runs: started, watched and ended here, and dead when the benchmark dies."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
STOPS_WITHIN = 12.0


class Failed(Exception):
    """A measurement could not be made; says why."""


def free_port() -> int:
    """A free TCP port, below the ephemeral range so that no outgoing connection takes it."""
    while True:
        with socket.socket() as probe:
            port = random.randrange(10240, 32000)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def http_get(port: int, path: str) -> tuple[int, str]:
    """Status and body; status 0 when nobody answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
    except OSError:
        return 0, ""
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]) if len(words) > 1 else 0), body.decode(errors="replace")


def cpu_of(pids: Sequence[int]) -> float:
    """Seconds of CPU that these processes have used."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def parent_of(pid: int) -> int:
    """Who started it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def cpu_of_children(pid: int) -> float:
    """Seconds of CPU that all its children have used, those that it has seen end included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return cpu_of(children_of(pid)) + (int(fields[13]) + int(fields[14])) / TICKS


def children_of(pid: int) -> list[int]:
    """The processes that another has started and that still run."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(one) for one in task.read_text().split()]
    return found


class Process:
    """One running program. Use as a context: the end of the block ends it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        ready: tuple[int, str] | None = None,
    ) -> None:
        """`ready` is the port and path that answer 200 once it can work."""
        self.name, self._ready, self._log_path = name, ready, log
        with log.open("ab") as out:
            self.started = time.monotonic()
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command], env=dict(env), stdout=out, stderr=out
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_ready(self, within: float = 20.0) -> float:
        """Waits until it can work; returns the seconds from its start until then."""
        if self._ready is None:
            return 0.0
        while http_get(*self._ready)[0] != 200:
            if self._process.poll() is not None or time.monotonic() - self.started > within:
                tail = "\n".join(self._log_path.read_text(errors="replace").splitlines()[-5:])
                self.stop()
                raise Failed(f"{self.name} did not become ready:\n{tail}")
            time.sleep(0.002)
        return time.monotonic() - self.started

    def cpu_seconds(self) -> float:
        """CPU used so far, by it and by its workers."""
        return cpu_of([self.pid, *children_of(self.pid)])

    def resident_mb(self) -> float:
        """Memory that is resident, code of shared libraries included."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return float("nan")

    def terminate(self) -> None:
        """Asks it to end."""
        self._process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ends it politely, then less so; returns its exit code."""
        if self._process.poll() is None:
            self.terminate()
            try:
                self._process.wait(STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()
