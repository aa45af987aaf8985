"""From an event's append to its dispatcher's call: through outbox, relay, fanout, outbox, relay and dispatch-slack,
to a stand-in for Slack that notes when each message came.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from bench import pgbench
from bench.processes import Failed, Process, free_port
from bench.report import Figure, at_least, below
from bench.statistics import median, percentile
from bench.world import ROOT, World, until

TASKS = 4000
RATE = 500.0
SCRIPT = Path(__file__).resolve().parent / "append.sql"
# A channel for each task, so that Slack's limit of one message a second and channel is not what is measured.
OWN_CHANNEL = """jsonb_build_object('slack', jsonb_build_object('channel', 'C' || n))"""

BACKLOG_TASKS = 500
# Of twenty events of an agent at work, sixteen are its own stream, three concern people, one is told.
MIX = """CASE WHEN s % 20 = 0 THEN 'agent_error' WHEN s % 20 IN (3, 9, 15) THEN 'session_started'
    WHEN s % 2 = 0 THEN 'agent_tool_call' ELSE 'agent_turn' END"""
METADATA = "jsonb_build_object('turn', s, 'tool_name', 'Bash', 'text_preview', repeat('x', 120))"


def measure(world: World) -> list[Figure]:
    """Latency at a steady rate, then how fast a backlog is decided on."""
    port = free_port()
    with world.ready("relay"):
        with (
            world.ready("dispatch-slack", BGAGENT_SLACK_API_URL=f"http://127.0.0.1:{port}"),
            world.ready("fanout"),
        ):
            figures = [*_latency(world, port)]
        return figures + _throughput(world)


def _latency(world: World, port: int) -> list[Figure]:
    settings = world.settings
    p50: list[float] = []
    p99: list[float] = []
    reached: list[float] = []
    for number in range(settings.rounds):
        world.tasks(TASKS, OWN_CHANNEL)
        arrivals = world.files / f"arrivals-{number}"
        command = [sys.executable, "-m", "bench.sink", str(port), str(arrivals)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with Process("sink", command, env, world.files / "sink.log", (port, "/ready")) as sink:
            sink.wait_ready()
            reached.append(pgbench.run(world, SCRIPT, settings.seconds + 2, 4, RATE, i=0, clients=4, tasks=TASKS))
            until("all notifications to be sent", 30, lambda: _is_all_sent(world), 0.1)
        times = sorted(_delays(world, arrivals))
        p50.append(percentile(times, 0.5))
        p99.append(percentile(times, 0.99))
    part = "append → dispatcher"
    return [
        Figure(part, "events appended", median(reached), "/s", samples=reached),
        Figure(part, "p50 at 500/s", median(p50), "ms", below(10), samples=p50),
        Figure(part, "p99 at 500/s", median(p99), "ms", below(100), samples=p99),
    ]


def _is_all_sent(world: World) -> bool:
    return (
        world.number("SELECT (SELECT count(*) FROM task_events) - (SELECT count(*) FROM effects WHERE state = 'sent')")
        == 0
    )


def _delays(world: World, arrivals: Path) -> list[float]:
    """Milliseconds from each event's own time to its arrival, those of the first second left out."""
    rows = world.db.execute(
        "SELECT f.effect_id, (extract(epoch FROM e.timestamp) * 1000000)::bigint FROM effects f "
        "JOIN task_events e ON e.task_id = f.task_id AND e.seq = f.event_seq"
    ).fetchall()
    began = {str(effect): int(at) for effect, at in rows}
    came = [(effect, int(at) // 1000) for effect, at in (line.split() for line in arrivals.read_text().splitlines())]
    if sorted(effect for effect, _ in came) != sorted(began):
        raise Failed(f"{len(came)} messages for {len(began)} notifications")
    first = min(began.values()) + 1_000_000
    return [(at - began[effect]) / 1000 for effect, at in came if began[effect] > first]


def _throughput(world: World) -> list[Figure]:
    """A backlog waits in the broker; fanout starts. Its positions tell how far it has come."""
    settings = world.settings
    part = "fanout"
    figures: list[Figure] = []
    for name, kinds, metadata, target in (
        ("decides on an agent's timeline", MIX, METADATA, at_least(3000)),
        ("decides where every event needs a look at the task", "'session_started'", METADATA, None),
    ):
        rates: list[float] = []
        drains: list[float] = []
        in_order = True
        for _ in range(1 if target is None else settings.rounds):
            world.tasks(BACKLOG_TASKS, OWN_CHANNEL)
            each = 20 if settings.quick else 40
            drains.append(_publish(world, kinds, metadata, each))
            rates.append(_decide(world, BACKLOG_TASKS * each))
            in_order = in_order and _is_in_order(world)
        if target is not None:
            figures.append(Figure("relay", "publishes a backlog", median(drains), "/s", samples=drains))
        figures.append(Figure(part, name, median(rates), "/s", target, samples=rates))
        figures.append(Figure(part, "… of it in order", 100.0 if in_order else 0.0, "%", at_least(100)))
    return figures


def _publish(world: World, kinds: str, metadata: str, each: int) -> float:
    """Appends a backlog and waits until the broker has it; returns how many a second the relay published."""
    world.append(kinds, metadata, each)
    began = time.monotonic()
    until("the relay to publish", 60, lambda: world.number("SELECT count(*) FROM outbox") == 0, 0.05)
    return BACKLOG_TASKS * each / (time.monotonic() - began)


def _decide(world: World, total: int) -> float:
    """Events a second that fanout was through with, from the first to the last."""
    seen: list[tuple[float, float]] = []

    def passed() -> bool:
        done = world.number("SELECT coalesce(sum(last_seq), 0) FROM consumer_positions WHERE consumer = 'fanout'")
        if done > 0:
            seen.append((time.monotonic(), done))
        return done >= total

    with world.ready("fanout"):
        until("fanout to decide", 90, passed, 0.03)
    (first, already), (last, done) = seen[0], seen[-1]
    return (done - already) / max(last - first, 0.001)


def _is_in_order(world: World) -> bool:
    """Every task's position is its last event, nothing was put aside, and the ledger's order is the events' order."""
    behind = world.number(
        "SELECT count(*) FROM task_heads h LEFT JOIN consumer_positions p "
        "ON p.task_id = h.task_id AND p.consumer = 'fanout' WHERE p.last_seq IS DISTINCT FROM h.seq"
    )
    aside = world.number("SELECT (SELECT count(*) FROM parked_messages) + (SELECT count(*) FROM dead_letters)")
    swapped = world.number(
        "SELECT count(*) FROM (SELECT event_seq < lag(event_seq) OVER w OR position < lag(position) OVER w AS wrong "
        "FROM effects WINDOW w AS (PARTITION BY task_id, channel ORDER BY stream_seq)) AS pairs WHERE wrong"
    )
    return behind == 0 and aside == 0 and swapped == 0
