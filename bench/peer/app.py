"""The peer: the same job the usual way, with FastAPI, asyncpg and aio-pika in one process.

    POST /v1/tasks               token, repository and waiting tasks in one query; task, event and outbox row in one
                                 transaction; 201
    GET  /v1/tasks/{id}/status   token, permission, task and its place in the queue in one query
    GET  /v1/tasks/{id}/events   token, permission and task, then a page of events

It answers with the members that ours answers with, and asks who may see a task as ours does.
    GET  /ready

A task of the process drains the outbox into RabbitMQ, in batches, persistent and confirmed. PEER_POSTGRES_URL and
PEER_AMQP_URL name its servers. Run with uvicorn, uvloop and httptools, without an access log.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aio_pika
import asyncpg
from fastapi import FastAPI, Header, HTTPException, Request

from bench.peer.shapes import Event, EventPage, Named, NewTask, Pagination, Status, StatusAnswer

SCHEMA = """
CREATE TABLE IF NOT EXISTS peer_users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE NOT NULL, token_hash text UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS peer_repos (repo text PRIMARY KEY, access text NOT NULL DEFAULT 'open');
INSERT INTO peer_repos (repo) VALUES ('bench/repo') ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS peer_grants (
    user_id bigint NOT NULL REFERENCES peer_users, repo text NOT NULL REFERENCES peer_repos, level text NOT NULL,
    PRIMARY KEY (user_id, repo));
CREATE TABLE IF NOT EXISTS peer_tasks (
    id uuid PRIMARY KEY, user_id bigint NOT NULL REFERENCES peer_users, repo text NOT NULL REFERENCES peer_repos,
    description text NOT NULL, issue_number int, trace_id text NOT NULL DEFAULT md5(random()::text),
    status text NOT NULL DEFAULT 'SUBMITTED', attempt int NOT NULL DEFAULT 1, turn int NOT NULL DEFAULT 0,
    max_turns int NOT NULL DEFAULT 100, cost_usd numeric(12, 6) NOT NULL DEFAULT 0, max_budget_usd numeric(12, 6),
    current_tool text, milestone text, milestone_at timestamptz, wake_kind text, wake_detail text, pr_url text,
    outcome text, error jsonb, last_kind text, last_seq bigint, last_at timestamptz, started_at timestamptz,
    completed_at timestamptz, created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS peer_tasks_by_user ON peer_tasks (user_id, created_at);
CREATE TABLE IF NOT EXISTS peer_events (
    id bigint GENERATED ALWAYS AS IDENTITY, task_id uuid NOT NULL, seq bigint NOT NULL, kind text NOT NULL,
    metadata jsonb NOT NULL, attempt int NOT NULL DEFAULT 1, at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, seq));
CREATE TABLE IF NOT EXISTS peer_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL, body jsonb NOT NULL);
"""
DRAIN = """
WITH gone AS (
    DELETE FROM peer_outbox WHERE id IN (
        SELECT id FROM peer_outbox ORDER BY id LIMIT 200 FOR UPDATE SKIP LOCKED)
    RETURNING id, key, body)
SELECT id, key, body FROM gone ORDER BY id
"""


ACCOUNT = """
SELECT u.id, EXISTS (SELECT FROM peer_repos r WHERE r.repo = $2) AS onboarded,
    (SELECT count(*) FROM peer_tasks w WHERE w.user_id = u.id AND w.status IN ('SUBMITTED', 'QUEUED')) AS waiting
FROM peer_users u WHERE u.token_hash = $1
"""
SEEN = """
FROM peer_users u JOIN peer_tasks t ON t.id = $2 JOIN peer_repos r ON r.repo = t.repo
LEFT JOIN peer_grants g ON g.user_id = u.id AND g.repo = t.repo
WHERE u.token_hash = $1 AND (g.level IS NOT NULL OR (t.user_id = u.id AND r.access = 'open'))
"""
STATUS = (
    """
