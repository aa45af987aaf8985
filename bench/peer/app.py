"""The peer: the same job the usual way, with FastAPI, asyncpg and aio-pika in one process.

    POST /v1/tasks               token looked up; task, event and outbox row in one transaction; 201
    GET  /v1/tasks/{id}/status   token and task in one query
    GET  /v1/tasks/{id}/events   token and task, then a page of events
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
from typing import Any

import aio_pika
import asyncpg
from fastapi import FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

SCHEMA = """
CREATE TABLE IF NOT EXISTS peer_users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE NOT NULL, token_hash text UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS peer_tasks (
    id uuid PRIMARY KEY, user_id bigint NOT NULL REFERENCES peer_users, repo text NOT NULL, description text NOT NULL,
    status text NOT NULL DEFAULT 'SUBMITTED', turn int NOT NULL DEFAULT 0, max_turns int NOT NULL DEFAULT 100,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS peer_tasks_by_user ON peer_tasks (user_id, created_at);
CREATE TABLE IF NOT EXISTS peer_events (
    id bigint GENERATED ALWAYS AS IDENTITY, task_id uuid NOT NULL, seq bigint NOT NULL, kind text NOT NULL,
    metadata jsonb NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (task_id, seq));
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


class NewTask(BaseModel):
    """What a client may ask for."""

    model_config = ConfigDict(extra="forbid")
    repo: str = Field(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")
    task_description: str = Field(min_length=1, max_length=10_000)
    max_turns: int = Field(default=100, ge=1, le=500)


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
        user = await connection.fetchval("SELECT id FROM peer_users WHERE token_hash = $1", hashed)
        if user is None:
            raise HTTPException(401, "UNAUTHORIZED")
        async with connection.transaction():
            row = await connection.fetchrow(
                "INSERT INTO peer_tasks (id, user_id, repo, description, max_turns) VALUES ($1, $2, $3, $4, $5) "
                "RETURNING status, created_at",
                *(task_id, user, task.repo, task.task_description, task.max_turns),
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


@app.get("/v1/tasks/{task_id}/status")
async def status(task_id: uuid.UUID, request: Request, authorization: str = Header("")) -> dict[str, Any]:
    """Where a task stands."""
    row = await request.app.state.pool.fetchrow(
        "SELECT t.status, t.repo, t.turn, t.max_turns, t.created_at, t.updated_at FROM peer_users u "
        "JOIN peer_tasks t ON t.user_id = u.id WHERE u.token_hash = $1 AND t.id = $2",
        *(token_hash(authorization), task_id),
    )
    if row is None:
        raise HTTPException(404, "TASK_NOT_FOUND")
    return {"data": {"task_id": str(task_id), **dict(row)}}


@app.get("/v1/tasks/{task_id}/events")
async def events(
    task_id: uuid.UUID, request: Request, after: int = 0, limit: int = 50, authorization: str = Header("")
) -> dict[str, Any]:
    """A page of a task's events."""
    async with request.app.state.pool.acquire() as connection:
        known = await connection.fetchval(
            "SELECT 1 FROM peer_users u JOIN peer_tasks t ON t.user_id = u.id WHERE u.token_hash = $1 AND t.id = $2",
            *(token_hash(authorization), task_id),
        )
        if known is None:
            raise HTTPException(404, "TASK_NOT_FOUND")
        rows = await connection.fetch(
            "SELECT seq, kind, at, metadata FROM peer_events WHERE task_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
            *(task_id, after, limit + 1),
        )
    page = [
        {
            "task_id": str(task_id),
            "seq": row["seq"],
            "event_type": row["kind"],
            "timestamp": row["at"],
            "metadata": json.loads(row["metadata"]),
        }
        for row in rows[:limit]
    ]
    return {"data": page, "pagination": {"has_more": len(rows) > limit}}
