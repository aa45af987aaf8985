"""GET status and GET events: how late at 2,000 a second, and how many a second of CPU, beside the peer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench import load, peers
from bench.processes import Process, free_port
from bench.report import Figure, at_least, below
from bench.statistics import median
from bench.world import World, token

TASKS = 1000
EVENTS = 20
RATE = 2000.0
METADATA = """jsonb_build_object('turn', s, 'model', 'model', 'thinking_preview', '', 'tool_calls_count', 2,
    'text_preview', repeat('x', 120))"""


@dataclass
class Series:
    """What one server did with one kind of request."""

    loads: list[load.Load] = field(default_factory=list)
    per_core: list[float] = field(default_factory=list)
    paced: list[load.Load] = field(default_factory=list)

    def flat_out(self, server: Process, port: int, requests: Path, seconds: float) -> None:
        """One run as fast as it goes."""
        before = server.cpu_seconds()
        done = load.closed(port, requests, seconds)
        self.loads.append(done)
        self.per_core.append(done.requests / max(server.cpu_seconds() - before, 0.01))


def measure(world: World) -> list[Figure]:
    """Ours and the peer's in turns, on the same tasks with the same events."""
    settings = world.settings
    world.tasks(TASKS)
    world.append("'agent_turn'", METADATA, each=EVENTS)
    peers.prepare(world)
    _fill_peer(world)
    world.db.execute("ANALYZE")
    kinds = ("status", "events")
    files = {kind: world.files / f"{kind}.requests" for kind in kinds}
    peer_files = {kind: world.files / f"peer-{kind}.requests" for kind in kinds}
    ours_by_id = [(task, token(user)) for task, user in world.task_ids()]
    peer_by_id = world.db.execute(
        "SELECT t.id::text, 'bga_' || u.name FROM peer_tasks t JOIN peer_users u ON u.id = t.user_id"
    ).fetchall()
    for kind in kinds:
        for path, tasks in ((files[kind], ours_by_id), (peer_files[kind], peer_by_id)):
            path.write_text("".join(f"GET /v1/tasks/{task}/{kind} {key}\n" for task, key in tasks))
    peer_port = free_port()
    ours = {kind: Series() for kind in kinds}
    theirs = {kind: Series() for kind in kinds}
    with world.ready("gateway") as gateway, peers.start(world, peer_port) as peer:
        for kind in kinds:
            load.closed(world.gateway_port, files[kind], 1)
            load.closed(peer_port, peer_files[kind], 1)
        for _ in range(settings.rounds):
            for kind in kinds:
                ours[kind].paced.append(load.open_loop(world.gateway_port, files[kind], RATE, settings.seconds))
                ours[kind].flat_out(gateway, world.gateway_port, files[kind], settings.seconds)
                theirs[kind].flat_out(peer, peer_port, peer_files[kind], settings.seconds)
    return [figure for kind in kinds for figure in _figures(f"GET {kind}", ours[kind], theirs[kind])]


def _fill_peer(world: World) -> None:
    world.db.execute(
        f"""
        INSERT INTO peer_tasks (id, user_id, repo, description, last_kind, last_seq, last_at)
            SELECT gen_random_uuid(), u.id, 'bench/repo', 'mend the failing test', 'agent_turn', {EVENTS}, now()
            FROM peer_users u ORDER BY u.id LIMIT {TASKS};
        INSERT INTO peer_events (task_id, seq, kind, metadata)
            SELECT id, s, 'agent_turn', {METADATA} FROM peer_tasks, generate_series(1, {EVENTS}) AS s
        """
    )


def _figures(part: str, ours: Series, theirs: Series) -> list[Figure]:
    ratios = [one / other for one, other in zip(ours.per_core, theirs.per_core, strict=True)]
    rates, peer_rates = [one.rate for one in ours.loads], [one.rate for one in theirs.loads]
    p99 = [one.p99_ms for one in ours.paced]
    return [
        Figure(part, "p50 at 2,000/s", median(one.p50_ms for one in ours.paced), "ms"),
        Figure(part, "p99 at 2,000/s", median(p99), "ms", below(10), samples=p99),
        Figure(part, "flat out", median(rates), "/s", samples=rates),
        Figure(part, "for a second of the gateway's CPU", median(ours.per_core), "", samples=ours.per_core),
        Figure(part, "peer flat out", median(peer_rates), "/s", samples=peer_rates),
        Figure(part, "for a second of the peer's CPU", median(theirs.per_core), "", samples=theirs.per_core),
        Figure(part, "beside the peer, per core", median(ratios), "×", at_least(10), samples=ratios),
    ]
