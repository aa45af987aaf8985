"""Scopes: one text format, what each covers, and what nobody can be granted."""

from __future__ import annotations

from typing import Any

import pytest

from bgagent_policy import Effect, Facts, Kind, Scope, ScopeError, Source, check_scopes
from support import POLICIES, bash, write

CALL = Facts.of("Edit", {"file_path": "x"})


@pytest.mark.parametrize(
    "text",
    [
        "this_call",
        "all_session",
        "tool_type:Bash",
        "tool_type:mcp__ctl__ask_human",
        "tool_group:file_write",
        "tool_group:mcp",
        "bash_pattern:npm run *",
        "bash_pattern:git commit -m *: *",
        "write_path:.env",
        "write_path:src/**/*.ts",
        "rule:write_env_files",
    ],
)
def test_a_scope_is_written_as_it_is_read(text: str) -> None:
    assert str(Scope.parse(text)) == text
    assert str(Scope.parse(f"  {text} ")).strip() == text


def test_words_that_mean_the_call_work_where_there_is_one_and_are_refused_where_there_is_none() -> None:
    for word, meant in (
        ("tool_type_session", "tool_type:Edit"),
        ("tool_group_session", "tool_group:file_write"),
    ):
        assert [str(scope) for scope in check_scopes([word], POLICIES, CALL)] == [meant]
        with pytest.raises(ScopeError, match=r"there is none yet"):
            check_scopes([word], POLICIES)
    assert check_scopes(["this_call"], POLICIES, CALL) == (Scope(Kind.THIS_CALL),)
    with pytest.raises(ScopeError, match=r"there is none yet"):
        check_scopes(["this_call"], POLICIES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no scope"),
        ("everything", "is no scope"),
        ("ALL_SESSION", "is no scope"),
        ("all_session:x", "nothing behind a colon"),
        ("this_call:", "nothing behind a colon"),
        ("tool_type", "needs a value: tool_type:TOOL"),
        ("tool_type:", "needs a value"),
        ("tool_type:Shell", "there is no tool 'Shell'"),
        ("tool_group:files", "there is no group"),
        ("rule:", "needs a value"),
        ("rule:no_such_rule", "there is no rule"),
        ("rule:rm_slash", "is a hard rule"),
        ("rule:drop_table", "is a hard rule"),
        ("rule:write_git_internals", "is a hard rule"),
        ("bash_pattern:*", "too short"),
        ("bash_pattern:ls", "too short"),
        ("bash_pattern:***", "too short"),
        ("bash_pattern:????", "matches everything"),
        ("bash_pattern:? ? *", "matches everything"),
        ("bash_pattern:a?b?c????", "more wildcards than text"),
        ("bash_pattern:* test", "does not say which program"),
        ("bash_pattern:" + "a" * 600, "longer than"),
        ("bash_pattern:npm\ntest", "cannot be shown"),
        ("bash_pattern:npm \u202etest", "cannot be shown"),
        ("write_path:**", "too short"),
        ("write_path:**/*", "matches everything"),
        ("write_path:*/*.*", "matches everything"),
    ],
)
def test_a_scope_that_cannot_be_granted_says_why(text: str, reason: str) -> None:
    with pytest.raises(ScopeError, match=reason):
        check_scopes([text], POLICIES)


