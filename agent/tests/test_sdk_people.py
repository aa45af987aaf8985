"""The platform's own tools on the real CLI, judged by the request bodies that the model received."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from bgagent_agent.gate import OpenGate
from bgagent_agent.own_tools import full_name
from bgagent_agent.runner import Message, OwnCall, OwnTool
from fake_gateway import FakeGateway
from messages_api import assistant_turns, tool_results
from sdk_world import done, ending, running
from test_sdk_nudges import Speaking, last

ASK: dict[str, Any] = {"name": full_name("ask_human"), "input": {"question": "Drop the table?"}}
BASH = {"name": "Bash", "input": {"command": "echo x >> made.txt"}}


class Asked:
    """A tool that a test answers."""

    def __init__(self, answer: str | None = "Keep it.") -> None:
        self.answer = answer
        self.calls: list[OwnCall] = []
        self.began = asyncio.Event()
        self.given_up = asyncio.Event()

    async def run(self, call: OwnCall) -> str:
        self.calls.append(call)
        self.began.set()
        try:
            if self.answer is None:
                await asyncio.Event().wait()
            return f"{self.answer} {call.input['question']}"
        except asyncio.CancelledError:
            self.given_up.set()
            raise

    @property
    def tools(self) -> tuple[OwnTool, ...]:
        schema = {"type": "object", "required": ["question"], "properties": {"question": {"type": "string"}}}
        return (OwnTool("ask_human", "Ask a person.", schema, self.run),)


async def test_the_model_is_offered_our_tools_and_reads_their_answer(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    again = {"name": ASK["name"], "input": {"question": "And the index?"}}
    gateway.model = lambda body: {"tools": [ASK, again]} if assistant_turns(body) == 0 else {"text": "Over."}
    asked = Asked()
    async with running(gateway, tmp_path, OpenGate(), own_tools=asked.tools) as runner:
        assert (await done(runner)).reason == "completed"
    offered = {tool["name"] for tool in gateway.model_requests[0]["tools"]}
    assert offered == {"Bash", "Read", full_name("ask_human")}
    first, second = tool_results(gateway.model_requests[1])
    assert "Keep it. Drop the table?" in first
    assert "Keep it. And the index?" in second
    said = gateway.model_requests[1]["messages"]
    ids = {
        block["id"]: block["input"]
        for message in said
        if message["role"] == "assistant"
        for block in message["content"]
        if block["type"] == "tool_use"
    }
    assert {call.id: call.input for call in asked.calls} == ids
    assert {call.turn for call in asked.calls} == {1}


async def test_steer_does_not_replace_a_call_of_ours(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.model = lambda body: {"tools": [ASK, BASH]} if assistant_turns(body) == 0 else {"text": "Over."}
    asked = Asked()
    gate = Speaking(Message(("n1",), "Leave the table alone.", "steer"))
    async with running(gateway, tmp_path, gate, own_tools=asked.tools) as runner:
        gate.runner = runner
        end, attached = await ending(runner)
    assert end.reason == "completed"
    ours, theirs = tool_results(gateway.model_requests[1])
    assert "Keep it." in ours
    assert "Leave the table alone." in theirs
    assert not (tmp_path / "work" / "made.txt").exists()
    assert [one.ids for one in attached] == [("n1",)]


async def test_interrupt_gives_up_a_question_of_the_agent(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.model = lambda body: {"tools": [ASK]} if assistant_turns(body) == 0 else {"text": "Over."}
    asked = Asked(None)
    async with running(gateway, tmp_path, OpenGate(), own_tools=asked.tools) as runner:
        await asked.began.wait()
        assert await runner.nudge(Message(("n1",), "Never mind the table.", "interrupt"))
        end, _ = await ending(runner)
        async with asyncio.timeout(30):
            await asked.given_up.wait()
    assert end.reason == "completed"
    assert "Never mind the table." in last(gateway.model_requests[1])


async def test_a_nudge_reaches_the_model_after_the_answer_to_its_question(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.model = lambda body: {"tools": [ASK]} if assistant_turns(body) == 0 else {"text": "Over."}
    asked = Asked()
    gate = Speaking(Message(("n1",), "Mind the index."))
    async with running(gateway, tmp_path, gate, own_tools=asked.tools) as runner:
        gate.runner = runner
        assert (await done(runner)).reason == "completed"
    seen = last(gateway.model_requests[1])
    assert 0 < seen.index("Keep it.") < seen.index("Mind the index.")


async def test_a_reminder_is_in_the_request_after_a_batch_and_not_in_the_next(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.model = lambda body: {"tools": [BASH]} if assistant_turns(body) < 2 else {"text": "Over."}
    words = ["Tell how far you are."]
    async with running(
        gateway, tmp_path, OpenGate(), remind=lambda: words.pop() if words else None
    ) as runner:
        assert (await done(runner)).reason == "completed"
    assert "Tell how far you are." in last(gateway.model_requests[1])
    assert "Tell how far you are." not in last(gateway.model_requests[2])
