"""A gate with scripted rules and scripted people behind it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bgagent_agent.approvals import Approvals
from bgagent_agent.control import ApprovalRequest, ApprovalState, ApprovalStatus, InboxItem
from bgagent_agent.desk import Desk
from bgagent_agent.errands import Errands
from bgagent_agent.local.control import LocalControl
from bgagent_agent.logs import Log
from bgagent_agent.policy import Ask, PolicyGate, Ruling
from bgagent_agent.redaction import Redactor
from bgagent_agent.runner import ToolCall
from bgagent_agent.stop import StopSignal
from conftest import make_payload

PUSH = ToolCall("call-1", "Bash", {"command": "git push"})
ASKS = Ask(("push",), "high", 300, "pushes", ("this_call", "rule:push"), frozenset({"push"}))


class People(LocalControl):
    """A platform whose people do what a test says."""

    def __init__(self) -> None:
        super().__init__(make_payload(), lambda line: None)
        self.first = ApprovalState("g1", "pending", 300.0)
        self.reads: list[ApprovalState | Exception] = []
        self.at_deadline = ApprovalState("g1", "timed_out", 0.0)
        self.refusal: Exception | None = None
        self.opened: list[ApprovalRequest] = []
        self.expired: list[str] = []
        self.changed = asyncio.Event()

    async def approval(self, request: ApprovalRequest, *, once: bool = False) -> ApprovalState:
        if once:
            answer = self.reads.pop(0) if self.reads else self.first
            if isinstance(answer, Exception):
                raise answer
            return answer
        if self.refusal:
            raise self.refusal
        self.opened.append(request)
        self.changed.set()
        return self.first

    async def expire_approval(self, request_id: str) -> ApprovalState:
        self.expired.append(request_id)
        self.changed.set()
        return self.at_deadline


@dataclass
class Scripted:
    """A policy that says what a test wants, and notes what it was asked."""

    rulings: list[Ruling | Exception]
    covered: Mapping[str, bool] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def judge(self, call: ToolCall) -> Ruling:
        self.asked.append("judge")
        ruling = self.rulings[0] if len(self.rulings) == 1 else self.rulings.pop(0)
        if isinstance(ruling, Exception):
            raise ruling
        return ruling

    def covers(self, call: ToolCall, scopes: Sequence[str]) -> bool:
        self.asked.append(f"covers {','.join(scopes)}")
        return any(self.covered.get(scope, False) for scope in scopes)


class Place:
    """A gate with people behind it and a clock of its own."""

    def __init__(
        self,
        *rulings: Ruling | Exception,
        allowances: Sequence[str] = (),
        gates: bool = True,
        **covered: bool,
    ) -> None:
        self.people = People()
        self.stop = StopSignal()
        self.desk = Desk(self.stop)
        self.now = 0.0
        self.remaining_s = 10_000.0
        log = Log(Redactor(), io.StringIO())
        self.errands = Errands(log)
        self.approvals = Approvals(
            self.people, self.desk, Redactor(), self.errands, log, read_s=300.0, read_again_s=0.0
        )
        self.policy = Scripted(
            list(rulings), {name.replace("_", ":"): is_on for name, is_on in covered.items()}
        )
        self.gate = PolicyGate(
            self.policy,
            self.approvals,
            log,
            tools=("Bash",),
            gates=gates,
            allowances=allowances,
            approval_timeout_s=600,
            remaining_s=lambda: self.remaining_s,
            clock=lambda: self.now,
        )

    def decision(self, state: str, **said: str) -> None:
        fields = {"request_id": "g1", "state": state, **said}
        self.desk.put("g1", InboxItem("i1", "decision", fields))

    def opens_as(self, state: ApprovalStatus, **said: str) -> None:
        self.people.first = ApprovalState("g1", state, 300.0, **said)
