"""Drives the database alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from bench.processes import Failed
from bench.world import World


def run(
    world: World, script: Path, seconds: float, connections: int = 8, rate: float | None = None, **variables: int
) -> float:
    """Transactions a second that the script reached over so many connections; with `rate`, at that many a second."""
    command = ["pgbench", "-n", "-M", "prepared", "-c", str(connections), "-j", "2", "-T", str(round(seconds))]
    if rate is not None:
        command += ["-R", str(rate)]
    for name, value in variables.items():
        command += ["-D", f"{name}={value}"]
    done = subprocess.run(
        [*command, "-f", str(script), world.postgres_url], capture_output=True, text=True, check=False
    )
    found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        raise Failed(f"pgbench ended with {done.returncode}: {done.stderr[-500:]}")
    return float(found[1])
