"""A person and a running agent: how soon a word is before the model, a decision lets a tool run, a cancel ends one; and
what one decision of the rules costs. Agents are real, as processes; what they say is scripted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from bench import rehearsed
from bench.processes import Failed
from bench.rehearsed import Rehearsed
from bench.report import Figure, below
from bench.statistics import median, percentile
from bench.world import REPO, ROOT, World, until

NUDGES, GATES, CANCELS = 20, 10, 5
QUICK = 3
SILENT_TURNS = 8
PART = "a person and an agent"
HEARD, SILENT = "I heard that.", "I go on."
# Reads its lines from a file, so that what is timed is the rules and not the start of an interpreter.
DECIDE = """
import json, sys, time
from bgagent_policy import Policies, Request, decide
policies, times = Policies.load(""), []
lines = json.load(sys.stdin)
for line in [*lines[:20], *lines * 3]:
    began = time.perf_counter()
    decide(Request("Bash", {"command": line}, repo="bench/repo"), policies)
    times.append((time.perf_counter() - began) * 1e3)
print(json.dumps(times[20:]))
"""


def measure(world: World) -> list[Figure]:
    """Each with a task of its own."""
    quick = world.settings.quick
    world.db.execute("UPDATE repos SET approval_gates = true")
    with rehearsed.running(world) as place:
        return [
            *_nudges(place, QUICK if quick else NUDGES),
            *_gates(place, QUICK if quick else GATES),
            *_cancels(place, QUICK if quick else CANCELS),
            *_decisions(),
        ]


def _task(place: Rehearsed, name: str, *steps: dict[str, Any]) -> str:
    """A task whose model says these steps over and over, up to its first tool call."""
    script = {"name": name, "repository": REPO, "by_name": True, "repeat": True, "steps": list(steps)}
    rehearsed.order_of(place.model, "/__seed", {"scripts": [script]})
    words = f"Do what is asked.\n\nScript: {name}"
    body = {
        "repo": REPO,
        "task_description": words,
        "max_turns": 500,
    }
    task = str(place.gateway.call("/v1/tasks", body)["task_id"])
    until(f"{name} to be at work", 60, lambda: "agent_tool_call" in _kinds(place, task), 0.1)
    return task


def _kinds(place: Rehearsed, task: str) -> set[str]:
    query = f"SELECT coalesce(json_agg(DISTINCT event_type), '[]')::text FROM task_events WHERE task_id = '{task}'"
    return set(json.loads(place.sql(query)))


def _bash(text: str, command: str) -> dict[str, Any]:
    return {"text": text, "tools": [{"name": "Bash", "input": {"command": command, "description": "Work"}}]}


def _stamps(path: Path) -> list[float]:
    return [int(line) / 1e9 for line in path.read_text().split()] if path.exists() else []


def _cancel(place: Rehearsed, task: str) -> None:
    """Tells a task's agent to stop."""
    place.gateway.call(f"/v1/tasks/{task}", method="DELETE")


def _gone(place: Rehearsed, task: str) -> None:
    until(
        f"task {task} to end",
        60,
        lambda: place.gateway.call(f"/v1/tasks/{task}/status")["status"] == "CANCELLED",
        0.1,
    )


def _requests(place: Rehearsed, since: float) -> list[tuple[float, str]]:
    """When the model was asked, and what it said to that."""
    found = []
    for line in place.journal():
        if line["method"] != "POST" or not str(line["path"]).startswith("/v1/messages"):
            continue
        at = datetime.fromisoformat(line["time"]).timestamp() - float(line["ms"]) / 1000
        text = json.dumps(line.get("message") or {})
        if at >= since:
            found.append((at, text))
    return sorted(found)


