"""Everything by which people reach the agent, and the agent people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .approvals import Approvals
from .asks import ANSWER_TOOL, Asks
from .control import Control
from .desk import Desk
from .errands import Errands
from .gate import Gate, OpenGate
from .inbox import Inbox
from .logs import Log
from .own_tools import full_name, own_tools
from .payload import Session
from .policy import ClosedPolicy, Policy, PolicyGate
from .progress import Progress
from .questions import Questions
from .redaction import Redactor
from .reporter import Reporter
from .runner import MessageAttached, Runner, RunnerEvent, TurnTaken
from .stop import Deadline, StopSignal

PolicyFactory = Callable[[Session], Policy]


class People:
    """The parts of one attempt that know of people, put together."""

    def __init__(
        self,
        control: Control,
        stop: StopSignal,
        reporter: Reporter,
        redactor: Redactor,
        log: Log,
        park: Callable[[str], Awaitable[None]],
    ) -> None:
        self._control = control
        self._stop = stop
        self._log = log
        self._desk = Desk(stop)
        self._errands = Errands(log)
        self._asks = Asks(control, redactor, log, full_name(ANSWER_TOOL))
        self._approvals = Approvals(control, self._desk, redactor, self._errands, log)
        self.progress = Progress(reporter)
        questions = Questions(control, self._desk, redactor, self._errands, log, park)
        self.tools = own_tools(self._asks, questions, self.progress)

    def gate(self, session: Session, policy: PolicyFactory | None, deadline: Deadline) -> Gate:
        """Open without policies; with policies that cannot be read it is closed to everything."""
        if session.policies is None:
            return OpenGate()
        return PolicyGate(
            self._policy(session, policy),
            self._approvals,
            self._log,
            tools=session.tools,
            gates=session.policies.gates,
            allowances=session.allowances,
            approval_timeout_s=session.policies.approval_timeout_s,
            remaining_s=lambda: deadline.remaining_s,
        )

    def inbox(self, runner: Runner) -> Inbox:
        """Hears people and tells the runner."""
        return Inbox(self._control, runner, self._stop, self._desk, self._asks, self._log)

    async def heard(self, event: RunnerEvent, inbox: Inbox) -> None:
        """What the agent did may be an answer, or show that it has a message."""
        if isinstance(event, MessageAttached):
            self._asks.delivered(event.ids, event.turn)
            await inbox.delivered(event.ids, event.turn)
        elif isinstance(event, TurnTaken):
            await self._asks.turn_taken(event)

    async def close(self) -> None:
        """Nothing of it runs on."""
        await self._errands.close()

    def _policy(self, session: Session, policy: PolicyFactory | None) -> Policy:
        try:
            if policy is not None:
                return policy(session)
        except Exception as error:
            self._log.error("the policies could not be loaded", error=repr(error))
        self._log.error("the task has policies that nothing here reads: no tool may run")
        return ClosedPolicy()
