"""A repository's own rules: read, stored, tried, lifted beforehand, and decided on by a second person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from Tests.system.jobs import Job, script
from Tests.system.judge import clean
from Tests.system.waiting import until
from Tests.system.world import Stack

PATIENCE = 60.0
RULES = """\
@tier("soft") @rule_id("running_tests") @approval_timeout_s("120") @severity("low") @category("own")
@summary("Running the tests")
forbid (principal, action == Agent::Action::"execute_bash", resource)
when { context.program == "python3" };
"""
# What the script does besides, under the built-in rules.
BESIDE = ("--pre-approve", "rule:unknown_command", "--pre-approve", "rule:unparsed_command")


def told(stack: Stack, *words: str, user: str = "") -> Any:
    """What a command answers, as JSON, however it ends."""
    done = stack.cli(*words, "--output", "json", user=user, check=False)
    assert done.stdout, f"{words}: {done.stderr}"
    return json.loads(done.stdout)


def test_a_repository_has_rules_of_its_own_and_a_second_person_decides(stack: Stack, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.cedar", tmp_path / "bad.cedar"
    good.write_text(RULES)
    bad.write_text(RULES.replace("context.program", "context.programme"))
    repo = "acme/ruled"
    stack.onboard(repo, "--approval-gates", "yes")

    assert stack.cli("policies", "lint", str(good)).returncode == 0
    wrong = stack.cli("policies", "lint", str(bad), check=False)
    assert (wrong.returncode, "programme" in wrong.stdout) == (1, True), wrong.stdout
    refused = stack.cli("repo", "set", repo, "--policies", f"@{bad}", check=False)
    assert (refused.returncode, "line 1" in refused.stderr) == (1, True), refused.stderr
    stack.cli("repo", "set", repo, "--policies", f"@{good}", "--second-person", "yes")
    assert stack.cli("policies", "show", repo).stdout == RULES
    rules = told(stack, "policies", "list", repo)
    assert [rule["rule_id"] for rule in rules["soft"] if rule["origin"] == "repository"] == ["running_tests"]

    tried = told(stack, "policies", "test", repo, "python3 -m unittest")["decision"]
    assert (tried["effect"], tried["rule_ids"]) == ("ask", ["running_tests"])
    lifted = told(stack, "policies", "test", repo, "python3 -m unittest", "--scope", "rule:running_tests")
    assert lifted["decision"]["effect"] == "allow"
    never = told(stack, "policies", "test", repo, "rm -rf /")["decision"]
    assert (never["effect"], never["rule_ids"]) == ("deny", ["rm_slash"])
    # They are tried as where people are asked; where nobody is, the asker is told.
    assert "gates are off" not in stack.cli("policies", "test", repo, "python3 x.py", check=False).stderr
    stack.cli("repo", "set", repo, "--approval-gates", "no")
    assert "gates are off" in stack.cli("policies", "test", repo, "python3 x.py", check=False).stderr
    assert told(stack, "policies", "test", repo, "python3 x.py")["approval_gates"] is False
    stack.cli("repo", "set", repo, "--approval-gates", "yes")
    # The built-in rules hold where others are tried.
    assert told(stack, "policies", "test", repo, "ls")["decision"]["effect"] == "allow"

    for scope, words in (("rule:rm_slash", "hard rule"), ("bash_pattern:***", "too short")):
        done = stack.cli("submit", "--repo", repo, "--pre-approve", scope, "do it", user="ada", check=False)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert stack.rows("SELECT task_id FROM tasks WHERE repo = %s", repo) == []

    _lifted_beforehand(stack, repo)
    _decided_by_another(stack, repo)


def _lifted_beforehand(stack: Stack, repo: str) -> None:
    """Nobody is asked about what was allowed at submit."""
    job = Job(stack, repo, script("pricing"), *BESIDE, "--pre-approve", "rule:running_tests", user="ada")
    try:
        end = job.end()
        assert end.how == ("COMPLETED", "pull_request"), end.task
        assert "approval_required" not in end.kinds
        scopes = ["rule:running_tests", "rule:unknown_command", "rule:unparsed_command"]
        assert sorted(told(stack, "show", job.task_id)["allowed_scopes"]) == scopes
        kept = "SELECT detail FROM audit_log WHERE action = 'approval.preapprove' AND subject = %s"
        assert [sorted(row["detail"]["scopes"]) for row in stack.rows(kept, job.task_id)] == [scopes]
        clean(stack, job.task_id)
    finally:
        job.close()


def _decided_by_another(stack: Stack, repo: str) -> None:
    """Whoever submitted may say no, and not yes."""
    job = Job(stack, repo, script("pricing"), *BESIDE, "--approval-timeout", "10m", user="ada")
    try:
        task = job.task_id

        def gate() -> dict[str, Any] | None:
            waiting = told(stack, "pending", "--task", task)
            return next((dict(item) for item in waiting if item["kind"] == "approval"), None)

        asked = until("a gate opens", gate, PATIENCE)
        assert asked["request"]["rule_ids"] == ["running_tests"]
        own = stack.cli("approve", task, user="ada", check=False)
        assert (own.returncode, "other than the task's owner" in own.stderr) == (1, True), own.stderr
        stack.cli("approve", task, "--scope", "rule:running_tests")
        end = job.end()
        assert end.how == ("COMPLETED", "pull_request"), end.task
        assert end.kinds.count("approval_required") == 1
        clean(stack, task)
    finally:
        job.close()
