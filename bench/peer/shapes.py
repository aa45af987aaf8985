"""What the peer takes and answers, checked and written by pydantic."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class NewTask(BaseModel):
    """What a client may ask for."""

    model_config = ConfigDict(extra="forbid")
    repo: str = Field(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")
    task_description: str = Field(min_length=1, max_length=10_000)
    max_turns: int = Field(default=100, ge=1, le=500)


class Named(BaseModel):
    """Something that happened, and how long ago."""

    name: str
    seq: int | None = None
    age_s: int | None


class Status(BaseModel):
    """Where a task stands."""

    task_id: uuid.UUID
    status: str
    repo: str
    issue_number: int | None
    attempt: int
    elapsed_s: int
    turn: int
    max_turns: int
    last_milestone: Named | None
    current_tool: str | None
    waiting_for: dict[str, str] | None
    cost_usd: float
    max_budget_usd: float | None
    queue_position: int | None
    estimated_wait_s: int | None
    pr_url: str | None
    outcome: str | None
    error: dict[str, Any] | None
    last_event: Named | None


class StatusAnswer(BaseModel):
    """The envelope of a status."""

    data: Status


class Event(BaseModel):
    """One entry of a timeline."""

    event_id: int
    task_id: uuid.UUID
    seq: int
    event_type: str
    timestamp: datetime
    attempt: int
    metadata: dict[str, Any]
    user_id: int
    repo: str
    trace_id: str


class Pagination(BaseModel):
    """Whether there is more."""

    next_token: str | None
    has_more: bool


class EventPage(BaseModel):
    """The envelope of a page of events."""

    data: list[Event]
    pagination: Pagination
