"""Made-up series for the alert rules: a healthy platform, and for each alert the one thing that goes wrong.

Values are in promtool's notation, one a minute from minute 0 on; everything is looked at in minute 125.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MINUTES = 130
LOOKED_AT = "125m"
SERVICES = (
    "gateway",
    "policy",
    "relay",
    "orchestrator",
    "fanout",
    "compute-adapter",
    "agent-gateway",
    "reconciler",
)


def steady(value: float) -> str:
    """The same value all the time."""
    return f"{value:g}x{MINUTES}"


def growing(by: float) -> str:
    """A counter that grows by so much a minute."""
    return f"0+{by:g}x{MINUTES}"


def turns(good: float, bad: float) -> str:
    """Good for an hour, then bad."""
    return f"{good:g}x59 {bad:g}x{MINUTES - 60}"


def begins(by: float) -> str:
    """A counter that stands still for an hour and then grows by so much a minute."""
    return f"0x59 {by:g}+{by:g}x{MINUTES - 60}"


def of(service: str) -> str:
    """The labels that Prometheus puts on what it reads from a service."""
    return f'job="bgagent", service="{service}", instance="{service}:9090"'


EVENTS_ROUTE = 'route="/v1/tasks/{task_id}/events"'
TASKS_ROUTE = 'route="/v1/tasks"'


def buckets(route: str) -> tuple[str, ...]:
    """The buckets of a route's time, the lowest first."""
    head = f"bgagent_http_request_seconds_bucket{{{of('gateway')}, {route}"
    return tuple(f'{head}, le="{bound}"}}' for bound in ("0.1", "1", "2.5", "+Inf"))


def answered(service: str, status: int) -> str:
    """The count of a service's answers with a status."""
    return f'bgagent_http_request_seconds_count{{{of(service)}, {TASKS_ROUTE}, status="{status}"}}'


def oldest(status: str) -> str:
    """How long a task has been in a status."""
    return f'bgagent_tasks_oldest_seconds{{{of("reconciler")}, status="{status}"}}'


def event(kind: str) -> str:
    """The count of an event."""
    return f'bgagent_events_total{{{of("fanout")}, type="{kind}"}}'


def waits(channel: str) -> str:
    """Age of a channel's oldest effect."""
    return f'bgagent_effects_oldest_seconds{{{of("reconciler")}, channel="{channel}", state="planned"}}'


def tried(result: str) -> str:
    """The count of tries to notify by Slack."""
    return f'bgagent_deliveries_total{{{of("dispatch-slack")}, channel="slack", result="{result}"}}'


def asked(status: str) -> str:
    """The count of requests to the model by status."""
    return f'bgagent_model_requests_total{{{of("agent-gateway")}, model="m", status="{status}"}}'


def one(name: str, service: str, labels: str = "") -> str:
    """A series of one service."""
    return f"{name}{{{of(service)}{labels and ', ' + labels}}}"


def up(service: str) -> str:
    """Whether a service could be read."""
    return one("up", service)


RECONCILER, ADAPTER, RELAY = "reconciler", "compute-adapter", "relay"
START = one("process_start_time_seconds", "fanout")
MEMORY = one("process_resident_memory_bytes", "fanout")
FILES = one("process_open_fds", "gateway")
READY = one("bgagent_ready", "orchestrator", 'part="postgres"')
POOL = one("bgagent_pool_exhausted_total", "gateway")
CONNECTIONS = one("bgagent_database_connections", RECONCILER)
TRANSACTION = one("bgagent_database_oldest_transaction_seconds", RECONCILER)
LEADER = one("bgagent_leader", RECONCILER)
PLACES = one("bgagent_places", RECONCILER)
SILENT = one("bgagent_nodes", RECONCILER, 'state="silent"')
STRANDED = one("bgagent_stranded_total", RECONCILER, 'result="failed"')
OVERDUE = one("bgagent_timers_overdue_seconds", RECONCILER)
DRIFT = one("bgagent_slot_drift_total", RECONCILER)
STARTS = one("bgagent_sandbox_starts_total", ADAPTER, 'result="failed"')
REFUSED = one("bgagent_git_pushes_total", RECONCILER, 'verdict="refused"')
OUTBOX = one("bgagent_outbox_age_seconds", RECONCILER)
SHARDS = one("bgagent_relay_shards", RELAY)
UNROUTABLE = one("bgagent_relay_unroutable_total", RELAY, 'stream="events"')
DEAD = one("bgagent_dead_letters", RECONCILER, 'consumer="fanout"')
PARKED = one("bgagent_parked_oldest_seconds", RECONCILER, 'consumer="fanout"')
COST = one("bgagent_model_cost_usd_total", "agent-gateway", 'model="m"')
BUILD = one("bgagent_build_info", "fanout", 'version="0.1.0", schema="5"')


