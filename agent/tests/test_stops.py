"""Ends that come from outside: cancel, time, an old epoch, a termination; and a second attempt after one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bgagent_agent.errors import StaleAttempt, Unauthorized
from bgagent_agent.processes import MARK_VARIABLE
from conftest import BRANCH, GREEN, WIP, World, git, make_payload
from fake_gateway import FakeGateway
from scripted_runner import ScriptedRunner

LOOP = "echo started > .git/started; while :; do sleep 0.1; done"


async def hang(run: ScriptedRunner) -> None:
    await run.write("pricing.py", GREEN)
    await run.begin("This takes long.")
    await asyncio.Event().wait()


async def test_a_cancel_stops_the_agent_and_pushes_its_work(world: World) -> None:
    async def cancel() -> None:
        await world.gateway.until(lambda: any(e["metadata"].get("turn") == 2 for e in world.gateway.events))
        world.gateway.post({"id": "c1", "kind": "cancel"})

    cancelling = asyncio.create_task(cancel())
    assert await world.run(hang) == 0
    await cancelling
    assert world.runner is not None
    assert world.runner.cancelled[0] == "cancelled"
    assert world.result["outcome"] == "cancelled"
    assert world.result["turns"] == 2
    assert world.pushed() == GREEN


async def test_a_cancel_that_was_there_before_the_start_clones_nothing(world: World) -> None:
    world.gateway.payload["cancel_requested"] = True
    assert await world.run() == 0
    assert world.result["outcome"] == "cancelled"
    assert world.result["commit"] is None
    assert not [request for request in world.gateway.requests if "/git/" in request]


async def test_a_cancel_during_verification_kills_the_check(world: World) -> None:
    world.gateway.payload["commands"]["test"] = LOOP

    async def fix(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)

    async def cancel() -> None:
        await world.gateway.until(lambda: "verify_started" in world.gateway.milestones())
        world.gateway.post({"id": "c1", "kind": "cancel"})

    cancelling = asyncio.create_task(cancel())
    assert await world.run(fix) == 0
    await cancelling
    assert world.result["outcome"] == "cancelled"
    assert world.pushed() == GREEN
    assert not marked_processes(world)


async def test_time_that_is_up_pushes_the_work_and_is_an_outcome_of_its_own(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        world.gateway.note(lambda: setattr(world.gateway, "remaining_s", 0.0))
        await asyncio.Event().wait()

    assert await world.run(work, heartbeat_s=0.05) == 0
    assert world.result["outcome"] == "timed_out"
    assert world.pushed() == GREEN


async def test_the_time_up_item_of_the_inbox_ends_the_task(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        world.gateway.post({"id": "t1", "kind": "time_up"})
        await asyncio.Event().wait()

    assert await world.run(work) == 0
    assert world.result["outcome"] == "timed_out"
    assert world.gateway.receipts == [("t1", "acknowledged")]


async def test_an_old_epoch_stops_everything_and_pushes_nothing(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        world.gateway.note(lambda: setattr(world.gateway, "stale", True))
        await asyncio.Event().wait()

    with pytest.raises(StaleAttempt):
        await world.run(work, heartbeat_s=0.05)
    assert world.gateway.results == []
    assert not world.has_ref(f"refs/heads/{BRANCH}")


async def test_a_dead_token_ends_the_attempt(world: World) -> None:
    world.gateway.faults.append(("/session/heartbeat", 401, {}))
    with pytest.raises(Unauthorized):
        await world.run(hang)
    assert world.gateway.results == []


async def test_a_termination_keeps_the_work_in_progress_and_reports_nothing(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        await world.gateway.until(lambda: world.gateway.checkpoints)
        (run.directory / "more.txt").write_text("half done\n")
        world.stop.request("terminated")
        await asyncio.Event().wait()

    assert await world.run(work) == 8
    assert world.gateway.results == []
    assert not world.has_ref(f"refs/heads/{BRANCH}")
    assert world.pushed("more.txt", WIP) == "half done\n"
    assert world.gateway.checkpoints[-1]["commit"] == world.remote("rev-parse", WIP)


async def test_a_second_attempt_goes_on_from_the_work_in_progress(world: World, tmp_path: Path) -> None:
    async def first(run: ScriptedRunner) -> None:
        (run.directory / "test_pricing.py").rename(run.directory / "test_total.py")
        await run.write("notes/plan.txt", "fix the sign\n")
        await world.gateway.until(lambda: world.gateway.checkpoints)
        world.stop.request("terminated")
        await asyncio.Event().wait()

    assert await world.run(first) == 8
    checkpoint = {**world.gateway.checkpoints[-1], "ref": WIP}
    second_payload = make_payload(task={"attempt": 2}, checkpoint=checkpoint, turns_used=1)
    gateway = FakeGateway(tmp_path / "remote", second_payload)
    gateway.start()
    root = tmp_path / "second"
    root.mkdir()
    again = World(root, world.bare, gateway)

    async def second(run: ScriptedRunner) -> None:
        assert (run.directory / "notes" / "plan.txt").read_text() == "fix the sign\n"
        assert not (run.directory / "test_pricing.py").exists()
        await run.write("pricing.py", GREEN)

    try:
        assert await again.run(second) == 0
    finally:
        gateway.stop()
    assert again.runner is not None
    assert "interrupted after turn 1" in again.runner.prompts[0]
    assert again.result["outcome"] == "completed"
    assert again.result["turns"] == 2
    changed = again.remote("diff", "--name-status", "main", BRANCH).split()
    assert changed == ["A", "notes/plan.txt", "M", "pricing.py", "R100", "test_pricing.py", "test_total.py"]
    assert again.remote("rev-list", "--count", f"main..{BRANCH}") == "1"


async def test_a_branch_that_exists_upstream_is_continued(world: World) -> None:
    git(world.bare, "branch", BRANCH, "main")
    work = world.root / "clone"
    git(world.root, "clone", "-q", "-b", BRANCH, str(world.bare), str(work))
    (work / "pricing.py").write_text(GREEN)
    git(work, "commit", "-q", "-a", "-m", "By a person")
    git(work, "push", "-q", "origin", BRANCH)

    async def add(run: ScriptedRunner) -> None:
        assert (run.directory / "pricing.py").read_text() == GREEN
        await run.write("more.txt", "x\n")

    assert await world.run(add) == 0
    assert world.result["outcome"] == "completed"
    subjects = world.remote("log", "--format=%s", f"main..{BRANCH}").split("\n")
    assert subjects == ["Fix the failing test", "By a person"]


def marked_processes(world: World) -> list[str]:
    """Processes of the tools side that still live in this world."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"{MARK_VARIABLE}=".encode() in environment and str(world.root).encode() in environment:
                found.append(entry.name)
    return found
