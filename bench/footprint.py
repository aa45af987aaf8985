"""Every service: how soon it is ready, and how much memory it keeps while it has nothing to do."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench.report import Figure, below
from bench.statistics import median
from bench.world import SERVICES, World, until

SETTLES = 2.0


def measure(world: World) -> list[Figure]:
    """Starts all of them, one after the other, so that none waits for another's start."""
    ready: dict[str, list[float]] = {name: [] for name in SERVICES}
    resident: dict[str, list[float]] = {name: [] for name in SERVICES}
    for _ in range(world.settings.rounds):
        with ExitStack() as stack:
            running = {}
            for name in SERVICES:
                running[name] = stack.enter_context(world.service(name))
                ready[name].append(running[name].wait_ready() * 1000)
            settled = time.monotonic() + SETTLES
            until("a pause", SETTLES + 1, lambda: time.monotonic() > settled, 0.1)  # noqa: B023
            for name, process in running.items():
                resident[name].append(process.resident_mb())
            for process in running.values():
                process.terminate()
    figures = []
    for name in SERVICES:
        figures.append(Figure(name, "ready after", median(ready[name]), "ms", below(1000), samples=ready[name]))
        figures.append(Figure(name, "resident", median(resident[name]), "MB", below(32), samples=resident[name]))
    sums = [sum(round_) for round_ in zip(*resident.values(), strict=True)]
    return [*figures, Figure("all services", "resident", median(sums), "MB", below(256), samples=sums)]
