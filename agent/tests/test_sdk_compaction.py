"""A shortened conversation on the real CLI: what people have said is still before the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import ClaudeAgentOptions

from bgagent_agent.gate import OpenGate
from bgagent_agent.runner import Message
from bgagent_agent.sdk_options import cli_options
from fake_gateway import FakeGateway
from sdk_world import ending, running
from waiting import appears

WAITS = {
    "name": "Bash",
    "input": {"command": "touch started; until [ -e go ]; do sleep 0.02; done; echo ran"},
}
STEP = {"name": "Bash", "input": {"command": "echo x >> made.txt"}}
NUDGE = '<user_nudge id="n1">\nMind the &lt;date&gt; line.\n</user_nudge>'
STANDS = f"Still holds:\n{NUDGE}"
LONG = {"input_tokens": 90_000, "output_tokens": 20}


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CLI shortens a conversation long before the model must."""

    def made(*given: Any) -> ClaudeAgentOptions:
        once = cli_options(*given)
        return replace(once, extra_args={**once.extra_args, "autocompact": "100000"})

    monkeypatch.setattr("bgagent_agent.sdk_runner.cli_options", made)


class Forgetful:
    """Works in long turns until its conversation was shortened so often, and says its requests since."""

    def __init__(self, gateway: FakeGateway, compactions: int = 1) -> None:
        self.left = compactions
        self.since: list[str] = []
        self.before = 0
        gateway.model = self.answer

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        if "Respond with TEXT ONLY" in json.dumps(body["messages"][-1]):
            self.left -= 1
            self.since = []
            return {"text": "<summary>The work is half done.</summary>"}
        self.before += 1
        self.since.append(json.dumps(body["messages"], ensure_ascii=False))
        if self.before == 1:
            return {"tools": [WAITS]}
        if self.left > 0:
            return {"tools": [STEP], "usage": LONG}
        return {"tools": [STEP]} if len(self.since) < 3 else {"text": "Over."}


@pytest.mark.usefixtures("early")
async def test_what_people_said_is_before_the_model_after_each_compaction(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    model = Forgetful(gateway, compactions=2)
    asked: list[Sequence[str]] = []

    def standing(ids: Sequence[str]) -> str:
        asked.append(ids)
        return STANDS

    async with running(gateway, tmp_path, OpenGate(), standing=standing, turns=20) as runner:
        await appears(tmp_path / "work" / "started", 120.0)
        assert await runner.nudge(Message(("n1",), NUDGE))
        (tmp_path / "work" / "go").touch()
        end, attached = await ending(runner)
    assert end.reason == "completed"
    assert asked == [("n1",), ("n1",)]
    assert len(model.since) == 3
    for request in model.since:
        assert "The work is half done." in request
        assert request.count("Mind the &lt;date&gt; line.") == 1
        assert "Still holds:" in request
    # It was delivered once, before: to have it again is no second delivery.
    assert [(one.ids, one.turn) for one in attached] == [(("n1",), 2)]


@pytest.mark.usefixtures("early")
async def test_a_compaction_is_in_the_trace(gateway: FakeGateway, tmp_path: Path) -> None:
    Forgetful(gateway)
    told: list[dict[str, Any]] = []

    def record(kind: str, turn: int | None = None, /, **fields: Any) -> None:
        if kind == "hook":
            told.append(fields)

    async with running(
        gateway, tmp_path, OpenGate(), standing=lambda ids: STANDS, record=record, turns=20
    ) as runner:
        await appears(tmp_path / "work" / "started", 120.0)
        (tmp_path / "work" / "go").touch()
        end, _ = await ending(runner)
    assert end.reason == "completed"
    events = [hook["event"] for hook in told]
    assert events.count("PreCompact") == events.count("PostCompact") == 1
    (start,) = [hook for hook in told if hook["event"] == "SessionStart"]
    assert start["input"]["source"] == "compact"
    assert start["answer"]["hookSpecificOutput"]["additionalContext"] == STANDS