def healthy() -> dict[str, str]:
    """A platform at work with which nothing is wrong; now and then a task fails or the model is busy."""
    series = {up(service): steady(1) for service in (*SERVICES, "dispatch-slack")}
    # The policy service knows no schema and tells no build.
    builds = [service for service in SERVICES if service != "policy"]
    series |= {one("bgagent_build_info", s, 'version="0.1.0", schema="5"'): steady(1) for s in builds}
    series |= {
        START: steady(1000),
        MEMORY: steady(30e6),
        FILES: steady(40),
        one("process_max_fds", "gateway"): steady(1024),
        READY: steady(1),
        POOL: steady(0),
        CONNECTIONS: steady(40),
        one("bgagent_database_max_connections", RECONCILER): steady(100),
        TRANSACTION: steady(2),
        LEADER: steady(1),
        one("bgagent_leader", "reconciler-2"): steady(0),
        PLACES: steady(8),
        SILENT: steady(0),
        STRANDED: steady(0),
        one("bgagent_stranded_total", RECONCILER, 'result="revived"'): growing(1),
        OVERDUE: steady(0.5),
        DRIFT: steady(0),
        STARTS: turns(0, 1),
        REFUSED: growing(0.1),
        OUTBOX: steady(0.2),
        SHARDS: steady(8),
        UNROUTABLE: steady(0),
        DEAD: steady(0),
        PARKED: steady(5),
        COST: growing(0.1),
        asked("200"): growing(30),
        asked("429"): growing(2),
        asked("401"): steady(0),
        tried("sent"): growing(5),
        tried("retry"): growing(1),
        tried("dead"): steady(0),
        waits("slack"): steady(20),
        waits("forge"): steady(3),
        answered("gateway", 200): growing(60),
        answered("gateway", 404): growing(30),
        answered("gateway", 500): growing(0.5),
        event("task_completed"): growing(1),
        event("task_failed"): growing(0.5),
        event("task_stranded"): steady(0),
        event("attempt_lost"): turns(0, 2),
    }
    ages = {"SUBMITTED": 0.5, "QUEUED": 900, "HYDRATING": 30, "RUNNING": 20_000, "FINALIZING": 10}
    series |= {oldest(status): steady(age) for status, age in ages.items()}
    series |= dict(
        zip(buckets(TASKS_ROUTE), (growing(59.9), growing(60), growing(60), growing(60)), strict=True)
    )
    # Long polls end when they end.
    return series | dict(
        zip(buckets(EVENTS_ROUTE), (steady(0), steady(0), growing(1), growing(60)), strict=True)
    )


@dataclass(frozen=True)
class Case:
    """What goes wrong, and which alerts fire then: these and no others."""

    alerts: tuple[str, ...]
    wrong: dict[str, str]


def cases() -> Iterator[tuple[str, Case]]:
    """Every case under the name that its test gets."""
    for service in SERVICES:
        yield f"no {service}", Case(("BgagentServiceMissing",), {up(service): f"1x59 _x{MINUTES}"})
    yield from WRONG.items()


