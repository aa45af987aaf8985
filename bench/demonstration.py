"""`make demo` on a warm build: how long until its first task has finished."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import time

from bench.report import Figure, below
from bench.world import ROOT

FINISHED = re.compile(r"\bCOMPLETED\b")


def measure() -> list[Figure]:
    """Runs the demo on servers of its own and ends it once the first task has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BGAGENT_TEST_")}
    for name in ("BGAGENT_RUN", "BGAGENT_BIN_DIR"):
        kept.pop(name, None)
    env = {**kept, "BGAGENT_INSTANCE": "bench-demo", "BGAGENT_BUILD": "release"}
    began = time.monotonic()
    took = math.nan
    process = subprocess.Popen(
        [str(ROOT / "scripts" / "demo")],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if FINISHED.search(line):
                took = time.monotonic() - began
                break
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.close()
        process.wait(60)
        subprocess.run([str(ROOT / "scripts" / "stack"), "down", "--quiet", "--wipe"], env=env, check=False)
    return [Figure("make demo", "warm, to the first finished task", took, "s", below(60))]
