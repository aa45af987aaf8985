"""The order in which a gate looks at rules, allowances, denials and people, and that every fault denies."""

from __future__ import annotations

from typing import Any

import pytest

from bgagent_agent.approvals import input_hash
from bgagent_agent.control import ApprovalRequest, ApprovalState
from bgagent_agent.gate import Verdict
from bgagent_agent.own_tools import NAMES
from bgagent_agent.policy import Allow, Ask, Deny
from bgagent_agent.runner import ToolCall
from gate_world import ASKS, PUSH, Place


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


async def test_without_gates_hard_rules_hold_and_nobody_is_asked() -> None:
    place = Place(ASKS, gates=False)
    place.opens_as("denied")
    assert await place.gate.judge(PUSH) == Verdict(True)
    assert await place.gate.judge(ToolCall("c", "Teleport", {})) == Verdict(True)
    place = Place(Deny("never", ("rm_slash",)), gates=False, allowances=["all_session"], all_session=True)
    assert await place.gate.judge(PUSH) == Verdict(False, "rm_slash: never")
    assert not (await place.gate.judge(ToolCall("c", "Teleport", {}))).allow
    assert place.people.opened == []


@pytest.mark.parametrize("ruling", [ValueError("broken rule"), None, "allow", True, Verdict(True)])
async def test_without_gates_a_policy_that_fails_denies_all_the_same(ruling: Any) -> None:
    verdict = await Place(ruling, gates=False).gate.judge(PUSH)
    assert verdict == Verdict(False, "the policy could not decide, so the call is denied")


async def test_without_gates_no_time_is_needed_to_ask() -> None:
    place = Place(ASKS, gates=False)
    place.opens_as("denied")
    place.remaining_s = 0.0
    assert (await place.gate.judge(PUSH)).allow
