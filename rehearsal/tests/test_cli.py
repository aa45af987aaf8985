"""The real agent CLI plays the scripts against a working copy: its tools really run."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import claude_agent_sdk as sdk
import pytest

from rehearsal.model import Model
from rehearsal.server import running
from rehearsal.tests.support import SAMPLES, Client, git

ISSUE = """Fix issue #7.

The last line is not counted when it has no newline
An empty file stays at 0 lines, of course. The input is such; it should print `2 3 13`.
"""


def working_copy(name: str, folder: Path) -> Path:
    """A copy of a sample with a commit in it."""
    work = folder / name
    shutil.copytree(SAMPLES / name, work)
    git(work, "init", "-q", "-b", "main")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "Import")
    return work


def options(url: str, work: Path, home: Path, model: str) -> Any:
    """The options of the product's runner, without its hooks."""
    home.mkdir(exist_ok=True)
    environment = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "key",
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / "claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if os.geteuid() == 0:
        environment["IS_SANDBOX"] = "1"
    return sdk.ClaudeAgentOptions(
        cwd=str(work),
        model=model,
        env=environment,
        permission_mode="bypassPermissions",
        setting_sources=[],
        strict_mcp_config=True,
        tools=["Bash", "Read", "Write", "Edit", "Grep", "Glob"],
        system_prompt={"type": "preset", "preset": "claude_code", "append": "You work alone."},
        max_turns=40,
    )


async def converse(options: Any, prompts: list[Any]) -> list[Any]:
    """Says each prompt once the one before has its result; a prompt may be a function."""
    results = []
    async with sdk.ClaudeSDKClient(options) as client:
        for prompt in prompts:
            await client.query(prompt() if callable(prompt) else prompt)
            async for message in client.receive_response():
                if isinstance(message, sdk.ResultMessage):
                    results.append(message)
    return results


def drive(
    url: str, work: Path, home: Path, prompts: list[Any], model: str = "claude-sonnet-4-5"
) -> list[Any]:
    """`converse` with a limit on time."""
    return asyncio.run(asyncio.wait_for(converse(options(url, work, home, model), prompts), 120))


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-5-5"])
def test_the_pricing_script_turns_the_tests_green(tmp_path: Path, model: str) -> None:
    work = working_copy("pricing", tmp_path)
    with running(Model(tmp_path / "data", "key")) as server:
        prompt = "Repository: acme/pricing\n\nfix the failing test"
        (result,) = drive(server.url, work, tmp_path / "home", [prompt], model)
        client = Client(server.url)
        assert client.state()["expectation_failures"] == []
        assert not result.is_error
        assert "The failing test passes now" in result.result
        main = [entry for entry in client.log() if entry.get("kind") == "main"]
        assert [entry["step"] for entry in main] == list(range(6))
    assert (
        subprocess.run(["python3", "-m", "unittest"], cwd=work, capture_output=True, check=False).returncode
        == 0
    )
    assert git(work, "diff", "--stat").stdout.count("|") == 1


def test_a_second_attempt_copes_with_a_tree_that_is_fixed_already(tmp_path: Path) -> None:
    work = working_copy("pricing", tmp_path)
    with running(Model(tmp_path / "data", "key")) as server:
        prompt = "Repository: acme/pricing\n\nfix the failing test"
        for attempt in ("first", "second"):
            (result,) = drive(server.url, work, tmp_path / attempt, [prompt])
            assert not result.is_error
        assert Client(server.url).state()["expectation_failures"] == []


def test_the_wordcount_script_is_red_at_first_and_green_after_the_feedback(tmp_path: Path) -> None:
    work = working_copy("wordcount", tmp_path)

    def verify() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["make", "test"], cwd=work, capture_output=True, text=True, check=False)

    def feedback() -> str:
        red = verify()
        assert red.returncode != 0
        return f"The verification failed:\n\n{red.stdout}{red.stderr}\n\nFix it."

    with running(Model(tmp_path / "data", "key")) as server:
        first, second = drive(
            server.url, work, tmp_path / "home", [f"Repository: acme/wordcount\n\n{ISSUE}", feedback]
        )
        assert Client(server.url).state()["expectation_failures"] == []
        assert not first.is_error
        assert not second.is_error
    assert verify().returncode == 0
    assert git(work, "status", "--short").stdout.split() == [
        "M", "count.c", "??", "tests/cases/unterminated.in", "??", "tests/cases/unterminated.out",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("no-change", "", "There is nothing to change"),
        ("never-green", "M pricing/money.py", "That is the best that I can do."),
    ],
)
def test_the_scripts_of_other_outcomes(tmp_path: Path, name: str, changed: str, said: str) -> None:
    work = working_copy("pricing", tmp_path)
    with running(Model(tmp_path / "data", "key")) as server:
        opening = f"Repository: acme/pricing\n\n<task>\nScript: {name}\n</task>"
        prompts = [opening, "The verification failed."]
        first, _ = drive(server.url, work, tmp_path / "home", prompts)
        assert Client(server.url).state()["expectation_failures"] == []
    assert first.result.startswith(said)
    assert git(work, "status", "--short").stdout.strip() == changed


def test_every_state_of_the_wordcount_tree_has_a_way_to_the_end(tmp_path: Path) -> None:
    work = working_copy("wordcount", tmp_path)
    opening = f"Repository: acme/wordcount\n\n{ISSUE}"
    feedback = "The verification failed:\nFAIL empty: expected '0 0 0', got '1 0 0'\n6 passed, 1 failed"
    with running(Model(tmp_path / "data", "key")) as server:
        # Ends with the first fix, begins again with it and ends with the second, begins again with that.
        for number, prompts in enumerate(([opening], [opening, feedback], [opening])):
            results = drive(server.url, work, tmp_path / f"home{number}", prompts)
            assert not any(result.is_error for result in results)
        assert Client(server.url).state()["expectation_failures"] == []
    assert subprocess.run(["make", "test"], cwd=work, capture_output=True, check=False).returncode == 0
