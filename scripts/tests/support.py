"""What the tests of the scripts share: an instance of their own, and waiting for a condition."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"


class Instance:
    """One throw-away run directory of this checkout; `close` leaves nothing running and nothing on disk."""

    def __init__(self, name: str, **environment: str) -> None:
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("BGAGENT_")}
        self.environment |= {"BGAGENT_INSTANCE": f"{name}-{os.getpid()}", **environment}
        self.environment.setdefault("BGAGENT_VENV", sys.prefix)
        self.link = ROOT / f".run-{name}-{os.getpid()}"

    def run(self, script: str, *arguments: str, check: bool = True) -> str:
        """Runs one of our scripts, returns what it printed; a failure raises with what it complained of."""
        done = subprocess.run(
            [SCRIPTS / script, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{script} {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def directory(self) -> Path:
        """Where this instance keeps everything."""
        return self.link.resolve()

    def exports(self, script: str) -> dict[str, str]:
        """The variables that `<script> env` names."""
        lines = self.run(script, "env").splitlines()
        pairs = (line.removeprefix("export ").split("=", 1) for line in lines if line)
        return {name: value.strip("'") for name, value in pairs}

    def processes(self) -> list[int]:
        """Everything alive whose command line or environment names our directory."""
        needle = f"{self.directory()}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if needle in text and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return found

    def close(self) -> None:
        """Stops all of it, also after a failed test."""
        self.run("stack", "down", "--quiet", "--wipe", check=False)
        self.run("servers", "stop", "--wipe", check=False)


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Waits until the condition holds; a deadline that passes is a failed test."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
