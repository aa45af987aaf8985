"""Commits and pushes the work of an attempt, and writes its result."""

from __future__ import annotations

from . import message
from . import outcome as outcomes
from .control import Outcome, RunResult, VerificationReport
from .errors import Problem
from .payload import Session
from .redaction import Redactor
from .reporter import Reporter
from .tools import PushRefused, RemoteUnavailable, Tools, WorkspaceBroken

_PUSH_S = 300.0
# A cancelled task is ended by the platform's own timer soon after.
_HURRIED_PUSH_S = 20.0
_SUMMARY_CHARS = 2_000


class Finishing:
    """The last steps, the same for every outcome."""

    def __init__(self, tools: Tools, reporter: Reporter, redactor: Redactor, session: Session) -> None:
        self._tools = tools
        self._reporter = reporter
        self._redactor = redactor
        self._session = session

    async def commit(self, summary: str) -> str | None:
        """Commits everything not ignored; None when there is no work against the base."""
        clean = self._redactor.text(summary)
        trailers = {"Task-Id": self._session.task_id, "Prompt-Version": self._session.prompt_version}
        return await self._tools.commit(
            message.subject(self._redactor.text(self._session.title or self._session.description), clean),
            message.body(clean),
            {key: value for key, value in trailers.items() if value},
        )

    async def publish(self, summary: str, *, hurry: bool) -> tuple[str | None, Problem | None]:
        """Commits and pushes; the pushed commit, or why there is none although there was work."""
        try:
            commit = await self.commit(summary)
            if commit is None:
                return None, None
            await self._reporter.milestone("step:push:start", self._session.branch)
            await self._tools.push(commit, _HURRIED_PUSH_S if hurry else _PUSH_S)
        except WorkspaceBroken as error:
            return None, outcomes.workspace_broken(self._redactor.text(str(error)))
        except RemoteUnavailable as error:
            return None, outcomes.push_unavailable(self._redactor.text(str(error)))
        except PushRefused as error:
            problem = outcomes.push_refused(self._redactor.text(str(error)))
            await self._reporter.emit(
                "agent_blocked",
                kind="push_refused",
                detail=self._reporter.preview(problem.description),
                remediation_hint=problem.remedy,
                retryable=False,
                resource=self._session.branch,
            )
            return None, problem
        await self._reporter.milestone("step:push:complete", commit)
        return commit, None

    def result(
        self,
        outcome: Outcome,
        commit: str | None,
        turns: int,
        summary: str,
        verification: VerificationReport | None,
        problem: Problem | None,
    ) -> RunResult:
        """The result with every text redacted and cut."""
        if problem is not None:
            problem = Problem(**self._redactor.scrub(problem.as_json()))
        return RunResult(
            outcome=outcome,
            commit=commit,
            branch=self._session.branch,
            turns=turns,
            summary=self._redactor.text(summary)[:_SUMMARY_CHARS],
            verification=verification,
            error=problem,
        )
