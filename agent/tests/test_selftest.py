"""The self-test passes on the pinned version, and fails where the CLI does not obey."""

from __future__ import annotations

import pytest

from bgagent_agent.selftest.__main__ import run


async def test_the_pinned_agent_passes_its_self_test(capsys: pytest.CaptureFixture[str]) -> None:
    assert await run({}) == []
    assert capsys.readouterr().out.count("ok  ") == 7


async def test_an_agent_that_ignores_the_gate_fails_its_self_test() -> None:
    failed = await run({"CLAUDE_CODE_SIMPLE": "1"})
    assert "A call that the gate denies is not executed, and the model reads why." in failed
    assert "A gate that does not answer in time denies." in failed
