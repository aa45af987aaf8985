"""What gates of this kind are known to get wrong, one test for each."""

from __future__ import annotations

import pytest

from bgagent_policy import Effect, Facts, Policies, Request, ScopeError, check_scopes, decide
from support import POLICIES, bash, write

OWN = (
    '@tier("soft") @rule_id("own_rule") @summary("x")\n'
    "forbid (principal, action, resource) when { context.read_only };"
)


def test_a_removal_below_an_absolute_path_is_no_removal_of_everything() -> None:
    assert bash("rm -rf /tmp/x").effect is Effect.ALLOW
    assert bash("rm -rf /workspace/build").effect is Effect.ALLOW


@pytest.mark.parametrize("line", ["rm -fr /", "rm -r -f /", "rm -rf ~", "rm -rf / --no-preserve-root"])
def test_flags_in_another_order_are_the_same_flags(line: str) -> None:
    assert bash(line).rule_ids == ("rm_slash",)


@pytest.mark.parametrize(
    "line", ["psql -c 'drop table x'", "psql -c 'DROP  TABLE x'", "psql -c 'Drop\nTable x'"]
)
def test_sql_has_no_case(line: str) -> None:
    assert bash(line).rule_ids == ("drop_table",)


@pytest.mark.parametrize(
    "line", ["git -C x push -f", "git push origin +topic", "git push origin topic --force"]
)
def test_force_is_seen_wherever_it_stands(line: str) -> None:
    assert "force_push_any" in bash(line).rule_ids


def test_a_protected_branch_is_one_on_every_remote() -> None:
    for remote in ("origin", "upstream", "https://example.org/x.git", "../other"):
        assert "force_push_main" in bash(f"git push -f {remote} main").rule_ids
        assert "push_to_protected_branch" in bash(f"git push {remote} HEAD:main").rule_ids


def test_files_are_guarded_against_redirections_and_commands_as_against_tools() -> None:
    for path, rule in ((".env.local", "write_env_files"), ("a/credentials", "write_credentials")):
        assert write(path).rule_ids == (rule,)
        assert bash(f"echo x > {path}").rule_ids == (rule,)
        assert bash(f"cp x {path}").rule_ids == (rule,)
    assert bash("echo x > .git/hooks/pre-commit").rule_ids == ("write_git_internals",)


def test_a_task_that_only_reads_does_not_write_by_the_shell() -> None:
    assert bash("echo x > y", read_only=True).effect is Effect.DENY


def test_a_tool_that_nobody_knows_is_denied() -> None:
    assert decide(Request("Workflow", {}), POLICIES).effect is Effect.DENY


def test_every_scope_that_passes_the_check_is_one_that_works() -> None:
    call = Facts.of("Bash", {"command": "git push -f"})
    for text in ("tool_type_session", "tool_group_session", "all_session"):
        (scope,) = check_scopes([text], POLICIES, call)
        assert bash("git push -f", scopes=[str(scope)]).effect is Effect.ALLOW


@pytest.mark.parametrize(
    "text", ["this_call", "tool_type_session", "tool_group_session", "rule:none", "rule:rm_slash"]
)
def test_what_would_not_work_is_refused_when_the_task_is_submitted(text: str) -> None:
    with pytest.raises(ScopeError):
        check_scopes([text], POLICIES)


def test_the_form_in_which_rules_are_written_is_accepted_listed_and_in_force() -> None:
    policies = Policies.load(OWN)
    assert [r["rule_id"] for r in policies.effective()["soft"]][-1] == "own_rule"
    assert "own_rule" in bash("ls", policies, read_only=True).rule_ids


def test_a_rule_whose_condition_fails_does_not_let_the_call_through() -> None:
    """Cedar passes over it: 2^63 is too large to add to. So the call is denied."""
    overflow = OWN.replace("context.read_only", "9223372036854775807 + 1 > 0")
    decision = bash("ls", Policies.load(overflow))
    assert decision.effect is Effect.DENY
