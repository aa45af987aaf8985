"""All the tasks of the crowd together: slots, fairness, and nothing left over."""

from __future__ import annotations

import re
from collections import Counter

from Tests.system.jobs import Job
from Tests.system.judge import clean
from Tests.system.world import CAPACITY, USER_SLOTS, Stack

SESSION_TOKEN = re.compile(r"\bbg[hgm]_[A-Za-z0-9_-]{20,}")
SPANS = """
SELECT t.user_id, t.task_id, e.timestamp AS at, e.event_type = 'hydration_started' AS takes
FROM task_events e JOIN tasks t USING (task_id)
WHERE e.event_type IN ('hydration_started', 'attempt_lost', 'task_completed', 'task_failed', 'task_cancelled',
    'task_timed_out', 'task_stranded')
ORDER BY e.timestamp, e.seq
"""


def test_ten_tasks_of_three_people_keep_to_their_slots(stack: Stack, crowd: dict[str, Job]) -> None:
    for job in crowd.values():
        job.end()
    held: dict[str, str] = {}
    most = Counter[str]()
    busiest = 0
    for row in stack.rows(SPANS):
        if row["takes"]:
            held[row["task_id"]] = row["user_id"]
        else:
            held.pop(row["task_id"], None)
        for user, count in Counter(held.values()).items():
            most[user] = max(most[user], count)
        busiest = max(busiest, len(held))
    assert len(crowd) < 10 or len(most) >= 3
    assert max(most.values()) <= USER_SLOTS, most
    assert busiest <= CAPACITY


def test_no_secret_is_in_logs_or_events(stack: Stack, crowd: dict[str, Job]) -> None:
    for job in crowd.values():
        job.end()
    secrets = [
        stack.exports["BGAGENT_REHEARSAL_TOKEN"],
        stack.exports["BGAGENT_TOKEN"],
        *stack.tokens.values(),
    ]
    run = stack.link.resolve()
    logs = [*run.glob("log/*.log"), *run.glob("data/**/log")]
    assert len(logs) > len(crowd)
    for log in logs:
        text = log.read_text(errors="replace")
        assert not any(secret in text for secret in secrets), log
        assert not SESSION_TOKEN.search(text), log
    for table in ("task_events", "task_commands", "effects", "sessions", "audit_log"):
        for row in stack.rows(f"SELECT r::text AS text FROM {table} r"):
            assert not any(secret in row["text"] for secret in secrets), table
            assert not SESSION_TOKEN.search(row["text"]), table


def test_nothing_is_left_over_when_all_have_ended(stack: Stack, crowd: dict[str, Job]) -> None:
    for job in crowd.values():
        job.end()
    clean(stack)
    stack.calm()
