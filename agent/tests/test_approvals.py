"""The wait for a person's decision: who was first, what is borne, and what people see."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bgagent_agent.approvals import FAILED_READS, input_hash, input_shown
from bgagent_agent.control import ApprovalState
from bgagent_agent.errors import Refused, Unreachable
from bgagent_agent.runner import ToolCall
from gate_world import ASKS, PUSH, Place

SECRET = "ghp_" + "a1B2" * 9


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


async def test_what_people_see_of_the_input_has_no_secrets() -> None:
    place = Place(ASKS)
    place.opens_as("approved")
    await place.gate.judge(ToolCall("c", "Bash", {"command": f"curl -H {SECRET}"}))
    assert place.people.opened[0].input == {"command": "curl -H [redacted GitHub token]"}


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
