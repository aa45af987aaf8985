"""How soon an agent is at work: a task's way from its submit to the first request to the model, by part, with agents as
processes and in containers, cold and warm; and the start of a container alone, beside `docker run` of the same image.

Cold: the files of the agent are not in the machine's memory, the repository was never fetched, and it is the services'
first task. Warm: the tasks after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import bystander, rehearsed
from bench.engine import Place, installed, layer_folders
from bench.pagecache import forget
from bench.processes import Process
from bench.report import Figure
from bench.statistics import median
from bench.timeline import Gateway, Series, measured
from bench.world import REPO, World, until

TASKS, QUICK_TASKS = 5, 2
PART = "submit → the model's first request"


def measure(world: World) -> list[Figure]:
    """Processes first; then containers, and between their tasks the peer."""
    return [*_processes(world), *_containers(world)]


def _count(world: World) -> int:
    return QUICK_TASKS if world.settings.quick else TASKS


def _processes(world: World) -> list[Figure]:
    cold, warm = Series(), Series()
    with rehearsed.running(world) as place:
        files = forget(rehearsed.agent_files())
        for number in range(1 + _count(world)):
            series = warm if number else cold
            measured(series, place.gateway, REPO, place.sql, place.journal)
    note = f"{files} files not in memory"
    return [*cold.figures(f"{PART}, process, cold", note), *warm.figures(f"{PART}, process, warm")]


class Starts:
    """When each container ran, as the engine told it."""

    def __init__(self, told: Path) -> None:
        self._told = told

    def of(self, name: str) -> float:
        """The moment, in seconds since the epoch."""
        until(f"the engine to tell of {name}", 10, lambda: name in self._all())
        return self._all()[name]

    def _all(self) -> dict[str, float]:
        lines = [line for line in self._told.read_text().splitlines() if line.endswith("}")]
        events = [json.loads(line) for line in lines]
        return {str(one["Actor"]["Attributes"]["name"]): int(one["timeNano"]) / 1e9 for one in events}


@contextmanager
def _starts(world: World, place: Place) -> Iterator[Starts]:
    """Listens to the engine: it forgets what happened soon where many containers are looked after."""
    told = world.files / "events"
    label = f"label=bgagent.installation={place.project}"
    command = ["docker", "events", "--filter", label, "--filter", "event=start", "--format", "{{json .}}"]
    with Process("docker events", command, place.environment, told):
        yield Starts(told)


def _containers(world: World) -> list[Figure]:
    cold, warm, peer = Series(), Series(), Series()
    with installed("starts", world) as place:
        place.up()
        gateway = Gateway(f"http://127.0.0.1:{place.port}", _token(place))
        image = place.inspect(f"bgagent-agent:{place.version}")
        with _starts(world, place) as starts:
            files = forget(layer_folders(image))
            for number in range(1 + _count(world)):
                series = warm if number else cold
                measured(
                    series,
                    gateway,
                    rehearsed.SAMPLE,
                    place.sql,
                    lambda: _journal(place),
                    lambda task: {"running": starts.of(f"bgagent-{task}-1")},
                )
                until("the sandbox to go", 60, lambda: not place.sandboxes(), 0.2)
                name, began, asked = bystander.run(place, number)
                # The first one finds warm what the task before it has read.
                peer.starts.setdefault("running", []).append(starts.of(name) - began)
                peer.starts.setdefault("asked", []).append(asked - began)
    note = f"{files} files not in memory" if files else "the image's files cannot be reached: in memory"
    return [
        *_start_figures(cold, warm, peer, note),
        *cold.figures(f"{PART}, container, cold", note),
        *warm.figures(f"{PART}, container, warm"),
    ]


def _start_figures(cold: Series, warm: Series, peer: Series, note: str) -> list[Figure]:
    part = "container start"
    figures = []
    for moment, name in (("running", "until it runs"), ("asked", "until the agent's first request")):
        for kind, series in (("cold", cold), ("warm", warm), ("docker run of the same image", peer)):
            times = [one * 1000 for one in series.starts[moment]]
            told = note if series is cold and moment == "running" else ""
            figures.append(Figure(part, f"{name}, {kind}", median(times), "ms", note=told, samples=times))
    return figures


def _token(place: Place) -> str:
    """The first administrator's key."""
    return place.compose("exec", "-T", "gateway", "cat", "/var/lib/bgagent/admin-token").strip()


def _journal(place: Place) -> list[dict[str, Any]]:
    """Every exchange of the model's simulator."""
    text = place.compose("exec", "-T", "sim-model", "cat", "/data/model.jsonl")
    return [json.loads(line) for line in text.splitlines() if line]
