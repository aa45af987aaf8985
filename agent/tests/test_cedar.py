"""The rules as the gate asks them, on paths and lines as they come from a sandbox."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bgagent_agent.cedar import CedarPolicy
from bgagent_agent.payload import PolicyText, Session, parse_session
from bgagent_agent.policy import Allow, Ask, Deny
from bgagent_agent.runner import ToolCall
from conftest import make_payload


def session(text: str = "", timeout_s: int = 3600, gates: bool = True) -> Session:
    """One with policies in force."""
    rules = PolicyText(text, timeout_s, 50, gates)
    return dataclasses.replace(parse_session(make_payload()), policies=rules)


@pytest.fixture
def rules(tmp_path: Path) -> CedarPolicy:
    """The built-in ones, in a workspace that exists."""
    return CedarPolicy(session(), tmp_path, "/home/nobody")


def bash(command: str, directory: Path) -> ToolCall:
    return ToolCall("call", "Bash", {"command": command}, str(directory))


def test_what_no_rule_names_runs_and_a_hard_rule_denies(rules: CedarPolicy, tmp_path: Path) -> None:
    assert rules.judge(bash("python -m pytest -q", tmp_path)) == Allow()
    ruling = rules.judge(bash("rm -rf /", tmp_path))
    assert isinstance(ruling, Deny)
    assert ruling.reason.startswith("rm_slash: ")


def test_no_gate_waits_longer_than_the_task_says(tmp_path: Path) -> None:
    ruling = CedarPolicy(session(timeout_s=60), tmp_path, "/home/nobody").judge(
        bash("echo A=1 > .env", tmp_path)
    )
    assert isinstance(ruling, Ask)
    assert ruling.timeout_s == 60


def test_a_soft_rule_asks_with_the_scopes_that_would_have_covered_it(
    rules: CedarPolicy, tmp_path: Path
) -> None:
    call = bash("echo A=1 > .env", tmp_path)
    ruling = rules.judge(call)
    assert isinstance(ruling, Ask)
    assert (ruling.rule_ids, ruling.severity, ruling.timeout_s) == (("write_env_files",), "high", 600)
    assert "write_path:.env" in ruling.scopes
    assert ruling.kin == {"write_env_files"}
    assert rules.covers(call, ("write_path:.env",))
    assert not rules.covers(call, ("write_path:*.md",))


def test_what_cannot_be_read_asks_and_is_no_kin_of_another(rules: CedarPolicy, tmp_path: Path) -> None:
    ruling = rules.judge(bash('"$TOOL" --all', tmp_path))
    assert isinstance(ruling, Ask)
    assert ruling.kin == frozenset()


def test_a_tool_that_nobody_knows_and_a_policy_that_does_not_parse_are_no_yes(
    rules: CedarPolicy, tmp_path: Path
) -> None:
    assert isinstance(rules.judge(ToolCall("call", "Teleport", {}, str(tmp_path))), Deny)
    with pytest.raises(ValueError, match=r"."):
        CedarPolicy(session("permit("), tmp_path, "/home/nobody")


def test_without_gates_hard_rules_and_unusable_calls_are_denied(tmp_path: Path) -> None:
    rules = CedarPolicy(session(gates=False), tmp_path, "/home/nobody")
    for command in ("rm -rf /", 'true && rm -rf / --no-preserve-root; "$TOOL"'):
        assert isinstance(rules.judge(bash(command, tmp_path)), Deny), command
    assert isinstance(rules.judge(ToolCall("call", "Bash", {"command": 7}, str(tmp_path))), Deny)


def test_without_gates_a_tool_that_no_rule_knows_may_run(tmp_path: Path) -> None:
    rules = CedarPolicy(session(gates=False), tmp_path, "/home/nobody")
    assert rules.judge(ToolCall("call", "Teleport", {}, str(tmp_path))) == Allow()
    assert rules.judge(ToolCall("call", "mcp__other__tool", {}, str(tmp_path))) == Allow()
