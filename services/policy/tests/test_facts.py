"""What is read out of calls: words, commands, paths; and that what is too much asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgagent_policy import Effect, Facts, Layout, Request, Source, UnusableCall, decide
from bgagent_policy.shell.limits import Limits
from bgagent_policy.shell.words import words_of
from support import POLICIES, bash, commands, write


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("plain", ["plain"]),
        ("'a b'", ["a b"]),
        ('"a b"', ["a b"]),
        (r"a\ b", ["a b"]),
        (r'"\$x \n"', [r"$x \n"]),
        (r"$'\x72m\t\101\u00e9'", ["rm\tAé"]),
        ("a'b'\"c\"d", ["abcd"]),
        ("{a,b}c", ["ac", "bc"]),
        ("a{1..3}", ["a1", "a2", "a3"]),
        ("{c..a}", ["c", "b", "a"]),
        ("{a,{b,c}}", ["a", "b", "c"]),
        ("'{a,b}'", ["{a,b}"]),
        ("{a}", ["{a}"]),
        ("{}", ["{}"]),
        ("~/x", ["/home/agent/x"]),
        ("'~/x'", ["~/x"]),
        ("$HOME/x", ["/home/agent/x"]),
        ('"${HOME}"', ["/home/agent"]),
        ("a$", ["a$"]),
    ],
)
def test_a_word_is_what_the_shell_makes_of_it(written: str, words: list[str]) -> None:
    found = words_of(written, {"HOME": "/home/agent"})
    assert [word.text for word in found] == words
    assert all(word.known for word in found)


@pytest.mark.parametrize(
    "written", ["$x", '"a$x"', "`x`", "$(x)", "${x:-y}", "{a,$x}", "{1..999}", "<(x)", "$'\\xff'"]
)
def test_a_word_that_depends_on_something_else_is_unknown(written: str) -> None:
    assert [word.known for word in words_of(written, {})] == [False]


def test_every_simple_command_of_a_line_is_found() -> None:
    line = "a | b && (c; d $(e `f`)) || { g; } & if h; then i; fi; for x in y; do j <(k); done; l() { m; }"
    assert {command.program for command in commands(line)} == set("abcdefghijkm")


def test_wrappers_are_taken_off_and_those_that_change_what_is_allowed_are_told() -> None:
    texts = [command.text for command in commands("timeout 5 npm test; sudo -u x npm test; A=b npm test")]
    assert texts == ["npm test", "sudo npm test", "A=b npm test"]


def test_the_facts_of_a_push() -> None:
    (command,) = commands("git -C /tmp/x push origin +HEAD:refs/heads/main :old topic")
    assert command.git is not None
    assert command.git.targets == ("main", "old", "topic")
    assert (command.git.remote, command.git.force, command.git.delete) == ("origin", True, True)


def test_scripts_that_a_line_runs_are_named_for_an_approval_to_bind() -> None:
    facts = Facts.of("Bash", {"command": "./a.sh; bash b.sh -x; python3 c.py; . d.sh; sh -c 'e'; npm test"})
    assert facts.scripts == ("./a.sh", "b.sh", "c.py", "d.sh")


@pytest.mark.parametrize(
    ("path", "rules"),
    [
        ("src/x.py", ()),
        ("/workspace/src/../.env", ("write_env_files",)),
        ("../x", ("write_outside_workspace",)),
        ("/workspace2/x", ("write_outside_workspace",)),
        ("~/x", ("write_outside_workspace",)),
        ("/tmp/x", ()),
        (".git/config", ("write_git_internals",)),
        ("sub/.git/hooks/x", ("write_git_internals_nested",)),
        (".github/workflows/ci.yml", ("ci_config",)),
        ("config/credentials.json", ("write_credentials",)),
    ],
)
def test_a_path_is_judged_by_where_it_leads(path: str, rules: tuple[str, ...]) -> None:
    for tool in ("Write", "Edit", "MultiEdit"):
        assert write(path, tool=tool).rule_ids == rules
    notebook = decide(Request("NotebookEdit", {"notebook_path": path}), POLICIES)
    assert notebook.rule_ids == rules


def test_links_are_followed_where_the_caller_can_see_the_files(tmp_path: Path) -> None:
    workspace = tmp_path / "work"
    (workspace / ".git").mkdir(parents=True)
    (workspace / "notes").symlink_to(workspace / ".git")
    layout = Layout(str(workspace), resolve=lambda path: str(Path(path).resolve()))
    assert write("notes/config", layout=layout).rule_ids == ("write_git_internals",)
    assert bash("echo x > notes/config", layout=layout).rule_ids == ("write_git_internals",)
    assert write("notes/config", layout=Layout(str(workspace))).effect is Effect.ALLOW


def test_a_workspace_for_temporary_files_is_still_the_workspace() -> None:
    layout = Layout("/tmp/run/work", home="/tmp/run/home")
    assert bash("rm -rf /tmp/run/work", layout=layout).rule_ids == ("rm_workspace",)
    assert bash("rm -rf /tmp/run", layout=layout).rule_ids == ("rm_slash",)
    assert bash("rm -rf /tmp/other build", layout=layout).effect is Effect.ALLOW


def test_a_command_runs_where_the_tool_stands() -> None:
    assert bash("echo x > config", directory="/workspace/.git").rule_ids == ("write_git_internals",)
    assert bash("rm -rf *", directory="/").rule_ids == ("rm_slash",)


def test_reading_and_searching_name_their_places() -> None:
    layout = Layout()
    assert Facts.of("Read", {"file_path": "/etc/passwd"}, layout).reads[0].outside
    assert Facts.of("Grep", {"pattern": "x"}, layout).reads[0].path == "."
    assert Facts.of("Grep", {"pattern": "x", "path": "../.."}, layout).reads[0].outside
    assert any(place.outside for place in Facts.of("Glob", {"pattern": "/etc/*"}, layout).reads)
    assert any(place.outside for place in Facts.of("Glob", {"pattern": "../../*"}, layout).reads)


@pytest.mark.parametrize(
    ("tool", "tool_input"),
    [
        ("Bash", {}),
        ("Bash", {"command": 3}),
        ("Bash", {"command": ""}),
        ("Write", {"path": "x"}),
        ("Write", {"file_path": ["x"]}),
        ("Write", {"file_path": "a\0b"}),
        ("WebFetch", {"url": "file:///etc/passwd"}),
        ("WebFetch", {"url": "https://[x"}),
        ("Shell", {"command": "ls"}),
        ("bash", {"command": "ls"}),
        ("Agent", {}),
        ("mcp__other__tool", {}),
        ("mcp__ctl", {}),
        ("", {}),
    ],
)
def test_unknown_tools_and_inputs_that_are_none_are_denied(tool: str, tool_input: dict[str, object]) -> None:
    request = Request(tool, tool_input, mcp_servers=frozenset({"ctl"}))
    decision = decide(request, POLICIES)
    assert (decision.effect, decision.source) == (Effect.DENY, Source.ERROR)
    with pytest.raises(UnusableCall):
        Facts.of(tool, tool_input, mcp_servers={"ctl"})


def test_tools_that_the_task_was_given_are_allowed() -> None:
    for tool in ("mcp__ctl__ask_human", "TodoWrite", "WebSearch"):
        assert decide(Request(tool, {}, mcp_servers=frozenset({"ctl"})), POLICIES).effect is Effect.ALLOW


@pytest.mark.parametrize(
    "line",
    [
        "echo " + "a" * 70_000,
        "; ".join(["true"] * 300),
        "echo " + "a " * 30_000,
        "(" * 200 + "ls" + ")" * 200,
        "$(" * 200 + "ls" + ")" * 200,
        "eval " * 50 + "ls",
        'sh -c "' * 3 + "ls",
        "env " * 40 + "ls",
        "echo {1..100000}; rm -rf {a..z}{a..z}",
    ],
    ids=lambda line: f"{line[:12]}… {len(line)}",
)
def test_a_line_that_is_too_much_asks(line: str) -> None:
    assert bash(line).effect is Effect.ASK


def test_limits_can_be_set() -> None:
    assert Facts.of("Bash", {"command": "a; b; c"}, limits=Limits(commands=2)).unparsed
