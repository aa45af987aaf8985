"""`agent/run.sh` as a process, with the real CLI, real git, and simulators of GitHub and the model."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_world import GITHUB_TOKEN, MODEL_KEY, LocalWorld, local_world
from program import leftovers_below


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LocalWorld]:
    """Simulators of this test alone; nothing may run on in its directory afterwards."""
    with local_world(tmp_path) as world:
        yield world
        assert leftovers_below(tmp_path / "tmp") == []


def test_an_issue_ends_in_a_pushed_branch_and_a_compare_url(world: LocalWorld) -> None:
    code, output = world.run("acme/wordcount", "7")
    assert code == 0, output
    [branch] = world.branches("acme/wordcount")
    assert re.fullmatch(r"bgagent/[0-9A-HJKMNP-TV-Z]{26}/issue-7", branch)
    changed = world.git("acme/wordcount", "diff", "--name-only", "main", branch).split()
    assert changed == ["count.c", "tests/cases/unterminated.in", "tests/cases/unterminated.out"]
    assert f"Compare  {world.github}/acme/wordcount/compare/main...{branch}?expand=1" in output
    assert "Verified with make test: passed." in output
    assert re.search(r"model cost \$0\.\d*[1-9]", output)
    assert GITHUB_TOKEN not in output
    assert MODEL_KEY not in output
    assert world.folders() == []
    # Nothing but the branch: snapshots stay in the clone.
    refs = world.git("acme/wordcount", "for-each-ref", "--format=%(refname)").split()
    assert sorted(refs) == sorted([f"refs/heads/{branch}", "refs/heads/main"])


def test_a_text_ends_in_a_pushed_branch(world: LocalWorld) -> None:
    code, output = world.run("acme/pricing", "fix the failing test", "Mind the README.")
    assert code == 0, output
    [branch] = world.branches("acme/pricing")
    assert branch.endswith("/fix-the-failing-test")
    assert world.git("acme/pricing", "diff", "--name-only", "main", branch).split() == ["pricing/money.py"]
    prompt = (world.root / "model" / "model.jsonl").read_text()
    assert "Mind the README." in prompt


def test_a_dry_run_prints_the_prompt_and_touches_nothing(world: LocalWorld) -> None:
    comments = [f"comment number {n}" for n in range(205)]
    issue = {"number": 12, "title": "Many words", "body": "See <below>", "comments": comments}
    world.seed("acme/pricing", issues=[issue])
    code, output = world.run("acme/pricing", "12", "only the backend", DRY_RUN="1", ANTHROPIC_API_KEY="")
    assert code == 0, output
    places = [output.index(f"{comment}\n") for comment in comments]
    assert places == sorted(places)
    assert "<task>\nonly the backend\n</task>" in output
    assert "See &lt;below>" in output
    assert world.branches("acme/pricing") == []
    assert world.asked() == 0
    assert world.folders() == []


def seed_closed(world: LocalWorld) -> None:
    world.seed("acme/pricing", issues=[{"number": 3, "title": "Old", "body": "", "state": "closed"}])


def seed_archived(world: LocalWorld) -> None:
    world.seed("acme/pricing", archived=True)


def seed_read_only(world: LocalWorld) -> None:
    world.seed("acme/pricing", push=False)


def seed_limited(world: LocalWorld) -> None:
    match = {"path_regex": "^/repos/"}
    headers = {"Retry-After": "60"}
    world.fault(world.github, action="status", match=match, status=403, headers=headers, times=0)


ERRORS: list[tuple[list[str], dict[str, str], Any, list[str]]] = [
    (["acme/pricing"], {}, None, ["usage: agent/run.sh"]),
    (["pricing", "fix it"], {}, None, ["'pricing' is not a repository: write OWNER/REPO"]),
    (["acme/pricing", " "], {}, None, ["There is nothing to do"]),
    (["acme/pricing", "0"], {}, None, ["'0' is not an issue"]),
    (["acme/pricing", "-5"], {}, None, ["'-5' is not an issue"]),
    (["acme/pricing", "4.2"], {}, None, ["'4.2' is not an issue"]),
    (["acme/pricing", "x" * 10_001], {}, None, ["at most 10000"]),
    (
        ["acme/pricing", "fix it"],
        {"GITHUB_TOKEN": "", "ANTHROPIC_API_KEY": "", "MAX_TURNS": "0", "MAX_BUDGET_USD": "nan"},
        None,
        ["GITHUB_TOKEN is not set", "ANTHROPIC_API_KEY is not set", "MAX_TURNS must", "MAX_BUDGET_USD must"],
    ),
    (["acme/pricing", "fix it"], {"GITHUB_TOKEN": "a b"}, None, ["GITHUB_TOKEN holds characters"]),
    (["acme/pricing", "fix it"], {"GITHUB_API_URL": "ftp://x"}, None, ["GITHUB_API_URL must be a URL"]),
    (["acme/pricing", "fix it"], {"DRY_RUN": "maybe"}, None, ["DRY_RUN must be 1 or 0"]),
    (["acme/pricing", "fix it"], {"BGAGENT_ENGINE": "lxc"}, None, ["BGAGENT_ENGINE must be docker or none"]),
    (
        ["acme/pricing", "fix it"],
        {"GITHUB_TOKEN": "wrong-token"},
        None,
        ["GitHub does not take GITHUB_TOKEN"],
    ),
    (["acme/nothing", "fix it"], {}, None, ["GitHub knows no repository acme/nothing"]),
    (["acme/pricing", "99"], {}, None, ["acme/pricing has no issue 99"]),
    (["acme/pricing", "3"], {}, seed_closed, ["Issue 3 is closed"]),
    (["acme/pricing", "fix it"], {}, seed_archived, ["acme/pricing is archived"]),
    (["acme/pricing", "fix it"], {}, seed_read_only, ["GITHUB_TOKEN may not push to acme/pricing"]),
    (["acme/pricing", "fix it"], {}, seed_limited, ["limits the rate of this token: try again in 60 s"]),
    (
        ["acme/pricing", "fix it"],
        {"GITHUB_API_URL": "http://127.0.0.1:9"},
        None,
        ["GitHub cannot be had at http://127.0.0.1:9"],
    ),
]


def test_what_is_wrong_is_said_before_anything_starts(world: LocalWorld) -> None:
    for arguments, environment, prepare, expected in ERRORS:
        if prepare is not None:
            prepare(world)
        # In a dry run where that makes no difference, because it is over sooner.
        dry = "" if {"ANTHROPIC_API_KEY", "BGAGENT_ENGINE"} & set(environment) else "1"
        code, output = world.run(*arguments, **{"DRY_RUN": dry, **environment})
        assert code == 2, (arguments, environment, output)
        for text in expected:
            assert text in output, (arguments, environment, output)
        world.heal()
        world.seed("acme/pricing")
    assert world.branches("acme/pricing") == []
    assert world.asked() == 0


def test_a_spent_budget_pushes_the_work_and_says_so(world: LocalWorld) -> None:
    code, output = world.run("acme/pricing", "Script: endless", MAX_BUDGET_USD="0.15")
    assert code == 1, output
    assert "The money is used up (MAX_BUDGET_USD)" in output
    assert "of $0.15" in output
    [branch] = world.branches("acme/pricing")
    assert "NOTES" in world.git("acme/pricing", "diff", "--name-only", "main", branch)


def test_ctrl_c_pushes_what_there_is(world: LocalWorld) -> None:
    with world.start("acme/pricing", "Script: waits") as running:
        running.says("timeout 590")
        running.process.send_signal(signal.SIGINT)
        assert running.ends() == 130, running.output
    [branch] = world.branches("acme/pricing")
    assert world.git("acme/pricing", "show", f"{branch}:NOTES") == "note\n"
    assert "Compare" in running.output
    assert world.folders() == []


def test_work_that_cannot_be_pushed_is_told_of_and_kept(world: LocalWorld) -> None:
    world.fault(world.github, action="status", match={"path_regex": "git-receive-pack$"}, status=403, times=0)
    with world.start("acme/pricing", "Script: waits") as running:
        running.says("timeout 590")
        running.process.send_signal(signal.SIGINT)
        assert running.ends() == 7, running.output
    assert "The push was refused" in running.output
    kept(world, running.output)


def test_a_second_ctrl_c_gives_up_and_keeps_the_work(world: LocalWorld) -> None:
    world.fault(world.github, action="hang", match={"path_regex": "git-receive-pack$"}, times=0)
    with world.start("acme/pricing", "Script: waits") as running:
        running.says("timeout 590")
        running.process.send_signal(signal.SIGINT)
        running.says("step:push:start")
        running.process.send_signal(signal.SIGINT)
        assert running.ends() == 7, running.output
    kept(world, running.output)


def kept(world: LocalWorld, output: str) -> None:
    """The work is where the output says, as a commit on the task's branch."""
    assert world.branches("acme/pricing") == []
    found = re.search(r"^It is in (\S+): push it from there", output, re.M)
    assert found, output
    clone = Path(found[1])
    assert (clone / "NOTES").read_text() == "note\n"
    assert GITHUB_TOKEN not in (clone / ".git" / "config").read_text()


def test_tools_see_a_token_of_the_run_and_no_other(world: LocalWorld) -> None:
    looks = {"command": "env > SEEN; cat /proc/$PPID/environ >> SEEN", "description": "Look around"}
    steps = [
        {"text": "I look around.", "tools": [{"name": "Bash", "input": looks}]},
        {"text": "I looked around."},
    ]
    script = {"name": "look", "repository": "acme/pricing", "by_name": True, "steps": steps}
    world.order(world.model, "/__seed", {"scripts": [script]})
    code, output = world.run("acme/pricing", "Script: look", TEST_COMMAND="true")
    assert code == 0, output
    seen = world.git("acme/pricing", "show", f"{world.branches('acme/pricing')[0]}:SEEN")
    assert "ANTHROPIC_AUTH_TOKEN=" in seen
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:" in seen
    assert world.model not in seen
    assert MODEL_KEY not in seen
    assert GITHUB_TOKEN not in seen
