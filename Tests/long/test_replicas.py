"""Three replicas of fanout and of a dispatcher, killed and frozen again and again, while Slack is slow and
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
def replicas() -> Iterator[Stack]:
    """What decides on events and what sends messages, three of each; Slack has a channel for each task."""
    stack = Stack(
        "replicas", BGAGENT_RATE_PER_USER="0", BGAGENT_RATE_PER_ADDRESS="0", BGAGENT_MAX_QUEUED_PER_USER="0"
    )
    try:
        stack.up("gateway", "relay", *REPLICAS)
        channels = [{"id": channel(number)} for number in range(TASKS)]
        client.call(stack.urls["SLACK"], "/__seed", {"channels": channels})
        yield stack
    except BaseException:
        stack.failed = True
        raise
    finally:
        stack.close()


def channel(number: int) -> str:
    """Where a task's messages go."""
    return f"C{number:05}"


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
        """A replica is killed, or frozen for two rounds; Slack is slow, refuses, hangs up, answers late."""
        victim = self.chance.choice(REPLICAS)
        if self.chance.random() < 0.4 and (pid := self.stack.pid(victim)) is not None:
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
                order["delay"] = self.chance.uniform(0.5, 4)
            self.stack.fault("SLACK", action, {"path_regex": "chat.postMessage"}, **order)

    def thaw(self) -> None:
        """Whoever was frozen goes on where it was."""
        while self.frozen:
            with suppress(ProcessLookupError):
                os.kill(self.frozen.pop(), signal.SIGCONT)


def test_replicas_that_die_and_freeze_lose_and_double_nothing_before_a_slack_that_fails(
    replicas: Stack,
) -> None:
    print(f"BGAGENT_TEST_SEED={SEED}")
    stack = replicas
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
    until(
        "every message is sent",
        lambda: stack.rows("SELECT count(*) AS n FROM effects WHERE state <> 'sent'")[0]["n"] == 0,
        END_WITHIN,
    )
    whole(stack)


def whole(stack: Stack) -> None:
    """Each event decided on once, each message in Slack once, in the order of its task's events."""
    assert stack.rows("SELECT count(*) AS n FROM dead_letters")[0]["n"] == 0
    assert stack.rows("SELECT count(*) AS n FROM parked_messages")[0]["n"] == 0
    assert stack.rows("SELECT min(seq), max(seq), count(*) FROM task_heads") == [
        {"min": ROUNDS + 1, "max": ROUNDS + 1, "count": TASKS}
    ]
    planned = stack.rows("SELECT effect_id, task_id, event_seq, event_type, target FROM effects")
    told = [one for one in planned if one["event_type"] == "agent_error"]
    assert len({(one["task_id"], one["event_seq"]) for one in told}) == len(told) == TASKS * ROUNDS // TOLD
    seqs = {one["effect_id"]: int(one["event_seq"]) for one in planned}
    came: dict[str, list[str]] = defaultdict(list)
    for message in client.state(stack.urls["SLACK"])["messages"]:
        came[message["channel"]].append(message["metadata"]["event_payload"]["effect_id"])
    arrived = [effect for effects in came.values() for effect in effects]
    assert sorted(arrived) == sorted(seqs)
    for effects in came.values():
        assert [seqs[one] for one in effects] == sorted(seqs[one] for one in effects)
