"""The whole harness with a scripted runner, against real HTTP and real git."""

from __future__ import annotations

from bgagent_agent.runner import QueryDone
from conftest import BRANCH, GREEN, RED, WIP, World, git
from scripted_runner import ScriptedRunner


async def test_a_change_that_passes_the_first_time_is_pushed_and_reported(world: World) -> None:
    async def fix(run: ScriptedRunner) -> QueryDone:
        await run.write("pricing.py", GREEN)
        return QueryDone("completed", "Fixed the sign in `total`.")

    world.gateway.payload["task"]["title"] = "Fix the failing test"
    world.gateway.payload["task"]["description"] = "please"
    assert await world.run(fix) == 0
    result = world.result
    assert result["outcome"] == "completed"
    assert result["error"] is None
    assert result["turns"] == 1
    assert result["summary"] == "Fixed the sign in `total`."
    assert result["verification"]["passed"] is True
    assert result["verification"]["command"] == "python3 -m unittest discover"
    assert result["commit"] == world.remote("rev-parse", BRANCH)
    assert world.pushed() == GREEN
    message = world.remote("log", "-1", "--format=%an <%ae>%n%B", BRANCH)
    assert message.startswith(
        "bgagent <bgagent@localhost>\nFix the failing test\n\nFixed the sign in `total`.\n"
    )
    assert message.rstrip().endswith("Task-Id: 01JTASK\nPrompt-Version: pv1")
    assert world.gateway.milestones() == [
        "step:clone:start",
        "repo_cloned",
        "repo_setup_complete",
        "step:agent:start",
        "agent_execution_complete",
        "verify_started",
        "verify_passed",
        "step:push:start",
        "step:push:complete",
    ]
    assert [event["client_seq"] for event in world.gateway.events] == list(
        range(1, len(world.gateway.events) + 1)
    )


async def test_a_red_verification_goes_back_to_the_agent_and_the_second_try_is_one_commit(
    world: World,
) -> None:
    async def wrong(run: ScriptedRunner) -> None:
        await run.write("pricing.py", "def total(a, b):\n    return a * b\n")

    async def right(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)

    assert await world.run(wrong, right) == 0
    assert world.result["outcome"] == "completed"
    assert world.result["verification"]["attempts"] == 2
    assert world.runner is not None
    assert "python3 -m unittest discover" in world.runner.prompts[1]
    assert "AssertionError: 2 != 3" in world.runner.prompts[1]
    assert world.remote("rev-list", "--count", f"main..{BRANCH}") == "1"
    assert world.pushed() == GREEN


async def test_work_that_stays_red_is_pushed_and_reported_as_verification_failed(world: World) -> None:
    async def wrong(run: ScriptedRunner) -> None:
        await run.write("pricing.py", f"{RED}# try {run.turns}\n")

    assert await world.run(wrong, wrong, wrong) == 0
    assert world.result["outcome"] == "verification_failed"
    assert world.result["verification"]["passed"] is False
    assert world.result["verification"]["attempts"] == 3
    assert "FAILED" in world.result["verification"]["output_tail"]
    assert world.result["commit"] == world.remote("rev-parse", BRANCH)


async def test_no_change_is_a_result_of_its_own_and_pushes_nothing(world: World) -> None:
    async def explain(run: ScriptedRunner) -> QueryDone:
        await run.turn("Looking.")
        return QueryDone("completed", "The test is right, nothing to change.")

    assert await world.run(explain) == 0
    assert world.result["outcome"] == "no_change"
    assert world.result["commit"] is None
    assert world.result["summary"] == "The test is right, nothing to change."
    assert not world.has_ref(f"refs/heads/{BRANCH}")


async def test_turns_spent_pushes_what_there_is(world: World) -> None:
    async def endless(run: ScriptedRunner) -> QueryDone:
        await run.write("pricing.py", GREEN)
        return QueryDone("max_turns", "")

    assert await world.run(endless) == 0
    assert world.result["outcome"] == "max_turns"
    assert world.result["verification"] is None
    assert world.pushed() == GREEN