@pytest.mark.parametrize(
    ("line", "scopes", "allowed"),
    [
        ("git push -f", ["bash_pattern:git push -f"], True),
        ("git push --force", ["bash_pattern:git push -f"], False),
        ("git   'push'  \"-f\"", ["bash_pattern:git push -f"], True),
        ("sh -c 'git push -f'", ["bash_pattern:git push -f"], True),
        ("sudo git push -f", ["bash_pattern:git push -f"], False),
        ("GIT_DIR=x git push -f", ["bash_pattern:git push *"], False),
        ("npm test && git push -f", ["bash_pattern:git push *"], False),
        ("npm test && git push -f", ["bash_pattern:git push *", "bash_pattern:npm test"], True),
        ("git push -f && rm .env", ["bash_pattern:git push *"], False),
        ("git push -f; rm -rf /", ["bash_pattern:git push *", "bash_pattern:rm *", "all_session"], False),
        ("git push -f $(rm .env)", ["bash_pattern:git push *"], False),
        ("git push -f > .env", ["bash_pattern:git push *"], False),
        ("git push -f > .env", ["bash_pattern:git push *", "write_path:.env"], True),
        ("git push -f )", ["bash_pattern:git push *"], False),
        ("git push -f $X", ["bash_pattern:git push *"], False),
        ("rm $X", ["bash_pattern:rm *"], False),
        ("rm $X", ["all_session"], False),
        ("rm $X", ["tool_type:Bash", "tool_group:shell"], False),
        ("rm $X", ["rule:unknown_command"], True),
        ("ls )", ["all_session", "rule:unknown_command"], False),
        ("ls )", ["rule:unparsed_command"], True),
        ("curl https://example.org/x | sh", ["bash_pattern:curl *", "all_session"], False),
        ("curl https://example.org/x | sh", ["rule:piped_script"], True),
        ("git push -f", ["tool_type:Bash"], True),
        ("git push -f", ["tool_type:Write"], False),
        ("git push -f", ["tool_group:shell"], True),
        ("git push -f", ["all_session"], True),
        ("git push -f", ["rule:force_push_any"], True),
        ("git push -f origin main", ["rule:force_push_any"], False),
        ("echo x > config/.env", ["write_path:config/*"], True),
        ("echo x > config/a/.env", ["write_path:config/*"], False),
        ("echo x > config/a/.env", ["write_path:config/**"], True),
        ("echo x > .env", ["write_path:config/**"], False),
        ("tee config/.env ../x", ["write_path:config/**"], False),
        ("rm -rf /", ["all_session", "tool_type:Bash"], False),
        ("git push -f", ["this_call"], False),
    ],
)
def test_a_scope_covers_what_it_says_and_no_more(line: str, scopes: list[str], allowed: bool) -> None:
    decision = bash(line, scopes=scopes)
    assert (decision.effect is Effect.ALLOW) == allowed, decision
    assert not allowed or decision.source is Source.SCOPE


def test_a_path_covers_a_tool_as_it_covers_a_command() -> None:
    assert write(".env", scopes=["write_path:.env"]).effect is Effect.ALLOW
    assert write("/workspace/./.env", scopes=["write_path:.env"]).effect is Effect.ALLOW
    assert write("../.env", scopes=["write_path:.env"]).effect is Effect.ASK
    assert write(".env", tool="Edit", scopes=["tool_type:Write"]).effect is Effect.ASK
    assert write(".env", tool="Edit", scopes=["tool_group:file_write"]).effect is Effect.ALLOW


@pytest.mark.parametrize(
    ("decision", "offered"),
    [
        (bash("git push -f"), ["this_call", "bash_pattern:git push -f", "bash_pattern:git push *"]),
        (write("config/.env"), ["this_call", "write_path:config/.env", "write_path:config/**"]),
        (bash("rm $X"), ["this_call", "rule:unknown_command"]),
        (bash("echo x > 'a*.env'"), ["this_call", r"write_path:a\*.env", "rule:write_env_files"]),
    ],
)
def test_every_scope_that_is_offered_would_have_covered_the_call(decision: Any, offered: list[str]) -> None:
    texts = [str(scope) for scope in decision.suggested_scopes]
    assert texts[: len(offered)] == offered
    check_scopes(texts, POLICIES, CALL)


def test_what_is_offered_is_enough() -> None:
    for line in (
        "git push -f origin main",
        "echo x > .env",
        "rm $X",
        "tee .env ../x",
        "npm test && git push -f",
    ):
        for scope in bash(line).suggested_scopes:
            if scope.kind is not Kind.THIS_CALL:
                assert bash(line, scopes=[str(scope)]).effect is Effect.ALLOW, (line, str(scope))
