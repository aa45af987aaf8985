"""A task from its submit to its agent's first request to the model, by part: the times that the platform stores of it,
and between them what the engine and the model's simulator have noted. Events of an agent are stored up to 0.1 s late.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bench.processes import Failed
from bench.report import Figure
from bench.statistics import median
from bench.world import until

# Two turns and nothing to push: what is measured comes before.
WORDS = "Do what is asked.\n\nScript: no-change"
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
ENDS_WITHIN = 180.0

# What ends at each moment, in order. Processes are not seen to run: their start is told with the harness's.
PARTS = {
    "created": "submit",
    "admitted": "queue and admission",
    "requested": "prepare (checks, prompt)",
    "claimed": "claim by a node",
    "running": "sandbox start",
    "asked": "harness start",
    "cloning": "the agent is told its work",
    "cloned": "clone",
    "working": "set-up",
    "request": "CLI start, to its request to the model",
}

MOMENTS = """
    SELECT json_build_object(
        'created', (SELECT at(min(timestamp)) FROM e WHERE event_type = 'task_created'),
        'admitted', (SELECT at(min(timestamp)) FROM e WHERE event_type = 'hydration_started'),
        'cloning', (SELECT at(min(timestamp)) FROM e WHERE metadata ->> 'milestone' = 'step:clone:start'),
        'cloned', (SELECT at(min(timestamp)) FROM e WHERE metadata ->> 'milestone' = 'repo_cloned'),
        'working', (SELECT at(min(timestamp)) FROM e WHERE metadata ->> 'milestone' = 'step:agent:start'),
        'requested', at(s.requested_at), 'claimed', at(s.claimed_at), 'asked', at(s.started_at))::text
    FROM sessions s WHERE s.task_id = '{task}' AND s.attempt = 1
"""


def query(task: str) -> str:
    """SQL whose one value is the moments of a task as JSON, in seconds since the epoch."""
    events = f"WITH e AS (SELECT * FROM task_events WHERE task_id = '{task}')"
    return events + MOMENTS.format(task=task).replace("at(", "extract(epoch FROM ")


def first_request(journal: Sequence[dict[str, Any]], since: float) -> float:
    """When the model's simulator took its first request after a time; a line is written when its answer is out."""
    times = [
        datetime.fromisoformat(line["time"]).timestamp() - float(line["ms"]) / 1000
        for line in journal
        if line["method"] == "POST" and str(line["path"]).startswith("/v1/messages")
    ]
    later = [at for at in times if at >= since]
    if not later:
        raise Failed("the model was not asked")
    return min(later)


@dataclass(frozen=True)
class Gateway:
    """The REST API, as somebody."""

    url: str
    token: str

    def call(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """One request; its data. GET and POST follow from the body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            raise Failed(f"{path}: {error.code} {error.read().decode(errors='replace')[:300]}") from error
        except OSError as error:
            raise Failed(f"{path}: {error}") from error

    def run(self, repo: str) -> tuple[str, float]:
        """One task from its submit to its good end; its id, and when it was submitted."""
        submitted = time.time()
        task = str(self.call("/v1/tasks", {"repo": repo, "task_description": WORDS})["task_id"])
        until(f"the end of task {task}", ENDS_WITHIN, lambda: self._status(task) in ENDED, 0.25)
        if self._status(task) != "COMPLETED":
            raise Failed(f"task {task}: {self.call(f'/v1/tasks/{task}')}")
        return task, submitted

    def _status(self, task: str) -> str:
        return str(self.call(f"/v1/tasks/{task}")["status"])


@dataclass
class Series:
    """Tasks of one kind."""

    parts: dict[str, list[float]] = field(default_factory=dict)
    totals: list[float] = field(default_factory=list)
    starts: dict[str, list[float]] = field(default_factory=dict)

    def add(self, submitted: float, moments: dict[str, float]) -> None:
        """Takes a task's moments in."""
        missing = PARTS.keys() - moments.keys() - {"running"}
        if missing:
            raise Failed(f"a task's times are missing: {', '.join(sorted(missing))}")
        before = submitted
        for moment, name in PARTS.items():
            if moment == "asked" and "running" not in moments:
                name = f"{PARTS['running']} and {name}"
            if moment in moments:
                self.parts.setdefault(name, []).append(moments[moment] - before)
                before = moments[moment]
        self.totals.append(before - submitted)
        for moment in ("running", "asked"):
            if moment in moments:
                self.starts.setdefault(moment, []).append(moments[moment] - moments["claimed"])

    def figures(self, part: str, note: str = "") -> list[Figure]:
        """The whole, then its parts."""
        told = [Figure(part, "in all", median(self.totals), "s", note=note, samples=self.totals)]
        return told + [
            Figure(part, f"… {name}", median(times) * 1000, "ms", samples=[one * 1000 for one in times])
            for name, times in self.parts.items()
        ]


def measured(
    series: Series,
    gateway: Gateway,
    repo: str,
    ask: Callable[[str], str],
    journal: Callable[[], list[dict[str, Any]]],
    engine: Callable[[str], dict[str, float]] = lambda _: {},
) -> None:
    """Runs one task and takes its times in. `ask` answers SQL, `engine` knows when a task's container ran."""
    task, submitted = gateway.run(repo)
    stored = {name: float(at) for name, at in json.loads(ask(query(task))).items() if at is not None}
    request = first_request(journal(), submitted)
    series.add(submitted, {**stored, **engine(task), "request": request})