async def test_a_spent_budget_pushes_what_there_is(world: World) -> None:
    async def expensive(run: ScriptedRunner) -> QueryDone:
        await run.write("pricing.py", GREEN)
        return QueryDone("budget", "", 402, "run budget spent")

    assert await world.run(expensive) == 0
    assert world.result["outcome"] == "budget_exhausted"
    assert world.pushed() == GREEN


async def test_a_crash_of_the_agent_is_a_structured_error_and_its_work_is_pushed(world: World) -> None:
    async def crash(run: ScriptedRunner) -> QueryDone:
        await run.write("pricing.py", GREEN)
        return QueryDone("crashed", "", None, "ProcessError: exit code -9")

    assert await world.run(crash) == 0
    assert world.result["outcome"] == "failed"
    assert world.result["error"]["code"] == "agent_crashed"
    assert world.result["error"]["category"] == "compute"
    assert world.result["error"]["retryable"] is True
    assert world.pushed() == GREEN


async def test_every_turn_that_changed_the_tree_is_kept_as_a_checkpoint(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        await run.write("ignored/cache.txt", "not kept")
        await run.write("notes.txt", "untracked but kept")
        await world.gateway.until(lambda: world.gateway.checkpoints)
        await run.turn("Only reading.")
        await run.write("pricing.py", GREEN)
        await world.gateway.until(lambda: len(world.gateway.checkpoints) == 2)

    assert await world.run(work) == 0
    last = world.gateway.checkpoints[-1]
    assert last["turn"] == 4
    assert last["commit"] == world.remote("rev-parse", WIP)
    assert world.remote("ls-tree", "-r", "--name-only", WIP).split() == [
        ".gitignore",
        "notes.txt",
        "pricing.py",
        "test_pricing.py",
    ]
    assert world.remote("rev-parse", f"{WIP}^") == world.remote("rev-parse", "main")


async def test_a_setup_command_that_fails_is_a_configuration_error(world: World) -> None:
    world.gateway.payload["commands"]["setup"] = "echo no such package; exit 3"
    assert await world.run() == 0
    assert world.result["outcome"] == "failed"
    assert world.result["error"]["code"] == "setup_failed"
    assert "no such package" in world.result["error"]["description"]


async def test_what_setup_and_checks_leave_behind_is_not_committed(world: World) -> None:
    world.gateway.payload["commands"]["setup"] = "mkdir deps && touch deps/a 'odd name*.txt'"
    world.gateway.payload["commands"]["test"] = "touch report.xml; python3 -m unittest -q"

    async def wrong(run: ScriptedRunner) -> None:
        await run.write("added.txt", "mine")

    async def right(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)

    assert await world.run(wrong, right) == 0
    assert world.result["outcome"] == "completed"
    assert world.remote("diff", "--name-only", "main", BRANCH).split() == ["added.txt", "pricing.py"]


async def test_a_repository_without_tests_says_so(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        (run.directory / "test_pricing.py").unlink()
        await run.write("pricing.py", GREEN)

    assert await world.run(work) == 0
    assert world.result["outcome"] == "completed"
    assert world.result["verification"] is None
    skipped = [e for e in world.gateway.events if e["metadata"].get("milestone") == "verify_skipped"]
    assert [event["metadata"]["details"] for event in skipped] == ["no tests found"]


async def test_commits_of_the_agent_stay_and_the_last_one_gets_the_trailers(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        (run.directory / "pricing.py").write_text(GREEN)
        git(run.directory, "commit", "-q", "-a", "-m", "Add instead of subtract")
        await run.turn("Committed.")

    assert await world.run(work) == 0
    assert world.result["outcome"] == "completed"
    message = world.remote("log", "-1", "--format=%B", BRANCH)
    assert message.startswith("Add instead of subtract\n")
    assert "Task-Id: 01JTASK" in message
    assert world.remote("rev-list", "--count", f"main..{BRANCH}") == "1"
