"""Several replicas of one consumer: how soon the others do the work of one that is killed or frozen, and how much they
do together; beside Celery workers on the same broker that make the same sends to the same place.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import peers
from bench.delivery import METADATA, MIX, OWN_CHANNEL
from bench.processes import Failed, Process, free_port, http_get
from bench.report import Figure, at_least, below
from bench.statistics import median
from bench.world import ROOT, World, until

COUNTS = (1, 2, 3)
PARTITIONS = 8
TAKEOVER_TASKS = 400
EVENT_TASKS = 1000
QUIET = {"BGAGENT_LOG_LEVEL": "error"}


def measure(world: World) -> list[Figure]:
    """Take-over first, then throughput, ours and the peer's in turns."""
    with world.ready("relay"):
        return [*_takeover(world), *_events(world), *_sends(world)]


@contextmanager
def _replicas(world: World, service: str, count: int, **settings: str) -> Iterator[dict[int, Process]]:
    """So many processes of a service by their health ports; not yet ready."""
    with ExitStack() as stack:
        running: dict[int, Process] = {}
        for _ in range(count):
            port = free_port()
            running[port] = stack.enter_context(
                world.service(service, BGAGENT_HEALTH_PORT=str(port), **QUIET, **settings)
            )
        yield running


def _gauge(port: int, name: str, consumer: str) -> float:
    """A number of a process; 0 when it does not tell."""
    wanted = f'bgagent_consumer_{name}{{consumer="{consumer}"}} '
    lines = [line for line in http_get(port, "/metrics")[1].splitlines() if line.startswith(wanted)]
    return float(lines[0].removeprefix(wanted)) if lines else 0.0


def _is_balanced(ports: Sequence[int], consumer: str) -> bool:
    """Whether these processes and no others share the partitions."""
    owned = [_gauge(port, "partitions_owned", consumer) for port in ports]
    members = [_gauge(port, "members", consumer) for port in ports]
    return sum(owned) == PARTITIONS and max(owned) - min(owned) <= 1 and set(members) == {float(len(ports))}


def _takeover(world: World) -> list[Figure]:
    """From a kill or a freeze in the middle of work until all of the work is done."""
    killed: list[float] = []
    frozen: list[float] = []
    untouched: list[float] = []
    world.tasks(TAKEOVER_TASKS)
    for round_ in range(world.settings.rounds):
        with _replicas(world, "fanout", 3) as running:
            ports = list(running)
            for process in running.values():
                process.wait_ready()
            until("three replicas to share the work", 30, lambda: _is_balanced(ports, "fanout"))  # noqa: B023
            untouched.append(_work(world))
            killed.append(_work(world, running[ports[round_ % 3]], signal.SIGKILL))
        with _replicas(world, "fanout", 3) as running:
            ports = list(running)
            for process in running.values():
                process.wait_ready()
            until("three replicas to share the work", 30, lambda: _is_balanced(ports, "fanout"))  # noqa: B023
            victim = running[ports[round_ % 3]]
            try:
                frozen.append(_work(world, victim, signal.SIGSTOP))
            finally:
                os.kill(victim.pid, signal.SIGCONT)
    part = "replicas: take-over"
    note = f"{TAKEOVER_TASKS} events, one of three replicas"
    return [
        Figure(part, "all work done, nobody killed", median(untouched), "s", note=note, samples=untouched),
        Figure(part, "all work done after a kill", median(killed), "s", below(1), note, killed),
        Figure(part, "all work done after a freeze", median(frozen), "s", below(15), note, frozen),
    ]


def _work(world: World, victim: Process | None = None, fault: int = 0) -> float:
    """Appends an event to every task, and hits a replica; returns the seconds until all events are decided on."""
    world.append("'session_started'", METADATA)
    began = time.monotonic()
    if victim is not None:
        os.kill(victim.pid, fault)
    until("all events to be decided on", 60, lambda: _open_events(world) == 0, 0.01)
    return time.monotonic() - began


def _open_events(world: World) -> float:
    """Events that fanout has not decided on."""
    return world.number(
        "SELECT (SELECT sum(seq) FROM task_heads) - "
        "(SELECT coalesce(sum(last_seq), 0) FROM consumer_positions WHERE consumer = 'fanout')"
    )


