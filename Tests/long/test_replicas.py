"""Replicas of fanout, killed and frozen, and of a dispatcher, killed, again and again while Slack is slow or
fails: every event is decided on once and in order, every message comes once and in order.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from rehearsal import client
from Tests.system.waiting import until
from Tests.system.world import Stack

SEED = os.environ.get("BGAGENT_TEST_SEED") or secrets.token_hex(4)
REPO = "acme/storm"
TASKS, ROUNDS = 500, 20
# Of five events one is told; the others are the agent's own stream.
TOLD = 5
REPLICAS = tuple(
    f"{service}{number}" for service in ("fanout", "dispatch-slack") for number in ("", ".2", ".3")
)
# A frozen one is taken for gone after fifteen seconds; the rest is the machine's.
ROUND_WITHIN, END_WITHIN = 90.0, 300.0
METADATA = json.dumps({"error_type": "storm", "message_preview": "the tests are red", "tool_name": "Bash"})


@pytest.fixture
def stack() -> Iterator[Stack]:
    """What decides on events and what sends messages, three of each; Slack has a channel for each task."""
    made = Stack(
        "replicas", BGAGENT_RATE_PER_USER="0", BGAGENT_RATE_PER_ADDRESS="0", BGAGENT_MAX_QUEUED_PER_USER="0"
    )
    try:
        made.up("gateway", "relay", *REPLICAS)
        channels = [{"id": channel(number)} for number in range(TASKS)]
        client.call(made.urls["SLACK"], "/__seed", {"channels": channels})
        yield made
    except BaseException:
        made.failed = True
        raise
    finally:
        made.close()


def channel(number: int) -> str:
    """Where a task's messages go."""
    return f"C0STORM{number:04}"


def submit(stack: Stack, number: int) -> None:
    """A task that nobody starts: what happens to it is appended here."""
    body = {
        "repo": REPO,
        "task_description": f"task {number} of the storm",
        "notifications": {"slack": {"channel": channel(number)}},
    }
    order = urllib.request.Request(
        stack.exports["BGAGENT_API_URL"] + "/v1/tasks",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {stack.token('')}"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(order, timeout=30) as answer:
        assert answer.status == 201


def open_events(stack: Stack) -> int:
    """Events that fanout has not decided on."""
    return int(
        stack.rows(
            "SELECT (SELECT sum(seq) FROM task_heads) - (SELECT coalesce(sum(last_seq), 0) "
            "FROM consumer_positions WHERE consumer = 'fanout') AS open"
        )[0]["open"]
    )


class Chaos:
    """What goes wrong, by a seed."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.chance = stack, random.Random(SEED)
        self.frozen: list[int] = []
        self.done: dict[str, int] = defaultdict(int)

    def strike(self) -> None:
        """A replica is killed, or frozen for two rounds; Slack is slow, refuses or hangs up."""
        victim = self.chance.choice(REPLICAS)
        # A dispatcher that is frozen between its last look at its claim and its send cannot know that it is
        # too late when it wakes: nothing at Slack refuses what it sends then. So they are killed.
        freezes = victim.startswith("fanout") and self.chance.random() < 0.6
        if freezes and (pid := self.stack.pid(victim)) is not None:
            os.kill(pid, signal.SIGSTOP)
            self.frozen.append(pid)
            self.done["frozen"] += 1
        else:
            self.stack.kill(victim)
            self.done["killed"] += 1
        for action in self.chance.sample(("status", "drop", "late_commit", "slow"), 3):
            order: dict[str, Any] = {"times": self.chance.randint(1, 10), "skip": self.chance.randint(0, 40)}
            if action == "status":
                order |= self.chance.choice(
                    ({"status": 503}, {"status": 429, "headers": {"Retry-After": "1"}})
                )
            elif action == "slow":
                # Less than a send in doubt is left alone before it is looked up: 2 s here, 30 s as shipped.
                order["delay"] = self.chance.uniform(0.2, 1.2)
            self.stack.fault("SLACK", action, {"path_regex": "chat.postMessage"}, **order)

    def thaw(self) -> None:
        """Whoever was frozen goes on where it was."""
        while self.frozen:
            with suppress(ProcessLookupError):
                os.kill(self.frozen.pop(), signal.SIGCONT)


def test_replicas_that_die_and_freeze_lose_and_double_nothing_before_a_slack_that_fails(
    stack: Stack,
) -> None:
    print(f"BGAGENT_TEST_SEED={SEED}")
    stack.onboard(REPO)
    for number in range(TASKS):
        submit(stack, number)
    chaos = Chaos(stack)
    try:
        with psycopg.connect(stack.exports["BGAGENT_POSTGRES_URL"], autocommit=True) as writer:
            for turn in range(1, ROUNDS + 1):
                kind = "agent_error" if turn % TOLD == 0 else "agent_tool_call"
                writer.execute(
                    "SELECT append_event(task_id, 1, %s, %s::jsonb) FROM tasks ORDER BY task_id",
                    (kind, METADATA),
                )
                chaos.strike()
                until(
                    f"the events of round {turn} are decided on",
                    lambda: open_events(stack) == 0,
                    ROUND_WITHIN,
                )
                if turn % 2 == 0:
                    chaos.thaw()
    finally:
        chaos.thaw()
    stack.calm()
    print(f"seed {SEED}: {dict(chaos.done)}")
    until("every message is sent", lambda: not waiting(stack), END_WITHIN)
    whole(stack)


def waiting(stack: Stack) -> int:
    """Messages that are planned, under way or in doubt."""
    query = "SELECT count(*) AS n FROM effects WHERE state IN ('planned', 'sending', 'unknown')"
    return int(stack.rows(query)[0]["n"])


def whole(stack: Stack) -> None:
    """Each event decided on once, each message in Slack once, in the order of its task's events."""
    assert stack.rows("SELECT count(*) AS n FROM dead_letters")[0]["n"] == 0
    assert stack.rows("SELECT count(*) AS n FROM parked_messages")[0]["n"] == 0
    assert stack.rows("SELECT min(seq), max(seq), count(*) FROM task_heads") == [
        {"min": ROUNDS + 1, "max": ROUNDS + 1, "count": TASKS}
    ]
    planned = stack.rows("SELECT effect_id, task_id, event_seq, event_type, state FROM effects")
    told = [one for one in planned if one["event_type"] == "agent_error"]
    assert len({(one["task_id"], one["event_seq"]) for one in told}) == len(told) == TASKS * ROUNDS // TOLD
    assert {one["state"] for one in told} == {"sent"}
    # What something newer said in its place is not sent at all.
    assert {one["state"] for one in planned} <= {"sent", "superseded"}
    seqs = {one["effect_id"]: int(one["event_seq"]) for one in planned if one["state"] == "sent"}
    came: dict[str, list[str]] = defaultdict(list)
    for message in client.state(stack.urls["SLACK"])["messages"]:
        came[message["channel"]].append(message["metadata"]["event_payload"]["effect_id"])
    arrived = [effect for effects in came.values() for effect in effects]
    assert sorted(arrived) == sorted(seqs)
    for effects in came.values():
        assert [seqs[one] for one in effects] == sorted(seqs[one] for one in effects)