SELECT t.*, clock_timestamp() AS read_at,
    CASE WHEN t.status IN ('SUBMITTED', 'QUEUED') THEN (SELECT count(*) FROM peer_tasks w
        WHERE w.user_id = t.user_id AND w.status IN ('SUBMITTED', 'QUEUED')
            AND (w.created_at, w.id) <= (t.created_at, t.id)) END AS queue_position
"""
    + SEEN
)
SLOTS = 3


class Outbox:
    """Carries what was committed to the broker."""

    def __init__(self, pool: Any, exchange: Any) -> None:
        self._pool, self._exchange = pool, exchange
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Drains for ever; a batch leaves the table when the broker has confirmed it."""
        async with self._pool.acquire() as connection:
            while True:
                async with connection.transaction():
                    rows = await connection.fetch(DRAIN)
                    await asyncio.gather(*(self._publish(row["key"], row["body"]) for row in rows))
                if not rows:
                    self.wake.clear()
                    try:
                        await asyncio.wait_for(self.wake.wait(), 0.2)
                    except TimeoutError:
                        continue

    async def _publish(self, key: str, body: str) -> None:
        message = aio_pika.Message(
            body.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT, content_type="application/json"
        )
        await self._exchange.publish(message, key)


@asynccontextmanager
async def life(app: FastAPI) -> AsyncIterator[None]:
    """Pool, broker and the drain, for as long as the process serves."""
    pool = await asyncpg.create_pool(os.environ["PEER_POSTGRES_URL"], min_size=8, max_size=8)
    broker = await aio_pika.connect_robust(os.environ["PEER_AMQP_URL"])
    channel = await broker.channel(publisher_confirms=True)
    exchange = await channel.declare_exchange("peer.events", aio_pika.ExchangeType.TOPIC, durable=True)
    queue = await channel.declare_queue("peer.events", durable=True, arguments={"x-queue-type": "quorum"})
    await queue.bind(exchange, "task.#")
    app.state.pool, app.state.outbox = pool, Outbox(pool, exchange)
    drain = asyncio.create_task(app.state.outbox.run())
    yield
    drain.cancel()
    await broker.close()
    await pool.close()


app = FastAPI(lifespan=life)


def token_hash(authorization: str) -> str:
    """The hash of the bearer token; 401 without one."""
    kind, _, value = authorization.partition(" ")
    if kind.lower() != "bearer" or not value:
        raise HTTPException(401, "UNAUTHORIZED")
    return hashlib.sha256(value.encode()).hexdigest()


@app.get("/ready")
async def ready() -> dict[str, str]:
    """That it serves."""
    return {"status": "ok"}


@app.post("/v1/tasks", status_code=201)
async def create(task: NewTask, request: Request, authorization: str = Header("")) -> dict[str, Any]:
    """Takes a task."""
    hashed = token_hash(authorization)
    task_id = uuid.uuid4()
    metadata = json.dumps({"repo": task.repo, "channel_source": "api"})
    body = json.dumps({"task_id": str(task_id), "seq": 1, "event_type": "task_created", "repo": task.repo})
    async with request.app.state.pool.acquire() as connection:
        account = await connection.fetchrow(ACCOUNT, hashed, task.repo)
        if account is None:
            raise HTTPException(401, "UNAUTHORIZED")
        if not account["onboarded"]:
            raise HTTPException(422, "REPO_NOT_ONBOARDED")
        async with connection.transaction():
            row = await connection.fetchrow(
                "INSERT INTO peer_tasks (id, user_id, repo, description, max_turns) VALUES ($1, $2, $3, $4, $5) "
                "RETURNING status, created_at",
                *(task_id, account["id"], task.repo, task.task_description, task.max_turns),
            )
            await connection.execute(
                "INSERT INTO peer_events (task_id, seq, kind, metadata) VALUES ($1, 1, 'task_created', $2)",
                *(task_id, metadata),
            )
            await connection.execute(
                "INSERT INTO peer_outbox (key, body) VALUES ($1, $2)", f"task.{task_id}.task_created", body
            )
    request.app.state.outbox.wake.set()
    return {
        "data": {
            "task_id": str(task_id),
            "status": row["status"],
            "repo": task.repo,
            "task_description": task.task_description,
            "max_turns": task.max_turns,
            "created_at": row["created_at"],
        }
    }


