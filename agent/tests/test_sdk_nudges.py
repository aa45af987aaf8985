"""The three modes of a nudge on the real CLI, judged by the request bodies that the model received."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from bgagent_agent.gate import OpenGate, Verdict
from bgagent_agent.runner import Message, Mode, ToolCall, ToolEnded
from bgagent_agent.sdk_runner import SdkRunner
from fake_gateway import FakeGateway
from messages_api import assistant_turns, tool_results
from program import leftovers_below
from sdk_world import ending, running, until_done
from waiting import appears

TEXT = '<user_nudge id="n1">\nMind the date line.\n</user_nudge>'
WAITS = {
    "name": "Bash",
    "input": {"command": "touch started; until [ -e go ]; do sleep 0.02; done; echo ran"},
}
HANGS = {"name": "Bash", "input": {"command": "touch started; exec tail -f /dev/null", "timeout": 600_000}}


class Speaking:
    """A person speaks up when the first tool call is about to start."""

    def __init__(self, message: Message, waits_for_ever: bool = False) -> None:
        self.message = message
        self.runner: SdkRunner | None = None
        self.judged: list[str] = []
        self.asked = asyncio.Event()
        self.waits_for_ever = waits_for_ever

    async def judge(self, call: ToolCall) -> Verdict:
        self.judged.append(call.id)
        self.asked.set()
        if len(self.judged) == 1 and self.runner is not None:
            assert await self.runner.nudge(self.message)
        if self.waits_for_ever:
            await asyncio.Event().wait()
        return Verdict(True)


def last(body: dict[str, Any]) -> str:
    """What came in since the model spoke, or the whole opening."""
    messages = body["messages"]
    spoke = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    return json.dumps(messages[spoke + 1 :])


def first_calls(*tools: dict[str, Any]) -> Any:
    return lambda body: {"tools": list(tools)} if assistant_turns(body) == 0 else {"text": "Over."}


async def test_next_is_in_the_request_after_the_running_tool(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.model = first_calls(WAITS)
    async with running(gateway, tmp_path, OpenGate()) as runner:
        await appears(tmp_path / "work" / "started")
        assert await runner.nudge(Message(("n1",), TEXT))
        (tmp_path / "work" / "go").touch()
        end, attached = await ending(runner)
    assert end.reason == "completed"
    assert len(gateway.model_requests) == 2
    assert "ran" in tool_results(gateway.model_requests[1])[0]
    assert "Mind the date line." in last(gateway.model_requests[1])
    assert [(one.ids, one.turn) for one in attached] == [(("n1",), 2)]


async def test_steer_takes_the_place_of_the_call_about_to_start(gateway: FakeGateway, tmp_path: Path) -> None:
    made = [{"name": "Bash", "input": {"command": f"touch made-{n}"}} for n in (1, 2)]
    gateway.model = first_calls(*made)
    gate = Speaking(Message(("n1", "n2"), TEXT, "steer"))
    async with running(gateway, tmp_path, gate) as runner:
        gate.runner = runner
        end, attached = await ending(runner)
    assert end.reason == "completed"
    first, second = tool_results(gateway.model_requests[1])
    assert "Mind the date line." in first
    assert "Read it first" in second
    assert not list((tmp_path / "work").glob("made-*"))
    assert [(one.ids, one.turn) for one in attached] == [(("n1", "n2"), 2)]


async def test_who_watches_reads_why_a_call_did_not_run_and_not_how_the_cli_words_it(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.model = first_calls({"name": "Bash", "input": {"command": "touch made"}})
    gate = Speaking(Message(("n1",), TEXT, "steer"))
    async with running(gateway, tmp_path, gate) as runner:
        gate.runner = runner
        async with asyncio.timeout(60):
            events = [event async for event in until_done(runner)]
    ended = next(event for event in events if isinstance(event, ToolEnded))
    assert ended.told == "Not run: a person's message takes its place."
    assert "Mind the date line." in ended.content


async def test_a_denial_is_told_by_its_reason_alone(gateway: FakeGateway, tmp_path: Path) -> None:
    class Never:
        async def judge(self, call: ToolCall) -> Verdict:
            return Verdict(False, f"no {call.name} here")

    gateway.model = first_calls({"name": "Bash", "input": {"command": "touch made"}})
    async with running(gateway, tmp_path, Never()) as runner, asyncio.timeout(60):
        events = [event async for event in until_done(runner)]
    ended = next(event for event in events if isinstance(event, ToolEnded))
    assert ended.told == "no Bash here"
    assert "no Bash here" in ended.content


async def test_steer_ends_the_wait_for_a_decision(gateway: FakeGateway, tmp_path: Path) -> None:
    gate = Speaking(Message(("n1",), TEXT, "steer"), waits_for_ever=True)
    async with running(gateway, tmp_path, gate) as runner:
        gate.runner = runner
        end, _ = await ending(runner)
    assert end.reason == "completed"
    assert "Mind the date line." in tool_results(gateway.model_requests[1])[0]
    assert not (tmp_path / "work" / "made.txt").exists()


async def test_the_next_batch_after_a_steer_runs(gateway: FakeGateway, tmp_path: Path) -> None:
    touch = {"name": "Bash", "input": {"command": "echo x >> made.txt"}}
    gateway.model = lambda body: {"tools": [touch, touch]} if assistant_turns(body) < 2 else {"text": "Over."}
    gate = Speaking(Message(("n1",), TEXT, "steer"))
    async with running(gateway, tmp_path, gate) as runner:
        gate.runner = runner
        end, _ = await ending(runner)
    assert end.reason == "completed"
    assert (tmp_path / "work" / "made.txt").read_text() == "x\nx\n"


async def test_steer_while_a_tool_runs_and_none_follows_comes_as_next(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.model = first_calls(WAITS)
    async with running(gateway, tmp_path, OpenGate()) as runner:
        await appears(tmp_path / "work" / "started")
        assert await runner.nudge(Message(("n1",), TEXT, "steer"))
        assert await runner.nudge(Message(("n2",), "And the year."))
        (tmp_path / "work" / "go").touch()
        end, attached = await ending(runner)
    assert end.reason == "completed"
    assert "ran" in tool_results(gateway.model_requests[1])[0]
    seen = last(gateway.model_requests[1])
    assert 0 < seen.index("Mind the date line.") < seen.index("And the year.")
    assert [(one.ids, one.turn) for one in attached] == [(("n1", "n2"), 2)]


@pytest.mark.parametrize("mode", ["next", "steer", "interrupt"])
async def test_a_nudge_while_the_model_says_its_last_word_gets_a_turn_of_its_own(
    gateway: FakeGateway, tmp_path: Path, mode: Mode
) -> None:
    async with running(gateway, tmp_path, OpenGate()) as runner:
        await ending(runner)
        speaking = Held(gateway)
        await runner.resume("Go on.")
        await gateway.until(lambda: speaking.asked)
        assert await runner.nudge(Message(("n1",), TEXT, mode))
        speaking.release()
        end, attached = await ending(runner)
        assert not await runner.nudge(Message(("n2",), "too late"))
    assert end.reason == "completed"
    assert "Mind the date line." in last(gateway.model_requests[-1])
    assert [one.ids for one in attached] == [("n1",)]


class Held:
    """The model keeps its next answer back."""

    def __init__(self, gateway: FakeGateway) -> None:
        self.gateway = gateway
        self.asked = False
        self._event = threading.Event()
        gateway.model = self.answer

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.asked:
            self.gateway.note(lambda: setattr(self, "asked", True))
            self._event.wait(60)
        return {"text": "My last word."}

    def release(self) -> None:
        self._event.set()


async def test_interrupt_kills_the_running_tool(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.model = first_calls(HANGS)
    async with running(gateway, tmp_path, OpenGate()) as runner:
        await appears(tmp_path / "work" / "started")
        assert await runner.nudge(Message(("n1",), "Earlier."))
        assert await runner.nudge(Message(("n2",), TEXT, "interrupt"))
        end, attached = await ending(runner)
        assert not [line for line in leftovers_below(tmp_path / "work") if line.startswith("tail")]
    assert end.reason == "completed"
    assert len(gateway.model_requests) == 2
    seen = last(gateway.model_requests[1])
    assert "[Request interrupted by user for tool use]" in seen
    assert 0 < seen.index("Earlier.") < seen.index("Mind the date line.")
    assert [(one.ids, one.turn) for one in attached] == [(("n1",), 2), (("n2",), 2)]


async def test_interrupt_takes_a_waiting_steer_with_it(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.model = first_calls(HANGS)
    async with running(gateway, tmp_path, OpenGate()) as runner:
        await appears(tmp_path / "work" / "started")
        assert await runner.nudge(Message(("n1",), "Earlier.", "steer"))
        assert await runner.nudge(Message(("n2",), TEXT, "interrupt"))
        end, attached = await ending(runner)
    assert end.reason == "completed"
    assert [(one.ids, one.turn) for one in attached] == [(("n1", "n2"), 2)]


async def test_interrupt_ends_the_wait_for_a_decision(gateway: FakeGateway, tmp_path: Path) -> None:
    gate = Speaking(Message((), ""), waits_for_ever=True)
    async with running(gateway, tmp_path, gate) as runner:
        await gateway.until(lambda: gateway.model_requests)
        await gate.asked.wait()
        assert await runner.nudge(Message(("n1",), TEXT, "interrupt"))
        end, _ = await ending(runner)
    assert end.reason == "completed"
    assert "Mind the date line." in last(gateway.model_requests[1])
    assert not (tmp_path / "work" / "made.txt").exists()


async def test_a_nudge_whose_request_is_not_made_any_more_is_not_delivered(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.model = lambda body: {"tools": [WAITS]}
    work = tmp_path / "work"
    async with running(gateway, tmp_path, OpenGate(), turns=1) as runner:
        await appears(work / "started")
        assert await runner.nudge(Message(("n1",), TEXT))
        (work / "go").touch()
        end, attached = await ending(runner)
    assert end.reason == "max_turns"
    assert len(gateway.model_requests) == 1
    assert attached == []
