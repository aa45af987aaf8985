"""What the platform's database says after a run, read in one snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]

QUERIES = {
    "tasks": "SELECT * FROM tasks ORDER BY task_id",
    "heads": "SELECT task_id, seq, command_seq FROM task_heads",
    "events": "SELECT task_id, seq, event_id, event_type, metadata FROM task_events ORDER BY task_id, seq",
    "commands": "SELECT task_id, seq FROM task_commands ORDER BY task_id, seq",
    "effects": "SELECT * FROM effects ORDER BY position",
    "user_slots": "SELECT user_id AS key, running FROM user_concurrency",
    "repo_slots": "SELECT repo AS key, running FROM repo_concurrency",
    "outbox": "SELECT stream, task_id, type FROM outbox",
    "parked": "SELECT consumer, task_id, seq, reason FROM parked_messages",
    "dead_letters": "SELECT queue, task_id, reason FROM dead_letters WHERE state = 'open'",
    "timers": "SELECT task_id, kind FROM timers",
    "sessions": """SELECT task_id, attempt, state,
        num_nonnulls(harness_token_hash, git_token_hash, model_token_hash) AS tokens FROM sessions""",
}


@dataclass
class Ledger:
    """Rows by table; what belongs to one task is found by its id."""

    tables: dict[str, list[Row]] = field(default_factory=dict)

    @classmethod
    def read(cls, url: str) -> Ledger:
        """Reads everything at one instant."""
        with psycopg.connect(url, row_factory=dict_row) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            return cls({name: connection.execute(query).fetchall() for name, query in QUERIES.items()})

    def __getitem__(self, table: str) -> list[Row]:
        return self.tables[table]

    def of(self, task_id: str, table: str) -> list[Row]:
        """A task's rows in their order."""
        return [row for row in self.tables[table] if row["task_id"] == task_id]
