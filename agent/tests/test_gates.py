"""Gates in a whole attempt: payload, platform, inbox and the wait, with a scripted runner and policy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from bgagent_agent.control import ApprovalRequest
from bgagent_agent.errors import Refused, Unreachable
from bgagent_agent.gate import OpenGate, Verdict
from bgagent_agent.gateway import GatewayControl
from bgagent_agent.logs import Log
from bgagent_agent.payload import PolicyText, Session, parse_session
from bgagent_agent.policy import Ask, Deny, PolicyGate, Ruling
from bgagent_agent.redaction import Redactor
from bgagent_agent.runner import ToolCall
from conftest import GREEN, World, make_payload
from fake_gateway import HARNESS
from scripted_runner import Query, ScriptedRunner

POLICIES = {"text": "forbid (principal, action, resource);", "approval_timeout_s": 300, "gates_left": 50}


class Asking:
    """Asks about every call that nothing allowed beforehand."""

    def judge(self, call: ToolCall) -> Ruling:
        return Ask(("push",), "high", 300, f"runs {call.input['command']}", ("this_call", "rule:push"))

    def covers(self, call: ToolCall, scopes: Sequence[str]) -> bool:
        return "rule:push" in scopes


def governed(world: World, verdicts: list[Verdict], calls: int = 1) -> Query:
    """A query whose calls go through the gate of the task."""
    world.gateway.payload["policies"] = POLICIES
    world.policy = lambda session: Asking()

    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        for _ in range(calls):
            call = await run.begin("I push.")
            verdicts.append(await run.gate.judge(call))

    return work


async def test_a_person_approves_and_the_scope_holds_for_the_rest_of_the_attempt(world: World) -> None:
    verdicts: list[Verdict] = []
    work = governed(world, verdicts, calls=2)

    async def approve() -> None:
        await world.gateway.until(lambda: world.gateway.people.approvals)
        world.gateway.people.decide("approved", scope="rule:push")

    approving = asyncio.create_task(approve())
    assert await world.run(work) == 0
    await approving
    assert [verdict.allow for verdict in verdicts] == [True, True]
    ((name, body),) = world.gateway.people.bodies
    assert name == "approval"
    assert body["client_id"] == "call-2"
    assert body["input"] == {"command": "work 2"}
    assert "truncated" not in body
    assert ("i-g1", "acknowledged") in world.gateway.receipts


async def test_allowances_of_the_payload_hold_from_the_start(world: World) -> None:
    verdicts: list[Verdict] = []
    work = governed(world, verdicts)
    world.gateway.payload["allowances"] = ["rule:push"]
    assert await world.run(work) == 0
    assert verdicts == [Verdict(True)]
    assert world.gateway.people.approvals == {}


async def test_a_gate_outlives_a_restart_of_the_platform(world: World) -> None:
    verdicts: list[Verdict] = []
    work = governed(world, verdicts)

    async def restart() -> None:
        await world.gateway.until(lambda: world.gateway.people.approvals)
        world.gateway.stop()
        world.gateway.start()
        world.gateway.people.decide("denied", reason="not today")

    restarting = asyncio.create_task(restart())
    assert await world.run(work) == 0
    await restarting
    assert verdicts == [Verdict(False, "push: a person was asked; not today")]
    assert len(world.gateway.people.approvals) == 1


async def test_a_cancel_while_a_gate_is_open_ends_the_attempt(world: World) -> None:
    verdicts: list[Verdict] = []
    work = governed(world, verdicts)

    async def cancel() -> None:
        await world.gateway.until(lambda: world.gateway.people.approvals)
        world.gateway.post({"id": "c1", "kind": "cancel"})

    cancelling = asyncio.create_task(cancel())
    assert await world.run(work) == 0
    await cancelling
    assert world.result["outcome"] == "cancelled"
    assert [verdict.allow for verdict in verdicts] in ([], [False])


async def test_no_more_gates_is_a_denial(world: World) -> None:
    verdicts: list[Verdict] = []
    work = governed(world, verdicts)
    world.gateway.people.gates = 0
    assert await world.run(work) == 0
    assert verdicts == [Verdict(False, "push: a person was asked; this task may ask people no more")]


class HardOnly(Asking):
    """Forbids to force, and asks about everything else."""

    def judge(self, call: ToolCall) -> Ruling:
        if "--force" in call.input["command"]:
            return Deny("never by force", ("force",))
        return super().judge(call)


async def test_without_gates_hard_rules_hold_and_nothing_waits_for_a_person(world: World) -> None:
    verdicts: list[Verdict] = []
    world.gateway.payload.pop("policies", None)
    world.gateway.payload["rules"] = POLICIES
    world.policy = lambda session: HardOnly()

    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        for command in ("git push", "git push --force"):
            verdicts.append(await run.gate.judge(ToolCall("c", "Bash", {"command": command})))
        verdicts.append(await run.gate.judge(ToolCall("c", "Teleport", {"command": ""})))

    assert await world.run(work) == 0
    assert verdicts == [Verdict(True), Verdict(False, "force: never by force"), Verdict(True)]
    assert world.gateway.people.bodies == []


async def test_without_gates_policies_that_cannot_be_loaded_let_no_tool_run(world: World) -> None:
    verdicts: list[Verdict] = []
    work = governed(world, verdicts)
    world.gateway.payload.pop("policies", None)
    world.gateway.payload["rules"] = POLICIES
    world.policy = None
    assert await world.run(work) == 0
    assert verdicts == [Verdict(False, "this task has policies that could not be loaded")]


def fails(session: Session) -> Any:
    raise ValueError("line 1: no such action")


@pytest.mark.parametrize("policy", [None, fails])
async def test_policies_that_cannot_be_loaded_let_no_tool_run(world: World, policy: Any) -> None:
    verdicts: list[Verdict] = []
    work = governed(world, verdicts)
    world.policy = policy
    assert await world.run(work) == 0
    assert verdicts == [Verdict(False, "this task has policies that could not be loaded")]


@pytest.mark.parametrize("nothing", [None, [], {}])
async def test_without_policies_the_gate_is_open(world: World, nothing: Any) -> None:
    world.gateway.payload["policies"] = nothing
    gates: list[Any] = []

    async def work(run: ScriptedRunner) -> None:
        gates.append(run.gate)
        await run.write("pricing.py", GREEN)

    assert await world.run(work) == 0
    assert isinstance(gates[0], OpenGate)
    assert not isinstance(gates[0], PolicyGate)


def test_policies_in_a_payload_are_read_or_refused() -> None:
    session = parse_session(make_payload(policies=POLICIES, allowances=["bash_pattern:npm *"]))
    assert session.policies == PolicyText(POLICIES["text"], 300, 50, gates=True)  # type: ignore[arg-type]
    assert session.allowances == ("bash_pattern:npm *",)
    without = parse_session(make_payload(rules=POLICIES))
    assert without.policies == PolicyText(POLICIES["text"], 300, 50, gates=False)  # type: ignore[arg-type]
    for malformed in ({"text": "x"}, ["x"], "forbid"):
        for member in ("policies", "rules"):
            with pytest.raises(Refused):
                parse_session(make_payload(**{member: malformed}))


async def test_a_read_of_a_gate_fails_at_once_while_the_platform_is_away(world: World) -> None:
    control = GatewayControl(world.gateway.url, HARNESS, 1, Log(Redactor(), world.log))
    request = ApprovalRequest("c", "Bash", {}, False, "0" * 64, ("push",), "high", "pushes", 300, ())
    try:
        assert (await control.approval(request, once=True)).state == "pending"
        world.gateway.stop()
        with pytest.raises(Unreachable):
            await control.approval(request, once=True)
    finally:
        await control.close()
