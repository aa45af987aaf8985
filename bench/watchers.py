"""Idle watchers: as many long polls as the machine lets us hold, their memory, and how fast all of them hear."""

from __future__ import annotations

import contextlib
import math
import re
import resource
import select
import socket
import time

from bench.processes import Failed, http_get
from bench.report import Figure, at_least, below
from bench.statistics import percentile
from bench.world import World, token, until

WATCHERS = 10_000
WAIT = 25


class Crowd:
    """Connections that each wait for the next event of a task of their own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: dict[int, socket.socket] = {}
        self._answers: dict[int, bytearray] = {}
        self._poll = select.epoll()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets.values():
            one.close()
        self._poll.close()

    def connect(self, count: int) -> None:
        """Opens so many connections."""
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", self._port))
            one.setblocking(False)
            self._sockets[one.fileno()] = one
            self._poll.register(one.fileno(), select.EPOLLIN)

    def ask(self, requests: list[bytes]) -> None:
        """Each connection sends its request and waits."""
        for (number, one), request in zip(self._sockets.items(), requests, strict=True):
            self._answers[number] = bytearray()
            one.sendall(request)

    def answers(self, since: float, within: float) -> tuple[list[float], int]:
        """Waits until every connection is answered. Returns the seconds from `since` to each answer, in ascending
        order, and how many of the answers bear an event.
        """
        times: list[float] = []
        events = 0
        deadline = time.monotonic() + within
        while self._answers and time.monotonic() < deadline:
            for number, _ in self._poll.poll(0.2):
                answer = self._answers.get(number)
                chunk = b""
                with contextlib.suppress(OSError):
                    chunk = self._sockets[number].recv(65536)
                if answer is None or not chunk:
                    self._poll.unregister(number)
                    self._answers.pop(number, None)
                    continue
                answer += chunk
                head, _, body = bytes(answer).partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                if length and len(body) >= int(length[1]):
                    times.append(time.monotonic() - since)
                    events += b'"event_id"' in body
                    del self._answers[number]
        return sorted(times), events


def requests_of(world: World) -> list[bytes]:
    """One long poll for each task, behind its newest event."""
    rows = world.db.execute(
        "SELECT b.task_id, b.user_number, e.event_id FROM bench_tasks b JOIN task_heads h USING (task_id) "
        "JOIN task_events e ON e.task_id = b.task_id AND e.seq = h.seq ORDER BY b.n"
    ).fetchall()
    return [
        f"GET /v1/tasks/{task}/events?after={event}&wait={WAIT} HTTP/1.1\r\nHost: bench\r\n"
        f"Authorization: Bearer {token(user)}\r\n\r\n".encode()
        for task, user, event in rows
    ]


def waiting(world: World) -> int:
    """How many the gateway says wait."""
    found = re.search(r"^bgagent_watchers (\d+)", http_get(world.ports["gateway"], "/metrics")[1], re.MULTILINE)
    return int(found[1]) if found else -1


def measure(world: World) -> list[Figure]:
    """Everybody waits; one event each; everybody waits again; the gateway is told to stop."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(1_000 if world.settings.quick else WATCHERS, hard - 500)
    world.tasks(count)
    world.append("'session_started'")
    with (
        world.ready("relay"),
        world.ready("gateway") as gateway,
        Crowd(world.gateway_port) as crowd,
    ):
        until("the outbox to run empty", 30, lambda: world.number("SELECT count(*) FROM outbox") == 0, 0.2)
        empty = gateway.resident_mb()
        crowd.connect(count)
        began = time.monotonic()
        crowd.ask(requests_of(world))
        until("all polls to wait", WAIT - 5, lambda: waiting(world) >= count, 0.05)
        settled = time.monotonic() - began
        idle_from, idle_cpu = time.monotonic(), gateway.cpu_seconds()
        held = gateway.resident_mb()
        until("two idle seconds", 5, lambda: time.monotonic() - idle_from > 2, 0.1)
        idle_share = (gateway.cpu_seconds() - idle_cpu) / (time.monotonic() - idle_from) * 100
        world.append("'agent_turn'")
        heard, events = crowd.answers(time.monotonic(), WAIT)
        if events != count:
            raise Failed(f"{events} of {count} watchers heard of their event")
        crowd.ask(requests_of(world))
        until("all polls to wait again", WAIT - 5, lambda: waiting(world) >= count, 0.05)
        began = time.monotonic()
        gateway.terminate()
        stopped, _ = crowd.answers(began, 15)
        code = gateway.stop()
        gone = time.monotonic() - began
    part = "idle watchers"
    return [
        Figure(part, "long polls held", count, "", at_least(WATCHERS) if not world.settings.quick else None),
        Figure(part, "until all of them wait", settled, "s"),
        Figure(part, "gateway's memory before", empty, "MB"),
        Figure(part, "gateway's memory with all", held, "MB"),
        Figure(part, "memory for each", (held - empty) * 1024 / count, "KB"),
        Figure(part, "gateway's CPU while they wait", idle_share, "%"),
        Figure(part, "half have heard of their event after", percentile(heard, 0.5), "s"),
        Figure(part, "all have heard of their event after", heard[-1] if heard else math.nan, "s"),
        Figure(
            part,
            "all are answered when the gateway stops",
            stopped[-1] if len(stopped) == count else math.nan,
            "s",
        ),
        Figure(part, "the gateway is gone, exit 0", gone if code == 0 else math.nan, "s", below(10)),
    ]
