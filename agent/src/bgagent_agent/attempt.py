"""One attempt from the session payload to the reported result."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from . import outcome as outcomes
from .checkpoints import Checkpoints
from .control import Control, Outcome, ParkedOn, RunResult
from .errors import EXIT_OK, EXIT_TERMINATED, PlatformError, Problem, TaskError
from .finishing import Finishing
from .gate import Gate
from .logs import Log
from .narrator import Narrator
from .parking import Parking
from .payload import Session
from .people import People, PolicyFactory
from .prompt import system_prompt, user_prompt
from .redaction import Redactor
from .reporter import Reporter
from .runner import Brief, Message, QueryDone, Runner, TurnSettled
from .stop import Deadline, Stopped, StopSignal
from .tools import Prepared, PushRefused, RemoteUnavailable, Tools, WorkspaceBroken
from .trajectory import Trajectory, Untraced
from .verification import Verification

_SETUP_S = 1_800.0
_LEAVE_DRAIN_S = 3.0
# How long the rest of a trace may keep a task from its end; one that was cancelled has little time left.
_TRACE_S = 10.0
_HURRIED_TRACE_S = 2.0


@dataclass(frozen=True)
class Seams:
    """What the harness works through; tests put their own in."""

    control: Control
    tools: Tools
    runner: Callable[[Gate], Runner]
    redactor: Redactor
    log: Log
    policy: PolicyFactory | None = None


class Attempt:
    """The state of one attempt while it runs."""

    def __init__(self, seams: Seams, session: Session, stop: StopSignal, heartbeat_s: float) -> None:
        self._session = session
        self._stop = stop
        self._heartbeat_s = heartbeat_s
        self._control, self._tools, self._log = seams.control, seams.tools, seams.log
        self._deadline = Deadline(session.remaining_s)
        self._reporter = Reporter(
            seams.control, seams.redactor, seams.log, last_seq=session.last_client_seq, trace=session.trace
        )
        self._checkpoints = Checkpoints(seams.tools, seams.control, self._reporter, seams.log)
        self._parking = Parking(
            session.park_unanswered, stop, lambda: self._checkpoints.settle(self._narrator.turn)
        )
        self._people = People(
            seams.control, stop, self._reporter, seams.redactor, seams.log, self._parking.park
        )
        self._runner = seams.runner(self._people.gate(session, seams.policy, self._deadline))
        self._inbox = self._people.inbox(self._runner)
        self._narrator = Narrator(self._reporter, session.turns_used, session.trace)
        self._trajectory = (
            Trajectory(seams.control, seams.redactor, seams.log) if session.trace else Untraced()
        )
        self._verification = Verification(seams.tools, self._reporter, seams.redactor, self._deadline)
        self._finishing = Finishing(seams.tools, self._reporter, seams.redactor, session)
        self._events = self._runner.events()
        self._prepared: Prepared | None = None
        self._summary = ""
        if session.cancel_requested:
            stop.request("cancelled")

    async def run(self) -> int:
        """Everything beside the work lives exactly as long as the work."""
        self._trajectory.begin(self._session)
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(step)
                for step in (
                    self._beat(),
                    self._inbox.run(),
                    self._reporter.run(),
                    self._checkpoints.run(),
                    self._watch_clock(),
                )
            ]
            try:
                code = await self._work()
            finally:
                await self._people.close()
            for task in beside:
                task.cancel()
        return code

    async def close(self) -> None:
        """After an end that nothing in here has told of."""
        await self._trajectory.close("internal_error", _HURRIED_TRACE_S)

    async def _work(self) -> int:
        problem: Problem | None = None
        outcome: Outcome
        try:
            outcome, problem = await self._steps()
        except Stopped as stopped:
            await self._runner.cancel(stopped.reason)
            if stopped.reason == "terminated":
                return await self._leave()
            outcome = outcomes.of_stop(stopped.reason)
        except TaskError as error:
            outcome, problem = "failed", error.problem
        except WorkspaceBroken as error:
            outcome, problem = "failed", outcomes.workspace_broken(str(error))
        except PlatformError:
            raise
        except Exception as error:
            self._log.error("a step failed", error=repr(error))
            outcome, problem = "failed", outcomes.internal(error)
        self._inbox.hold()
        await self._runner.cancel("the work is over")
        await self._tools.kill()
        self._narrator.stopped()
        await self._checkpoints.close(timeout=15.0)
        result = await self._concluded(outcome, problem)
        await self._trajectory.close(
            result.outcome, _HURRIED_TRACE_S if result.outcome == "cancelled" else _TRACE_S
        )
        if result.outcome == "parked" and self._stop.reason != "parked":
            result = await self._concluded("cancelled", None)
        await self._control.result(result)
        self._log.info("the attempt is over", outcome=result.outcome, turns=result.turns)
        return EXIT_OK

    async def _steps(self) -> tuple[Outcome, Problem | None]:
        await self._prepare()
        await self._reporter.milestone("step:agent:start")
        if self._session.max_turns <= self._session.turns_used:
            return "max_turns", None
        brief = self._brief(await self._inbox.take())
        done = await self._stop.guard(self._query(brief))
        while True:
            if done.reason != "completed":
                # Whoever stops a task may have hit the agent's process as well.
                if self._stop.reason is not None:
                    raise Stopped(self._stop.reason)
                return outcomes.of_ending(done)
            await self._reporter.milestone("agent_execution_complete", done.text)
            if await self._finishing.commit(self._summary) is None:
                return "no_change", None
            passed = await self._stop.guard(self._verification.run(self._session))
            said = await self._inbox.take(questions=not passed)
            spent = self._narrator.turn >= self._session.max_turns
            if passed and (spent or said is None):
                return "completed", None
            if not passed and (spent or self._verification.attempts >= self._session.verify_attempts):
                return "verification_failed", None
            done = await self._stop.guard(self._query_again(self._verification.feedback, said))

    async def _prepare(self) -> None:
        session = self._session
        if self._stop.reason is not None and session.checkpoint is None:
            raise Stopped(self._stop.reason)
        await self._reporter.milestone("step:clone:start", session.repo)
        try:
            # A task that is cancelled before it starts again still pushes what its checkpoint holds.
            cloning = self._tools.prepare(session)
            self._prepared = await (cloning if session.checkpoint else self._stop.guard(cloning))
        except PushRefused as error:
            raise TaskError(outcomes.clone_failed(str(error), False)) from error
        except RemoteUnavailable as error:
            raise TaskError(outcomes.clone_failed(str(error), True)) from error
        resumed = self._prepared.resumed_turn
        await self._reporter.milestone(
            "repo_cloned", session.branch if resumed is None else f"from the checkpoint of turn {resumed}"
        )
        if session.commands.setup:
            await self._reporter.milestone("step:setup:start", session.commands.setup)
            timeout = min(_SETUP_S, self._deadline.remaining_s)
            finished = await self._stop.guard(self._tools.run_command(session.commands.setup, timeout))
            if not finished.ok:
                raise TaskError(outcomes.setup_failed(finished.command, finished.output_tail))
            if resumed is None:
                await self._tools.exclude_leftovers()
        await self._reporter.milestone("repo_setup_complete")

    def _brief(self, said: Message | None) -> Brief:
        session, prepared = self._session, self._prepared
        if prepared is None:
            raise AssertionError("the repository is not prepared")
        prompt = user_prompt(session, prepared.resumed_turn)
        return Brief(
            prompt=prompt if said is None else f"{prompt}\n\n{said.text}",
            message_ids=said.ids if said else (),
            system_prompt=system_prompt(session),
            directory=prepared.directory,
            model=session.model,
            tools=session.tools,
            turns_left=session.max_turns - session.turns_used,
            turns_used=session.turns_used,
            own_tools=self._people.tools,
            remind=self._people.progress.remind,
            standing=self._inbox.standing.of,
            record=self._trajectory.record,
        )

    async def _query(self, brief: Brief) -> QueryDone:
        self._people.progress.begin()
        await self._runner.start(brief)
        return await self._until_done()

    async def _query_again(self, feedback: str, said: Message | None) -> QueryDone:
        text = "\n\n".join(part for part in (feedback, said.text if said else "") if part)
        await self._runner.resume(text, said.ids if said else ())
        return await self._until_done()

    async def _until_done(self) -> QueryDone:
        await self._inbox.open()
        async for event in self._events:
            if isinstance(event, QueryDone):
                self._narrator.stopped()
                self._inbox.hold()
                self._summary = event.text or self._summary
                return event
            await self._narrator.tell(event)
            await self._people.heard(event, self._inbox)
            if isinstance(event, TurnSettled):
                self._checkpoints.request(event.turn)
        return QueryDone("crashed", self._summary, None, "the agent's events ended before the work did")

    async def _concluded(self, outcome: Outcome, problem: Problem | None) -> RunResult:
        """The result, when all that there is to tell before it was told."""
        if outcome == "parked" and (parked := await self._parked()):
            return parked
        result = await self._conclude("cancelled" if outcome == "parked" else outcome, problem)
        await self._reporter.drain()
        return result

    async def _parked(self) -> RunResult | None:
        """The task goes on in another attempt, so nothing is pushed; None when it was cancelled meanwhile."""
        # It is kept already, but for what a tool has done while the agent was being stopped.
        await self._checkpoints.save(self._narrator.turn, again=True)
        await self._reporter.drain()
        question_id = self._parking.question_id
        if self._stop.reason != "parked" or question_id is None:
            return None
        report = self._verification.report
        result = self._finishing.result("parked", None, self._narrator.turn, self._summary, report, None)
        return replace(result, parked_on=ParkedOn("question", question_id))

    async def _conclude(self, outcome: Outcome, problem: Problem | None) -> RunResult:
        """Every end that has work pushes it, once; a push that fails turns a success into a failure."""
        commit: str | None = None
        if self._prepared is not None:
            commit, refusal = await self._finishing.publish(self._summary, hurry=outcome == "cancelled")
            if refusal is not None:
                problem = problem or refusal
                outcome = (
                    "failed" if outcome in ("completed", "no_change", "verification_failed") else outcome
                )
        report = self._verification.report
        return self._finishing.result(outcome, commit, self._narrator.turn, self._summary, report, problem)

    async def _leave(self) -> int:
        """The process must end but the task has not: keep the work for the next attempt, report nothing."""
        # Beside the rest, which may take all the time that is left.
        closing = asyncio.create_task(self._trajectory.close("terminated", _LEAVE_DRAIN_S))
        await self._checkpoints.close(timeout=5.0)
        if self._prepared is not None:
            await self._checkpoints.save(self._narrator.turn, again=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_DRAIN_S):
                await self._reporter.drain()
        await closing
        return EXIT_TERMINATED

    async def _beat(self) -> None:
        while True:
            pulse = await self._control.heartbeat(self._narrator.turn, self._narrator.tool)
            self._deadline.correct(pulse.remaining_s)
            if pulse.cancel_requested:
                self._stop.request("cancelled")
            await asyncio.sleep(self._heartbeat_s)

    async def _watch_clock(self) -> None:
        await self._deadline.wait()
        self._stop.request("time_up")
