"""The processes of an agent, as the machine sees them."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def harness(task_id: str, attempt: int = 1) -> int | None:
    """The pid of the harness of an attempt, while it lives."""
    name = f"BGAGENT_SESSION=bgagent-{task_id}-{attempt}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"bgagent_agent" in words and name in (entry / "environ").read_bytes().split(b"\0"):
                return int(entry.name)
        except OSError:
            continue
    return None


def processes(task_id: str) -> list[int]:
    """Everything alive that belongs to a task."""
    name = f"BGAGENT_SESSION=bgagent-{task_id}-".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if name in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def shows(pid: int) -> bytes:
    """What others can see of a process: its arguments and its environment."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() + b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def kill(pid: int) -> None:
    """kill -9 of this process alone, never of its group."""
    os.kill(pid, signal.SIGKILL)