def _events(world: World) -> list[Figure]:
    """A backlog waits in the broker; so many fanouts start. Counted from when they share it until it is done."""
    each = 20 if world.settings.quick else 30
    rates: dict[int, list[float]] = {count: [] for count in COUNTS}
    for _ in range(world.settings.rounds):
        for count in COUNTS:
            world.tasks(EVENT_TASKS, OWN_CHANNEL)
            world.append(MIX, METADATA, each)
            until("the relay to publish", 90, lambda: world.number("SELECT count(*) FROM outbox") == 0, 0.05)
            with _replicas(world, "fanout", count) as running:
                ports = list(running)
                until("the replicas to share the work", 30, lambda: _is_balanced(ports, "fanout"))  # noqa: B023
                began, left = time.monotonic(), _open_events(world)
                if left < EVENT_TASKS * each / 5:
                    raise Failed("too little of the backlog was left when the replicas shared it")
                until("fanout to decide", 120, lambda: _open_events(world) == 0, 0.02)
                rates[count].append(left / (time.monotonic() - began))
    return [
        Figure("replicas: fanout", f"{count} at work", median(rates[count]), "events/s", samples=rates[count])
        for count in COUNTS
    ]


def _sends(world: World) -> list[Figure]:
    """Notifications planned before the dispatchers start, and tasks queued before the Celery workers do."""
    # Of ours many are sent before all share the work; theirs are slower.
    total, queued = (4000, 2000) if world.settings.quick else (8000, 4000)
    ours: dict[int, list[float]] = {count: [] for count in COUNTS}
    theirs: dict[int, list[float]] = {count: [] for count in COUNTS}
    for round_ in range(world.settings.rounds):
        for count in COUNTS:
            ours[count].append(_our_sends(world, count, total, f"ours-{round_}-{count}"))
            theirs[count].append(_celery_sends(world, count, queued, f"theirs-{round_}-{count}"))
    figures = []
    for count in COUNTS:
        dispatch, celery = median(ours[count]), median(theirs[count])
        figures += [
            Figure("replicas: dispatch-slack", f"{count} at work", dispatch, "sends/s", samples=ours[count]),
            Figure("replicas: Celery", f"{count} at work", celery, "sends/s", samples=theirs[count]),
            Figure("replicas", f"dispatch-slack beside Celery, {count} at work", dispatch / celery, "×", at_least(1)),
        ]
    return figures


@contextmanager
def _sink(world: World, name: str, port: int) -> Iterator[Path]:
    """The place that takes the messages, and the file in which it says when each came, once it has ended."""
    arrivals = world.files / name
    command = [sys.executable, "-m", "bench.sink", str(port), str(arrivals)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Process("sink", command, env, world.files / "sink.log", (port, "/ready")) as sink:
        sink.wait_ready()
        yield arrivals


def _our_sends(world: World, count: int, total: int, name: str) -> float:
    port = free_port()
    slack = {"BGAGENT_SLACK_API_URL": f"http://127.0.0.1:{port}"}
    # One has to have registered the channel, or nothing is planned for it.
    with world.ready("dispatch-slack", **slack):
        pass
    world.tasks(total, OWN_CHANNEL)
    with world.ready("fanout"):
        world.append("'agent_error'", METADATA)
        until("fanout to plan", 120, lambda: _open_events(world) == 0, 0.05)
        until("the relay to publish", 60, lambda: world.number("SELECT count(*) FROM outbox") == 0, 0.05)
    with _sink(world, name, port) as arrivals, _replicas(world, "dispatch-slack", count, **slack) as running:
        ports = list(running)
        until("the replicas to share the work", 30, lambda: _is_balanced(ports, "dispatch.slack"))
        began = time.time_ns()
        until("all messages to be sent", 120, lambda: _arrived(port) >= total, 0.02)
    return _rate(arrivals, began, total)


def _celery_sends(world: World, count: int, total: int, name: str) -> float:
    port = free_port()
    with _sink(world, name, port) as arrivals:
        peers.queue_sends(world, total, port)
        with peers.senders(world, count):
            began = time.time_ns()
            until("all messages to be sent", 120, lambda: _arrived(port) >= total, 0.02)
    return _rate(arrivals, began, total)


def _arrived(port: int) -> int:
    """Messages that the sink has taken."""
    text = http_get(port, "/count")[1]
    return int(text.partition('"arrived": ')[2].split("}")[0].split(",")[0] or 0)


def _rate(arrivals: Path, began: int, total: int) -> float:
    """Messages a second since `began`, when all were at work."""
    times = sorted(int(line.split()[1]) for line in arrivals.read_text().splitlines())
    later = [at for at in times if at >= began]
    if len(times) != total:
        raise Failed(f"{len(times)} messages came, not {total}")
    if len(later) < total / 5:
        raise Failed("too few messages were left when all were at work")
    return (len(later) - 1) / ((later[-1] - later[0]) / 1e9)
