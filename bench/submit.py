"""POST /v1/tasks: beside what the database alone does of the same transaction, and beside the peer."""

from __future__ import annotations

from pathlib import Path

from bench import load, peers, pgbench
from bench.processes import Failed, free_port
from bench.report import Figure, at_least
from bench.statistics import median
from bench.world import USERS, World, token

TABLES = ("tasks", "task_heads", "task_events", "task_commands", "outbox")
SCRIPT = Path(__file__).resolve().parent / "submit.sql"


def rows(world: World) -> dict[str, float]:
    """Rows of each table for one task, all counted at one moment: requests may still be under way."""
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)
    found = world.db.execute(f"SELECT {counts}").fetchone()
    if not found or not found[0]:
        raise Failed("nothing was submitted")
    return {table: count / found[0] for table, count in zip(TABLES, found, strict=True)}


def measure(world: World) -> list[Figure]:
    """Each round: the database alone, ours, ours while the relay publishes, and the peer, which publishes too."""
    settings = world.settings
    peers.prepare(world)
    requests = world.files / "submit.requests"
    requests.write_text("".join(f"POST /v1/tasks {token(n)}\n" for n in range(1, USERS + 1)))
    peer_port = free_port()
    ceiling: list[float] = []
    alone: list[load.Load] = []
    published: list[load.Load] = []
    peer: list[load.Load] = []
    cpu: list[float] = []
    peer_cpu: list[float] = []
    with world.ready("gateway") as gateway, peers.start(world, peer_port) as other:
        for port in (world.gateway_port, peer_port):
            load.closed(port, requests, 1)
        for _ in range(settings.rounds):
            world.clear()
            ceiling.append(pgbench.run(world, SCRIPT, settings.seconds))
            wanted = rows(world)
            world.clear()
            before = gateway.cpu_seconds()
            alone.append(load.closed(world.gateway_port, requests, settings.seconds))
            cpu.append((gateway.cpu_seconds() - before) / alone[-1].requests * 1e6)
            if rows(world) != wanted:
                raise Failed(f"the ceiling's transaction is not that of a POST: {wanted} and {rows(world)}")
            world.clear()
            with world.ready("relay"):
                published.append(load.closed(world.gateway_port, requests, settings.seconds))
            peers.clear(world)
            before = other.cpu_seconds()
            peer.append(load.closed(peer_port, requests, settings.seconds))
            peer_cpu.append((other.cpu_seconds() - before) / peer[-1].requests * 1e6)
    part = "POST /tasks"
    shares = [one.rate / top * 100 for one, top in zip(alone, ceiling, strict=True)]
    times = [one.rate / beside.rate for one, beside in zip(published, peer, strict=True)]
    ahead = [one.rate / beside.rate for one, beside in zip(alone, peer, strict=True)]
    return [
        Figure(part, "durable", median(one.rate for one in alone), "/s", samples=[one.rate for one in alone]),
        Figure(part, "p50, 32 clients", median(one.p50_ms for one in alone), "ms"),
        Figure(part, "p99, 32 clients", median(one.p99_ms for one in alone), "ms"),
        Figure(part, "gateway's CPU for one", median(cpu), "µs"),
        Figure(part, "the database alone, a transaction for each", median(ceiling), "/s", samples=ceiling),
        Figure(part, "share of the database's ceiling", median(shares), "%", at_least(60), samples=shares),
        Figure(
            part,
            "durable, while the relay publishes",
            median(one.rate for one in published),
            "/s",
            samples=[one.rate for one in published],
        ),
        Figure(part, "peer", median(one.rate for one in peer), "/s", samples=[one.rate for one in peer]),
        Figure(part, "peer's CPU for one, publishing included", median(peer_cpu), "µs"),
        Figure(part, "beside the peer", median(ahead), "×", None, "ours publishes later", samples=ahead),
        Figure(part, "beside the peer", median(times), "×", at_least(4), "both publish", samples=times),
    ]
