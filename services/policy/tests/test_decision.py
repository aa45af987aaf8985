"""The order of the steps, what a decision carries, and that everything unclear is a denial."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cedarpy
import pytest

from bgagent_policy import Decision, Denial, Effect, Policies, Request, Scope, Severity, Source, decide
from bgagent_policy.rule import Tier
from support import POLICIES, bash, write

FORCE = Request("Bash", {"command": "git push -f"})


def asked(**settings: Any) -> Decision:
    return decide(replace(FORCE, **settings), POLICIES)


def test_hard_comes_before_what_was_allowed_beforehand() -> None:
    decision = bash("rm -rf / && git push -f", scopes=["all_session"])
    assert (decision.effect, decision.source, decision.rule_ids) == (Effect.DENY, Source.HARD, ("rm_slash",))


def test_what_was_allowed_beforehand_comes_before_a_recent_denial() -> None:
    denial = Denial(FORCE.input_hash, frozenset({"force_push_any"}), 5)
    decision = asked(denials=(denial,), scopes=(Scope.parse("rule:force_push_any"),))
    assert (decision.effect, decision.source) == (Effect.ALLOW, Source.SCOPE)


def test_a_recent_denial_comes_before_asking_again() -> None:
    denial = Denial(FORCE.input_hash, frozenset(), 5, "use a new branch")
    decision = asked(denials=(denial,))
    assert (decision.effect, decision.source) == (Effect.DENY, Source.RECENT_DENIAL)
    assert "use a new branch" in decision.summary
    assert asked(denials=(replace(denial, age_s=59.9),)).effect is Effect.DENY
    assert asked(denials=(replace(denial, age_s=60),)).effect is Effect.ASK
    assert asked(denials=(replace(denial, age_s=-1),)).effect is Effect.ASK
    assert asked(denials=(replace(denial, age_s=float("nan")),)).effect is Effect.ASK
    assert asked(denials=(replace(denial, input_hash="other"),)).effect is Effect.ASK


def test_another_spelling_of_what_was_denied_is_denied_as_well() -> None:
    denial = Denial("other", frozenset({"force_push_any"}), 5)
    assert asked(denials=(denial,)).source is Source.RECENT_DENIAL
    unknown = Denial("other", frozenset({"unknown_command"}), 5)
    assert bash("rm $X", denials=(unknown,)).effect is Effect.ASK


def test_a_call_that_needs_nobody_is_not_held_up_by_a_denial() -> None:
    harmless = Request("Bash", {"command": "ls"})
    denial = Denial(harmless.input_hash, frozenset({"force_push_any"}), 1)
    assert decide(replace(harmless, denials=(denial,)), POLICIES).effect is Effect.ALLOW


def test_severity_is_the_highest_and_the_timeout_the_shortest_of_all_rules() -> None:
    decision = bash("git push -f origin main && echo x > .env")
    assert decision.severity is Severity.HIGH
    assert decision.timeout_s == 300
    assert write(".env").timeout_s == 600
    assert bash("git push -f").severity is Severity.MEDIUM


@pytest.mark.parametrize(
    ("settings", "timeout"),
    [
        ({}, 300),
        ({"approval_timeout_s": 60}, 60),
        ({"approval_timeout_s": 900}, 300),
        ({"approval_timeout_s": 5}, 30),
        ({"remaining_s": 10_000}, 300),
        ({"remaining_s": 300}, 180),
        ({"remaining_s": 150}, 30),
        ({"remaining_s": 300, "approval_timeout_s": 60}, 60),
    ],
)
def test_a_gate_waits_as_long_as_rule_task_and_life_allow(settings: dict[str, Any], timeout: int) -> None:
    assert asked(**settings).timeout_s == timeout


@pytest.mark.parametrize("remaining", [149.9, 120, 0, -5, float("nan")])
def test_a_task_with_too_little_time_left_is_denied(remaining: float) -> None:
    decision = asked(remaining_s=remaining)
    assert (decision.effect, decision.source) == (Effect.DENY, Source.SOFT)
    assert "time" in decision.summary


def test_a_read_only_task_writes_nothing_by_any_tool() -> None:
    for tool, rule in (("Write", "read_only_forbid_write"), ("Edit", "read_only_forbid_edit")):
        assert write("x", tool=tool, read_only=True).rule_ids == (rule,)
    notebook = Request("NotebookEdit", {"notebook_path": "x"}, read_only=True)
    assert decide(notebook, POLICIES).rule_ids == ("read_only_forbid_write",)
    for line in (
        "echo a > x",
        "sed -i s/a/b/ x",
        "rm x",
        "cp a b",
        "cd src; touch y",
        "tee x < y",
        "git mv a b",
    ):
        assert bash(line, read_only=True).rule_ids == ("read_only_forbid_write",), line
    for line in ("git push", "git commit -m x", "sh -c 'git push origin topic'"):
        assert bash(line, read_only=True).rule_ids == ("read_only_forbid_push",), line
    for line in ("git log", "npm test > /tmp/log", "grep -r x . | head", "ls 2>/dev/null"):
        assert bash(line, read_only=True).effect is Effect.ALLOW, line


def test_the_input_hash_is_that_of_the_call_alone() -> None:
    same = Request("Bash", dict(reversed([("command", "git push -f"), ("timeout", 5)])), read_only=True)
    other = Request("Bash", {"timeout": 5, "command": "git push -f"})
    assert same.input_hash == other.input_hash != FORCE.input_hash
    assert bash("git push -f").input_hash == FORCE.input_hash


def test_a_decision_says_what_it_is_about() -> None:
    decision = bash("echo x > .env; git push -f " + "a" * 500)
    assert "write_env_files: Writing a file of environment variables (.env)" in decision.reasons
    assert all(len(reason) < 400 for reason in decision.reasons)


class _Broken:
    """An engine that answers with errors, or not at all."""

    def __init__(self, decision: Any, errors: list[str], count: int = 1) -> None:
        diagnostics = type("Diagnostics", (), {"errors": errors, "reasons": []})
        self._answer = type("Answer", (), {"decision": decision, "diagnostics": diagnostics})
        self._count = count

    def __call__(self, requests: list[Any], *_: Any, **__: Any) -> list[Any]:
        return [self._answer] * (len(requests) * self._count)


@pytest.mark.parametrize(
    "engine",
    [
        _Broken(cedarpy.Decision.Allow, ["a condition failed"]),
        _Broken(cedarpy.Decision.NoDecision, []),
        _Broken(cedarpy.Decision.Deny, []),
        _Broken(None, []),
        _Broken(cedarpy.Decision.Allow, [], count=0),
        _Broken(cedarpy.Decision.Allow, [], count=2),
        None,
    ],
)
def test_an_engine_that_does_not_answer_clearly_denies(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cedarpy, "is_authorized_batch", engine)
    decision = bash("ls")
    assert (decision.effect, decision.source) == (Effect.DENY, Source.ERROR)


def test_a_request_that_cannot_be_judged_is_denied() -> None:
    broken: Any
    for broken in (
        Request("Bash", {"command": "ls", "x": object()}),
        Request("Bash", {"command": "ls"}, task_type="\ud800"),
        Request("Bash", {"command": "ls"}, read_only="yes"),  # type: ignore[arg-type]
        Request("Bash", None),  # type: ignore[arg-type]
        Request(None, {}),  # type: ignore[arg-type]
    ):
        assert decide(broken, POLICIES).effect is Effect.DENY


def test_every_built_in_rule_is_met_by_something() -> None:
    from corpus import CASES

    met = {rule for case in CASES for rule in case.rules}
    met |= {"read_only_forbid_write", "read_only_forbid_edit", "read_only_forbid_push"}
    assert {rule.rule_id for rule in POLICIES.rules} <= met


def test_rules_never_change_the_tier_of_others() -> None:
    loud = Policies.load('@tier("soft") @rule_id("all_calls")\nforbid (principal, action, resource);')
    assert bash("rm -rf /", loud).effect is Effect.DENY
    assert bash("ls", loud).rule_ids == ("all_calls",)
    assert all(rule.tier is Tier.HARD for rule in loud.rules if rule.rule_id == "rm_slash")
