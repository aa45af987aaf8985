"""Runs the repository's own checks and says what the agent should know about a failure."""

from __future__ import annotations

from .control import VerificationReport
from .payload import Session
from .redaction import Redactor
from .reporter import Reporter
from .stop import Deadline
from .tools import CommandReport, Tools

_LONGEST_S = 1_800.0
# Time that must be left after the checks, for the push and the result.
_RESERVE_S = 60.0
_REPORT_CHARS = 2_000
_FEEDBACK_CHARS = 6_000
_FEEDBACK = """\
The platform verified your work by running this command in the repository's root, and it failed ({how}):

    {command}

The end of its output:

```
{output}
```

Find the cause and fix it. Do not weaken, skip or delete a test to make it pass. If the failure is not \
caused by your change and cannot be fixed here, say so."""


class Verification:
    """Counts its runs over the attempt; `report` is what the result carries, None when nothing could be
    checked.
    """

    def __init__(self, tools: Tools, reporter: Reporter, redactor: Redactor, deadline: Deadline) -> None:
        self._tools = tools
        self._reporter = reporter
        self._redactor = redactor
        self._deadline = deadline
        self._failed: CommandReport | None = None
        self.attempts = 0
        self.report: VerificationReport | None = None

    async def run(self, session: Session) -> bool:
        """True when all checks pass, or when there are none, which is said in an event."""
        plan = await self._tools.plan_checks(session)
        self._failed = None
        if not plan.commands:
            await self._reporter.milestone("verify_skipped", plan.reason)
            return True
        self.attempts += 1
        line = " && ".join(plan.commands)
        await self._reporter.milestone("verify_started", line)
        outputs = []
        for command in plan.commands:
            finished = await self._tools.run_command(command, self._timeout())
            outputs.append(finished.output_tail)
            if not finished.ok and not _nothing_collected(finished):
                self._failed = finished
                break
        await self._tools.exclude_leftovers()
        passed = self._failed is None
        tail = self._redactor.text("\n".join(outputs))[-_REPORT_CHARS:]
        self.report = VerificationReport(line, passed, self.attempts, tail)
        how = line if self._failed is None else f"{self._failed.command}: {_how(self._failed)}"
        await self._reporter.milestone("verify_passed" if passed else "verify_failed", how)
        return passed

    @property
    def feedback(self) -> str:
        """The next message for the agent after a failed run."""
        if self._failed is None:
            return ""
        output = self._failed.output_tail[-_FEEDBACK_CHARS:].strip() or "(no output)"
        return _FEEDBACK.format(how=_how(self._failed), command=self._failed.command, output=output)

    def _timeout(self) -> float:
        return max(1.0, min(_LONGEST_S, self._deadline.remaining_s - _RESERVE_S))


def _how(finished: CommandReport) -> str:
    if finished.timed_out:
        return f"stopped after {finished.seconds:.0f} s"
    return f"exit code {finished.code}"


def _nothing_collected(finished: CommandReport) -> bool:
    """pytest, and unittest since 3.12, exit with 5 when there was no test to run."""
    return finished.code == 5 and any(word in finished.command for word in ("pytest", "unittest"))