SLOW = dict(zip(buckets(TASKS_ROUTE), (steady(0), growing(50), growing(60), growing(60)), strict=True))
WRONG = {
    "the only fanout does not answer": Case(
        ("BgagentServiceMissing", "BgagentReplicaDown"), {up("fanout"): turns(1, 0)}
    ),
    "one of two does not answer": Case(
        ("BgagentReplicaDown",), {'up{job="bgagent", service="fanout", instance="second"}': turns(1, 0)}
    ),
    "not ready": Case(("BgagentNotReady",), {READY: turns(1, 0)}),
    "restarts": Case(("BgagentRestarts",), {START: f"1000+20x{MINUTES}"}),
    "memory": Case(("BgagentMemory",), {MEMORY: turns(30e6, 300e6)}),
    "descriptors": Case(("BgagentDescriptors",), {FILES: turns(40, 900)}),
    "two builds": Case(
        ("BgagentVersionsDiffer",),
        {BUILD: f"1x9 _x{MINUTES}", BUILD.replace("0.1.0", "0.2.0"): f"_x9 1x{MINUTES}"},
    ),
    "errors": Case(("BgagentHTTPErrors",), {answered("gateway", 500): begins(10)}),
    "slow": Case(("BgagentHTTPSlow",), SLOW),
    "pool": Case(("BgagentPoolExhausted",), {POOL: begins(3)}),
    "connections": Case(("BgagentDatabaseConnections",), {CONNECTIONS: turns(40, 95)}),
    "transaction": Case(("BgagentLongTransaction",), {TRANSACTION: turns(2, 4000)}),
    "the leader stands by": Case(("BgagentNobodyLeads",), {LEADER: turns(1, 0)}),
    "the leaders are gone": Case(
        ("BgagentNobodyLeads",),
        {LEADER: f"1x59 _x{MINUTES}", one("bgagent_leader", "reconciler-2"): f"0x59 _x{MINUTES}"},
    ),
    "admission": Case(("BgagentAdmissionStuck",), {oldest("SUBMITTED"): turns(0.5, 120)}),
    "places": Case(("BgagentNoPlaces",), {PLACES: turns(8, 0)}),
    "node": Case(("BgagentNodeSilent",), {SILENT: turns(0, 1)}),
    "queue": Case(("BgagentQueueOld",), {oldest("QUEUED"): turns(900, 4000)}),
    "start": Case(("BgagentStartSlow",), {oldest("HYDRATING"): turns(30, 700)}),
    "finish": Case(("BgagentFinishSlow",), {oldest("FINALIZING"): turns(10, 700)}),
    "failing": Case(("BgagentTasksFailing",), {event("task_failed"): begins(2)}),
    "attempts": Case(("BgagentAttemptsLost",), {event("attempt_lost"): begins(0.5)}),
    "stranded": Case(("BgagentStranded",), {STRANDED: turns(0, 1).replace("x59", "x100")}),
    "timers": Case(("BgagentTimersLate",), {OVERDUE: turns(0.5, 90)}),
    "drift": Case(("BgagentSlotDrift",), {DRIFT: turns(0, 1).replace("x59", "x100")}),
    "sandboxes": Case(("BgagentSandboxStarts",), {STARTS: begins(1)}),
    "pushes": Case(("BgagentPushesRefused",), {REFUSED: begins(1)}),
    "outbox": Case(("BgagentOutboxOld",), {OUTBOX: turns(0.2, 45)}),
    "shards": Case(("BgagentShardsUnowned",), {SHARDS: turns(8, 5)}),
    "unroutable": Case(("BgagentUnroutable",), {UNROUTABLE: begins(60)}),
    "dead letter": Case(("BgagentDeadLetters",), {DEAD: turns(0, 1)}),
    "parked": Case(("BgagentParkedOld",), {PARKED: turns(5, 400)}),
    "channel": Case(("BgagentChannelLate",), {waits("slack"): turns(20, 400)}),
    "pull request": Case(("BgagentPullRequestLate",), {waits("forge"): turns(3, 400)}),
    "given up": Case(("BgagentDeliveriesDead",), {tried("dead"): begins(1)}),
    "retries": Case(("BgagentDeliveriesFailing",), {tried("retry"): begins(10)}),
    "key": Case(("BgagentModelRefusesKey",), {asked("401"): begins(1)}),
    "model": Case(("BgagentModelErrors",), {asked("429"): begins(20)}),
    "spend": Case(("BgagentModelSpend",), {COST: growing(2)}),
}