def _nudges(place: Rehearsed, count: int) -> list[Figure]:
    """From the later of `accepted` and the running tool's end to the request that holds the words."""
    stamps = place.world.files / "nudge-stamps"
    work = f"sleep 0.3; date +%s%N >> {stamps}"
    heard = _bash(HEARD, work) | {"expect": [{"text_regex": "<user_nudge"}]}
    told = _bash(HEARD, work) | {"expect": [{"tool_result_regex": "<user_nudge"}]}
    task = _task(place, "bench-nudge", {"any": [told, heard, _bash(SILENT, work)]})
    began = time.time()
    # What a request takes when nobody speaks: from now on somebody does nearly always.
    until("some turns without a word", 60, lambda: len(_stamps(stamps)) >= SILENT_TURNS, 0.1)
    accepted = []
    for number in range(count):
        place.gateway.call(f"/v1/tasks/{task}/nudge", {"message": f"word {number}"})
        accepted.append(time.time())
        # Ten a minute reach one task: for people, not for measuring.
        place.world.db.execute("UPDATE task_nudges SET submitted_at = submitted_at - interval '1 minute'")
        until("a nudge to arrive", 30, lambda n=number: _heard(place, began) > n, 0.05)  # type: ignore[misc]
    _cancel(place, task)
    _gone(place, task)
    ends = _stamps(stamps)
    asked = _requests(place, began)
    with_words = [at for at, text in asked if HEARD in text]
    shares = [
        (at - max([said, *(end for end in ends if end <= at)])) * 1000
        for said, at in zip(accepted, with_words, strict=False)
    ]
    without = [
        (at - max(end for end in ends if end <= at)) * 1000
        for at, text in asked
        if SILENT in text and any(began < end <= at for end in ends)
    ]
    extra = [share - median(without) for share in sorted(shares)]
    return [
        Figure(PART, "tool's end → next request, nobody speaking", median(without), "ms", samples=without),
        Figure(PART, "nudge → the model's next request, p50", median(shares), "ms", samples=shares),
        Figure(PART, "nudge → the model's next request, p99", percentile(shares, 0.99), "ms"),
        Figure(PART, "… of it the platform's share, p50", median(extra), "ms", below(100), samples=extra),
        Figure(PART, "… of it the platform's share, p99", percentile(extra, 0.99), "ms", below(100)),
    ]


def _heard(place: Rehearsed, since: float) -> int:
    return sum(HEARD in text for _, text in _requests(place, since))


def _gates(place: Rehearsed, count: int) -> list[Figure]:
    """From the answer to an approval to the tool's first deed."""
    stamps = place.world.files / "gate-stamps"
    # Nobody can know beforehand what this runs, so a person is asked.
    task = _task(place, "bench-gate", _bash("I need leave.", f"date +%s%N >> {stamps}; $NOTHING true"))
    times = []
    for number in range(count):
        request = until_value("a gate", lambda: _open(place, task))
        place.gateway.call(f"/v1/tasks/{task}/approvals/{request}/approve", {})
        decided = time.time()
        until("the tool to run", 30, lambda n=number: len(_stamps(stamps)) > n, 0.005)  # type: ignore[misc]
        times.append((_stamps(stamps)[number] - decided) * 1000)
    _cancel(place, task)
    _gone(place, task)
    return [Figure(PART, "decision → the tool runs, p50", median(times), "ms", samples=times)]


def _open(place: Rehearsed, task: str) -> str:
    query = f"SELECT coalesce(min(request_id), '') FROM task_approvals WHERE task_id = '{task}' AND status = 'PENDING'"
    return place.sql(query)


def until_value(what: str, look: Callable[[], str]) -> str:
    """Waits until there is something, and returns it."""
    found: list[str] = []

    def looks() -> bool:
        found.append(look())
        return bool(found[-1])

    until(what, 30, looks, 0.02)
    return found[-1]


def _cancels(place: Rehearsed, count: int) -> list[Figure]:
    """From the answer to a cancel to the end of the tool that runs."""
    times = []
    for number in range(count):
        pid_file = place.world.files / f"tool-{number}"
        task = _task(place, f"bench-cancel-{number}", _bash("I wait.", f"echo $$ > {pid_file}; exec sleep 600"))
        until("the tool to run", 30, pid_file.exists, 0.02)
        process = Path("/proc") / pid_file.read_text().strip()
        _cancel(place, task)
        asked = time.time()
        until("the tool to end", 60, lambda p=process: not p.exists(), 0.002)  # type: ignore[misc]
        times.append((time.time() - asked) * 1000)
        _gone(place, task)
    return [Figure(PART, "cancel → the running tool is dead, p50", median(times), "ms", samples=times)]


def _decisions() -> list[Figure]:
    """The rules alone, over the lines that their tests are made of."""
    lines = (ROOT / "bench" / "commands.txt").read_text().splitlines()
    done = subprocess.run(
        [sys.executable, "-c", DECIDE],
        input=json.dumps(lines),
        env={"PYTHONPATH": str(ROOT / "services" / "policy" / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"the rules could not be asked: {done.stderr[-300:]}")
    times = sorted(json.loads(done.stdout))
    return [
        Figure(PART, "one decision of the rules, p50", percentile(times, 0.5), "ms"),
        Figure(PART, "one decision of the rules, p99", percentile(times, 0.99), "ms"),
    ]
