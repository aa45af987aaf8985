"""Gates: the order of what is looked at, the wait for people, and that every fault denies."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from bgagent_agent.approvals import FAILED_READS, Approvals, input_hash, input_shown
from bgagent_agent.control import ApprovalRequest, ApprovalState, ApprovalStatus, InboxItem
from bgagent_agent.desk import Desk
from bgagent_agent.errands import Errands
from bgagent_agent.errors import Refused, Unreachable
from bgagent_agent.gate import Verdict
from bgagent_agent.local.control import LocalControl
from bgagent_agent.logs import Log
from bgagent_agent.own_tools import NAMES
from bgagent_agent.policy import Allow, Ask, Deny, PolicyGate, Ruling
from bgagent_agent.redaction import Redactor
from bgagent_agent.runner import ToolCall
from bgagent_agent.stop import StopSignal
from conftest import make_payload

SECRET = "ghp_" + "a1B2" * 9
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

    def __init__(self, *rulings: Ruling | Exception, allowances: Sequence[str] = (), **covered: bool) -> None:
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


async def test_a_hard_rule_denies_before_anything_else_is_looked_at() -> None:
    place = Place(Deny("never", ("rm_slash",)), allowances=["all_session"], all_session=True)
    assert await place.gate.judge(PUSH) == Verdict(False, "rm_slash: never")
    assert place.policy.asked == ["judge"]
    assert place.people.opened == []


async def test_an_allowance_of_the_task_comes_before_denials_and_people() -> None:
    place = Place(ASKS, allowances=["rule:push"], rule_push=True)
    assert (await place.gate.judge(PUSH)).allow
    assert place.policy.asked == ["judge", "covers rule:push"]
    assert place.people.opened == []


async def test_a_person_is_asked_and_an_approval_lets_the_call_run() -> None:
    place = Place(ASKS)
    place.decision("approved")
    assert (await place.gate.judge(PUSH)).allow
    (request,) = place.people.opened
    assert request == ApprovalRequest(
        "call-1",
        "Bash",
        {"command": "git push"},
        False,
        input_hash(PUSH),
        ("push",),
        "high",
        "pushes",
        300,
        ("this_call", "rule:push"),
    )
    assert place.policy.asked == ["judge", "judge"]


async def test_an_approved_scope_holds_for_later_calls_and_this_call_does_not() -> None:
    place = Place(ASKS, rule_push=True)
    place.decision("approved", scope="this_call")
    assert (await place.gate.judge(PUSH)).allow
    assert (await place.gate.judge(PUSH)).allow
    assert len(place.people.opened) == 2
    place.opens_as("approved", scope="rule:push")
    assert (await place.gate.judge(PUSH)).allow
    assert (await place.gate.judge(PUSH)).allow
    assert len(place.people.opened) == 3


async def test_an_approval_lifts_no_hard_rule_that_came_to_hold_meanwhile() -> None:
    place = Place(ASKS, Deny("never now", ("hard",)))
    place.decision("approved")
    assert await place.gate.judge(PUSH) == Verdict(False, "hard: never now")


async def test_a_denial_with_its_reason_reaches_the_model_and_is_remembered_for_a_minute() -> None:
    place = Place(ASKS)
    place.decision("denied", reason="not on a Friday")
    verdict = await place.gate.judge(PUSH)
    assert verdict == Verdict(False, "push: a person was asked; not on a Friday")
    kin = ToolCall("call-2", "Bash", {"command": "git push origin"})
    for call in (PUSH, kin):
        place.now = 59.0
        again = await place.gate.judge(call)
        assert not again.allow
        assert "denied 59 s ago: not on a Friday" in again.reason
    assert len(place.people.opened) == 1
    place.now = 60.0
    await place.gate.judge(PUSH)
    assert len(place.people.opened) == 2


async def test_at_its_deadline_the_platform_says_who_was_first() -> None:
    late = Place(ASKS)
    late.people.first = ApprovalState("g1", "pending", 0.0)
    verdict = await late.gate.judge(PUSH)
    assert (verdict.allow, late.people.expired) == (False, ["g1"])
    assert "nobody decided in time" in verdict.reason
    won = Place(ASKS)
    won.people.first = ApprovalState("g1", "pending", 0.0)
    won.people.at_deadline = ApprovalState("g1", "approved", 0.0)
    assert (await won.gate.judge(PUSH)).allow


async def test_a_decision_that_got_lost_on_its_way_is_read() -> None:
    place = Place(ASKS)
    place.approvals._read_s = 0.0
    place.people.reads = [ApprovalState("g1", "pending", 9.0), ApprovalState("g1", "approved", 9.0)]
    assert (await place.gate.judge(PUSH)).allow


async def test_nine_failed_reads_are_borne_and_ten_deny_as_timed_out() -> None:
    away = Unreachable("away")
    place = Place(ASKS)
    place.approvals._read_s = 0.0
    place.people.reads = [*[away] * (FAILED_READS - 1), ApprovalState("g1", "approved", 9.0)]
    assert (await place.gate.judge(PUSH)).allow
    gone = Place(ASKS)
    gone.approvals._read_s = 0.0
    gone.people.reads = [away] * FAILED_READS
    verdict = await gone.gate.judge(PUSH)
    assert not verdict.allow
    assert "the platform does not answer" in verdict.reason
    assert FAILED_READS == 10


async def test_a_stop_denies_at_once() -> None:
    place = Place(ASKS)
    judging = asyncio.create_task(place.gate.judge(PUSH))
    await place.people.changed.wait()
    place.stop.request("cancelled")
    verdict = await judging
    assert not verdict.allow
    assert "being stopped" in verdict.reason


async def test_a_gate_that_is_given_up_is_told_to_the_platform() -> None:
    place = Place(ASKS)
    judging = asyncio.create_task(place.gate.judge(PUSH))
    await place.people.changed.wait()
    place.people.changed.clear()
    judging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await judging
    await place.people.changed.wait()
    assert place.people.expired == ["g1"]


@pytest.mark.parametrize(
    "fault", [Refused("no more", "GATE_LIMIT"), Refused("malformed", "VALIDATION_ERROR"), Unreachable("away")]
)
async def test_a_gate_that_cannot_be_opened_denies(fault: Exception) -> None:
    place = Place(ASKS)
    place.people.refusal = fault
    assert not (await place.gate.judge(PUSH)).allow


@pytest.mark.parametrize("ruling", [ValueError("broken rule"), None, "allow", True, Verdict(True)])
async def test_a_policy_that_fails_or_says_something_else_denies(ruling: Any) -> None:
    verdict = await Place(ruling).gate.judge(PUSH)
    assert verdict == Verdict(False, "the policy could not decide, so the call is denied")


async def test_an_allowance_that_cannot_be_judged_denies() -> None:
    place = Place(ASKS, allowances=["rule:push"])
    place.policy.covered = None  # type: ignore[assignment]
    assert not (await place.gate.judge(PUSH)).allow


async def test_a_tool_that_nobody_gave_the_agent_is_denied_and_ours_pass() -> None:
    place = Place(Allow())
    for name in ("Write", "mcp__bgagent__other", "mcp__other__ask_human"):
        assert not (await place.gate.judge(ToolCall("c", name, {}))).allow
    place = Place(Deny("never"))
    for name in NAMES:
        assert (await place.gate.judge(ToolCall("c", name, {}))).allow


@pytest.mark.parametrize("state", ["pending", "denied", "timed_out", "odd"])
async def test_nothing_but_approved_approves(state: Any) -> None:
    place = Place(ASKS)
    place.people.first = ApprovalState("g1", "pending", 0.0)
    place.people.at_deadline = ApprovalState("g1", state, 0.0)
    assert not (await place.gate.judge(PUSH)).allow
    place = Place(ASKS)
    place.decision(state)
    assert not (await place.gate.judge(PUSH)).allow


@pytest.mark.parametrize(
    ("remaining_s", "rule_s", "asked"), [(160, 300, 40), (10_000, 3_600, 600), (900, 45, 45)]
)
async def test_people_get_the_shortest_of_what_rule_task_and_life_allow(
    remaining_s: float, rule_s: int, asked: int
) -> None:
    place = Place(Ask(("push",), timeout_s=rule_s))
    place.remaining_s = remaining_s
    place.opens_as("approved")
    assert (await place.gate.judge(PUSH)).allow
    assert place.people.opened[0].timeout_s == asked


async def test_with_too_little_time_left_nobody_is_asked() -> None:
    place = Place(ASKS)
    place.remaining_s = 149.0
    verdict = await place.gate.judge(PUSH)
    assert not verdict.allow
    assert "too little" in verdict.reason
    assert place.people.opened == []


async def test_what_people_see_of_the_input_has_no_secrets() -> None:
    place = Place(ASKS)
    place.opens_as("approved")
    await place.gate.judge(ToolCall("c", "Bash", {"command": f"curl -H {SECRET}"}))
    assert place.people.opened[0].input == {"command": "curl -H [redacted]"}


@pytest.mark.parametrize(
    ("given", "cut"),
    [
        ({"command": "x"}, False),
        ({"command": "x" * 9_000}, True),
        ({"edits": [{"new": "ä" * 900}] * 9}, True),
        ({str(n): "x" for n in range(900)}, True),
    ],
)
def test_the_input_that_people_see_is_at_most_4_kb(given: dict[str, Any], cut: bool) -> None:
    shown, truncated = input_shown(given)
    assert truncated == cut
    assert len(json.dumps(shown, ensure_ascii=False).encode()) <= 4_096


def test_a_decision_is_bound_to_tool_and_input() -> None:
    calls = [PUSH, ToolCall("c", "Read", PUSH.input), ToolCall("c", "Bash", {"command": "git push "})]
    assert len({input_hash(call) for call in calls}) == 3
    assert input_hash(ToolCall("other", "Bash", dict(PUSH.input))) == input_hash(PUSH)
