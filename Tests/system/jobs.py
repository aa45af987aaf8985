"""Tasks as people start them: `bgagent submit --wait`, running beside the test, and how they ended."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Tests.system.waiting import until
from Tests.system.world import Stack

ENDS_WITHIN = 240.0
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")


@dataclass
class End:
    """What the command line said and ended with."""

    code: int
    task: dict[str, Any]
    events: list[dict[str, Any]]
    complaint: str

    @property
    def kinds(self) -> list[str]:
        """The types of the events in their order."""
        return [str(event["event_type"]) for event in self.events]

    @property
    def error(self) -> str:
        """The code of the structured error, if the task ended with one."""
        return str((self.task.get("error_classification") or {}).get("code", ""))

    @property
    def how(self) -> tuple[str, str | None]:
        """State and outcome."""
        return str(self.task.get("status")), self.task.get("outcome")

    def milestones(self) -> list[str]:
        """The milestones in their order."""
        return [str(e["metadata"]["milestone"]) for e in self.events if e["event_type"] == "agent_milestone"]


class Job:
    """One `bgagent submit --wait`."""

    def __init__(self, stack: Stack, repo: str, *words: str, user: str = "") -> None:
        self.stack, self.repo, self.user = stack, repo, user
        self.faults: list[tuple[str, int]] = []
        self.beside: list[Job] = []
        program, variables = stack.bgagent(user)
        self._folder = Path(tempfile.mkdtemp(prefix="job-", dir=stack.link.resolve()))
        self._out, self._err = self._folder / "out", self._folder / "err"
        command = [*program, "submit", "--repo", repo, "--wait", "--output", "json", *words]
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(command, env=variables, stdout=out, stderr=err)

    def _lines(self) -> list[dict[str, Any]]:
        text = self._out.read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def _complaint(self) -> str:
        return self._err.read_text()

    @property
    def task_id(self) -> str:
        """The task's id, once the gateway has answered."""

        def first() -> str | None:
            lines = self._lines()
            assert lines or self.process.poll() is None, self._complaint()
            return str(lines[0]["task_id"]) if lines else None

        return until("the task is accepted", first, 60)

    @property
    def over(self) -> bool:
        """Whether the command line has ended."""
        return self.process.poll() is not None

    def saw(self, event_type: str, count: int = 1) -> None:
        """Waits until the timeline shows events of a type."""

        def seen() -> bool:
            assert not self.over, f"ended before {count} {event_type}: {self._complaint()}"
            return [line.get("event_type") for line in self._lines()].count(event_type) >= count

        until(f"{count} {event_type} of {self.repo}", seen, ENDS_WITHIN)

    def end(self, seconds: float = ENDS_WITHIN) -> End:
        """Waits for the end."""
        code = until(f"the end of {self.repo}", lambda: _done(self.process), seconds)[0]
        lines = self._lines()
        task = lines[-1] if lines and "event_type" not in lines[-1] else {}
        return End(code, task, [line for line in lines if "event_type" in line], self._complaint())

    def fault(self, simulator: str, action: str, match: dict[str, str], **order: Any) -> None:
        """Orders a simulator to misbehave towards this task; `struck` says whether it did."""
        self.faults.append((simulator, self.stack.fault(simulator, action, match, **order)))

    def struck(self) -> None:
        """Holds that every fault ordered for this task was met."""
        for simulator, number in self.faults:
            assert self.stack.hits(simulator, number) > 0, f"fault {number} of {simulator} was never met"

    def close(self) -> None:
        """Ends the command line, not the task."""
        for other in self.beside:
            other.close()
        if not self.over:
            self.process.kill()
            self.process.wait()


def _done(process: subprocess.Popen[bytes]) -> tuple[int] | None:
    code = process.poll()
    return None if code is None else (code,)


def script(name: str) -> str:
    """A task's text that chooses the model's script by name."""
    return f"Do what is asked.\n\nScript: {name}"