def age(since: datetime | None, now: datetime) -> int | None:
    """Whole seconds."""
    return None if since is None else max(int((now - since).total_seconds()), 0)


def waits_for(row: asyncpg.Record) -> dict[str, str] | None:
    """What the task waits for, when it does."""
    match row["status"]:
        case "SUBMITTED":
            return {"kind": "admission", "detail": "admission"}
        case "QUEUED":
            return {"kind": "slot", "detail": "a free slot"}
        case "PARKED":
            return {"kind": row["wake_kind"] or "wake", "detail": row["wake_detail"] or ""}
        case _:
            return None


@app.get("/v1/tasks/{task_id}/status")
async def status(task_id: uuid.UUID, request: Request, authorization: str = Header("")) -> StatusAnswer:
    """Where a task stands."""
    row = await request.app.state.pool.fetchrow(STATUS, token_hash(authorization), task_id)
    if row is None:
        raise HTTPException(404, "TASK_NOT_FOUND")
    now, position = row["read_at"], row["queue_position"]
    milestone, last = row["milestone"], row["last_kind"]
    return StatusAnswer(
        data=Status(
            task_id=task_id,
            status=row["status"],
            repo=row["repo"],
            issue_number=row["issue_number"],
            attempt=row["attempt"],
            elapsed_s=age(row["started_at"] or row["created_at"], row["completed_at"] or now) or 0,
            turn=row["turn"],
            max_turns=row["max_turns"],
            last_milestone=Named(name=milestone, age_s=age(row["milestone_at"], now)) if milestone else None,
            current_tool=row["current_tool"],
            waiting_for=waits_for(row),
            cost_usd=row["cost_usd"],
            max_budget_usd=row["max_budget_usd"],
            queue_position=position,
            estimated_wait_s=(position + SLOTS - 1) // SLOTS * 600 if position else None,
            pr_url=row["pr_url"],
            outcome=row["outcome"],
            error=json.loads(row["error"]) if row["error"] else None,
            last_event=Named(name=last, seq=row["last_seq"], age_s=age(row["last_at"], now)) if last else None,
        )
    )


@app.get("/v1/tasks/{task_id}/events")
async def events(
    task_id: uuid.UUID, request: Request, after: int = 0, limit: int = 50, authorization: str = Header("")
) -> EventPage:
    """A page of a task's events."""
    async with request.app.state.pool.acquire() as connection:
        task = await connection.fetchrow(
            "SELECT t.user_id, t.repo, t.trace_id" + SEEN, token_hash(authorization), task_id
        )
        if task is None:
            raise HTTPException(404, "TASK_NOT_FOUND")
        rows = await connection.fetch(
            "SELECT id, seq, kind, at, attempt, metadata FROM peer_events WHERE task_id = $1 AND seq > $2 "
            "ORDER BY seq LIMIT $3",
            *(task_id, after, limit + 1),
        )
    page = [
        Event(
            event_id=row["id"],
            task_id=task_id,
            seq=row["seq"],
            event_type=row["kind"],
            timestamp=row["at"],
            attempt=row["attempt"],
            metadata=json.loads(row["metadata"]),
            user_id=task["user_id"],
            repo=task["repo"],
            trace_id=task["trace_id"],
        )
        for row in rows[:limit]
    ]
    more = len(rows) > limit
    next_token = str(page[-1].seq) if more else None
    return EventPage(data=page, pagination=Pagination(next_token=next_token, has_more=more))
