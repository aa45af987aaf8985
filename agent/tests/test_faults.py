"""A platform that is away, restarts, loses answers or refuses: nothing lost, doubled or endless."""

from __future__ import annotations

from conftest import BRANCH, GREEN, World
from scripted_runner import ScriptedRunner


async def fix(run: ScriptedRunner) -> None:
    await run.write("pricing.py", GREEN)


async def test_a_restart_of_the_gateway_in_the_middle_loses_and_doubles_nothing(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        await run.turn("Before.")
        await world.gateway.until(lambda: len(world.gateway.events) >= 7)
        world.gateway.stop()
        for number in range(120):
            await run.turn(f"While it is away, {number}.")
        await run.write("pricing.py", GREEN)
        world.gateway.start()

    assert await world.run(work, heartbeat_s=0.05) == 0
    assert world.result["outcome"] == "completed"
    turns = [e["metadata"]["turn"] for e in world.gateway.events if e["event_type"] == "agent_turn"]
    assert turns == list(range(1, 123))
    assert world.gateway.milestones()[-1] == "step:push:complete"


async def test_an_answer_that_was_lost_is_no_second_event(world: World) -> None:
    world.gateway.faults.append(("/session/events", 503, {}))
    world.gateway.faults.append(("/session/result", 502, {}))
    assert await world.run(fix) == 0
    assert world.result["outcome"] == "completed"


async def test_a_gap_is_answered_from_the_number_that_is_expected(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        await run.turn("One.")
        await world.gateway.until(lambda: any(e["event_type"] == "agent_turn" for e in world.gateway.events))
        with world.gateway.changed:
            lost = len(world.gateway.events) - 2
            del world.gateway.events[lost:]
        await fix(run)

    assert await world.run(work) == 0
    assert [e["client_seq"] for e in world.gateway.events] == list(range(1, len(world.gateway.events) + 1))
    assert [e["metadata"]["turn"] for e in world.gateway.events if e["event_type"] == "agent_turn"] == [1, 2]


async def test_git_that_is_away_for_a_moment_is_tried_again(world: World) -> None:
    world.gateway.faults.append((r"/git/.*git-upload-pack", 503, {}))
    world.gateway.faults.append((r"/git/.*git-receive-pack", 502, {}))
    assert await world.run(fix) == 0
    assert world.result["outcome"] == "completed"
    assert world.pushed() == GREEN


async def test_a_push_that_is_refused_says_why(world: World) -> None:
    hook = world.bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nif grep -q refs/heads; then echo 'CI may not change' >&2; exit 1; fi\n")
    hook.chmod(0o755)
    assert await world.run(fix) == 0
    assert world.result["outcome"] == "failed"
    assert world.result["commit"] is None
    assert world.result["error"]["code"] == "push_refused"
    assert "CI may not change" in world.result["error"]["description"]
    blocked = [event for event in world.gateway.events if event["event_type"] == "agent_blocked"]
    assert [event["metadata"]["kind"] for event in blocked] == ["push_refused"]
    assert not world.has_ref(f"refs/heads/{BRANCH}")


async def test_a_checkpoint_that_is_refused_does_not_stop_the_work(world: World) -> None:
    hook = world.bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nif grep -q refs/bgagent; then echo 'too large' >&2; exit 1; fi\n")
    hook.chmod(0o755)

    async def work(run: ScriptedRunner) -> None:
        await run.write("a.txt", "a")
        await world.gateway.until(lambda: any(e["event_type"] == "agent_error" for e in world.gateway.events))
        await fix(run)

    assert await world.run(work) == 0
    assert world.result["outcome"] == "completed"
    assert world.gateway.checkpoints == []
    errors = [e["metadata"] for e in world.gateway.events if e["event_type"] == "agent_error"]
    assert [error["error_type"] for error in errors] == ["checkpoint_failed"]
    assert "too large" in errors[0]["message_preview"]


async def test_a_repository_that_is_not_there_is_a_structured_error(world: World) -> None:
    world.gateway.payload["task"]["base_branch"] = "gone"
    assert await world.run() == 0
    assert world.result["outcome"] == "failed"
    assert world.result["error"]["code"] == "clone_failed"
    assert world.result["error"]["category"] == "auth"


async def test_a_repository_the_agent_destroyed_is_a_structured_error(world: World) -> None:
    async def destroy(run: ScriptedRunner) -> None:
        (run.directory / ".git").rename(run.directory / "gone")
        await run.turn("Oops.")

    assert await world.run(destroy) == 0
    assert world.result["outcome"] == "failed"
    assert world.result["error"]["code"] == "workspace_broken"


async def test_hooks_and_settings_of_the_repository_never_see_the_credential(world: World) -> None:
    async def trap(run: ScriptedRunner) -> None:
        spy = f"#!/bin/sh\nenv > {world.root}/spied\n"
        for name in ("pre-commit", "pre-push", "post-commit", "reference-transaction", "post-index-change"):
            hook = run.directory / ".git" / "hooks" / name
            hook.parent.mkdir(exist_ok=True)
            hook.write_text(spy)
            hook.chmod(0o755)
        helper = run.directory / ".git" / "helper"
        helper.write_text(spy)
        helper.chmod(0o755)
        config = run.directory / ".git" / "config"
        config.write_text(
            f"{config.read_text()}[credential]\n\thelper = {helper}\n[core]\n\tfsmonitor = {helper}\n"
            f'\tsshCommand = {helper}\n[url "http://127.0.0.1:9/"]\n\tinsteadOf = {world.gateway.url}/\n'
        )
        await fix(run)

    assert await world.run(trap) == 0
    assert world.result["outcome"] == "completed"
    assert not (world.root / "spied").exists()
    written = (world.root / "workspace" / "pricing" / ".git" / "config").read_text()
    assert "git-token" not in written


async def test_an_unfinished_repository_inside_the_repository_is_left_out(world: World) -> None:
    async def nest(run: ScriptedRunner) -> None:
        from conftest import git

        nested = run.directory / "scratch"
        nested.mkdir()
        git(nested, "init", "-q")
        await fix(run)

    assert await world.run(nest) == 0
    assert world.result["outcome"] == "completed"
    assert world.remote("diff", "--name-only", "main", BRANCH) == "pricing.py"
