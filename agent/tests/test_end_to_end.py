"""The real program with the real SDK and its CLI; only the model's words are scripted."""

from __future__ import annotations

import signal
import threading
from typing import Any

from conftest import BRANCH, GREEN, WIP, World
from fake_gateway import GIT, HARNESS, MODEL
from messages_api import assistant_turns, tool_results
from program import ended, harness, leftovers
from waiting import appears

FIX = {"name": "Bash", "input": {"command": "sed -i 's/a - b/a + b/' pricing.py"}}


async def test_the_real_cli_fixes_the_test_and_the_work_is_pushed(world: World) -> None:
    world.gateway.payload["tools"] = ["Bash", "Read", "Edit"]
    secret = "ghp_" + "a1B2" * 9
    path = str(world.root / "workspace" / "pricing" / "pricing.py")
    edit = {"file_path": path, "old_string": "return a - b", "new_string": "return a + b"}

    def model(body: dict[str, Any]) -> dict[str, Any]:
        said, results = assistant_turns(body), tool_results(body)
        if said == 0:
            return {
                "text": "Looking at the code.",
                "tools": [
                    {"name": "Read", "input": {"file_path": path}},
                    {"name": "Bash", "input": {"command": f"env | sort; echo {secret}"}},
                ],
            }
        if said == 1:
            assert "return a - b" in results[0]
            return {"tools": [{"name": "Edit", "input": edit}]}
        if said == 2:
            return {"tools": [{"name": "Bash", "input": {"command": "python3 -m unittest 2>&1"}}]}
        assert "OK" in results[-1]
        return {"text": "Add instead of subtract: `total` had the wrong sign."}

    world.gateway.model = model
    async with harness(world) as process:
        assert await ended(process, world) == 0, (world.root / "harness.log").read_text()
    assert world.result["outcome"] == "completed", world.result
    assert world.result["turns"] == 4
    assert world.pushed() == GREEN
    environment = tool_results(world.gateway.model_requests[1])[1]
    assert HARNESS not in environment
    assert GIT not in environment
    assert secret not in environment
    assert "[redacted GitHub token]" in environment
    kinds = [(e["event_type"], e["metadata"].get("tool_name")) for e in world.gateway.events]
    results = [e["metadata"] for e in world.gateway.events if e["event_type"] == "agent_tool_result"]
    assert all(0 <= one["duration_ms"] < 600_000 for one in results)
    calls = [kind for kind in kinds if kind[0] != "agent_milestone"]
    assert calls == [
        ("agent_turn", None),
        ("agent_tool_call", "Read"),
        ("agent_tool_call", "Bash"),
        ("agent_tool_result", "Read"),
        ("agent_tool_result", "Bash"),
        ("agent_turn", None),
        ("agent_tool_call", "Edit"),
        ("agent_tool_result", "Edit"),
        ("agent_turn", None),
        ("agent_tool_call", "Bash"),
        ("agent_tool_result", "Bash"),
        ("agent_turn", None),
    ]
    everything = str(world.gateway.events) + (world.root / "harness.log").read_text()
    for token in (HARNESS, GIT, MODEL, secret):
        assert token not in everything
    # A snapshot holds the tree as it is when git comes to it: that of turn 1 may see the edit of turn 2 on
    # its way, that of turn 2 may stand behind turn 3. Nothing else changes the tree; the last one is whole.
    turns = [checkpoint["turn"] for checkpoint in world.gateway.checkpoints]
    assert turns == sorted(set(turns))
    assert set(turns) <= {1, 2, 3}
    assert world.pushed(ref=world.gateway.checkpoints[-1]["commit"]) == GREEN


async def test_feedback_of_a_red_verification_reaches_the_model(world: World) -> None:
    def model(body: dict[str, Any]) -> dict[str, Any]:
        said = assistant_turns(body)
        if said == 0:
            return {"tools": [{"name": "Bash", "input": {"command": "echo '# wrong' >> pricing.py"}}]}
        if said == 1:
            return {"text": "I think this is it."}
        if said == 2:
            assert "AssertionError: -1 != 3" in str(body["messages"][-1])
            return {"tools": [FIX]}
        return {"text": "Now it is right."}

    world.gateway.model = model
    async with harness(world) as process:
        assert await ended(process, world) == 0
    assert world.result["outcome"] == "completed"
    assert world.result["turns"] == 4
    assert world.result["verification"]["attempts"] == 2
    assert world.pushed() == GREEN + "# wrong\n"


async def test_a_cancel_while_a_tool_runs_ends_the_tool_and_pushes_the_work(world: World) -> None:
    world.gateway.model = lambda body: {
        "tools": [{"name": "Bash", "input": {"command": "echo half > half.txt; setsid sleep 600"}}]
    }
    half = world.root / "workspace" / "pricing" / "half.txt"
    async with harness(world) as process:
        await world.gateway.until(lambda: len(world.gateway.events) >= 6)
        await appears(half)
        world.gateway.post({"id": "c1", "kind": "cancel"})
        assert await ended(process, world) == 0
    assert world.result["outcome"] == "cancelled"
    assert ("c1", "acknowledged") in world.gateway.receipts
    assert world.pushed("half.txt") == "half\n"
    assert not leftovers(world)


async def test_402_from_the_model_is_a_spent_budget(world: World) -> None:
    def model(body: dict[str, Any]) -> dict[str, Any]:
        world.gateway.model_status = 402
        return {"tools": [FIX]}

    world.gateway.model = model
    async with harness(world) as process:
        assert await ended(process, world) == 0
    assert world.result["outcome"] == "budget_exhausted"
    assert world.result["turns"] == 1
    assert world.pushed() == GREEN


async def test_the_turn_limit_holds_over_all_queries(world: World) -> None:
    world.gateway.payload["limits"]["max_turns"] = 2
    world.gateway.model = lambda body: {
        "tools": [{"name": "Bash", "input": {"command": "echo x >> log.txt"}}]
    }
    async with harness(world) as process:
        assert await ended(process, world) == 0
    assert world.result["outcome"] == "max_turns"
    assert world.result["turns"] == 2
    assert world.pushed("log.txt") == "x\nx\n"


async def test_turns_of_a_second_query_count_on_from_the_first(world: World) -> None:
    world.gateway.payload["limits"]["max_turns"] = 3

    def model(body: dict[str, Any]) -> dict[str, Any]:
        if assistant_turns(body) == 1:
            return {"text": "Done, I think."}
        return {"tools": [{"name": "Bash", "input": {"command": "echo x >> log.txt"}}]}

    world.gateway.model = model
    async with harness(world) as process:
        assert await ended(process, world) == 0
    assert world.result["outcome"] == "max_turns"
    assert world.result["turns"] == 3
    assert world.result["verification"]["attempts"] == 1
    assert len(world.gateway.model_requests) == 3


async def test_a_model_that_keeps_failing_is_a_structured_error(world: World) -> None:
    world.gateway.model = lambda body: {"status": 529}
    async with harness(world, BGAGENT_MODEL_RETRIES="1") as process:
        assert await ended(process, world) == 0
    assert world.result["outcome"] == "failed"
    assert world.result["error"]["code"] == "model_unavailable"
    assert world.result["error"]["category"] == "network"
    blocked = [e["metadata"] for e in world.gateway.events if e["event_type"] == "agent_blocked"]
    assert [event["kind"] for event in blocked] == ["model_unavailable"]
    assert "529" in blocked[0]["detail"]
    assert world.result["turns"] == 0


async def test_a_model_that_never_answers_is_ended_by_the_deadline(world: World) -> None:
    never = threading.Event()

    def model(body: dict[str, Any]) -> dict[str, Any]:
        if assistant_turns(body) == 0:
            return {"tools": [FIX]}
        world.gateway.note(lambda: setattr(world.gateway, "remaining_s", 0.0))
        never.wait(60)
        return {"text": "Too late."}

    world.gateway.model = model
    try:
        async with harness(world, BGAGENT_HEARTBEAT_S="0.2") as process:
            assert await ended(process, world) == 0
    finally:
        never.set()
    assert world.result["outcome"] == "timed_out"
    assert world.pushed() == GREEN


async def test_a_nudge_is_in_the_next_request_of_the_model(world: World) -> None:
    def model(body: dict[str, Any]) -> dict[str, Any]:
        if "a + b" in world_file.read_text():
            return {"text": "Done."}
        if "rename nothing please" in str(body["messages"]):
            return {"tools": [FIX]}
        assert assistant_turns(body) < 5
        return {"tools": [{"name": "Bash", "input": {"command": "until [ -e go ]; do sleep 0.05; done"}}]}

    world_file = world.root / "workspace" / "pricing" / "pricing.py"

    world.gateway.model = model
    async with harness(world) as process:
        await world.gateway.until(lambda: len(world.gateway.events) >= 6)
        world.gateway.post({"id": "n1", "kind": "nudge", "mode": "next", "text": "rename nothing please"})
        await world.gateway.until(lambda: ("n1", "acknowledged") in world.gateway.receipts)
        (world.root / "workspace" / "pricing" / "go").touch()
        await world.gateway.until(lambda: ("n1", "delivered") in world.gateway.receipts)
        assert await ended(process, world) == 0
    assert world.result["outcome"] == "completed", world.result


async def test_a_killed_cli_is_an_error_of_the_agent(world: World) -> None:
    world.gateway.model = lambda body: {
        "tools": [{"name": "Bash", "input": {"command": "echo x > made.txt; kill -9 $PPID; sleep 600"}}]
    }
    async with harness(world) as process:
        assert await ended(process, world) == 0
    assert world.result["outcome"] == "failed"
    assert world.result["error"]["code"] == "agent_crashed"
    assert world.pushed("made.txt") == "x\n"
    assert not leftovers(world)


async def test_sigterm_keeps_the_work_and_reports_no_result(world: World) -> None:
    world.gateway.model = lambda body: {
        "tools": [{"name": "Bash", "input": {"command": "echo half > half.txt; sleep 600"}}]
    }
    async with harness(world) as process:
        await appears(world.root / "workspace" / "pricing" / "half.txt")
        process.send_signal(signal.SIGTERM)
        assert await ended(process, world) == 8
    assert world.gateway.results == []
    assert world.pushed("half.txt", WIP) == "half\n"
    assert world.gateway.checkpoints[-1]["commit"] == world.remote("rev-parse", WIP)
    assert not world.has_ref(f"refs/heads/{BRANCH}")
    assert not leftovers(world)


async def test_an_attempt_that_is_over_stops_at_once_and_touches_nothing(world: World) -> None:
    world.gateway.model = lambda body: {
        "tools": [{"name": "Bash", "input": {"command": "echo half > half.txt; setsid sleep 600"}}]
    }
    async with harness(world, BGAGENT_HEARTBEAT_S="0.2") as process:
        await appears(world.root / "workspace" / "pricing" / "half.txt")
        world.gateway.note(lambda: setattr(world.gateway, "stale", True))
        assert await ended(process, world) == 3
    assert world.gateway.results == []
    assert not world.has_ref(f"refs/heads/{BRANCH}")
    assert not leftovers(world)


async def test_a_missing_variable_is_named_and_nothing_runs(world: World) -> None:
    async with harness(world, BGAGENT_GIT_TOKEN="", BGAGENT_ATTEMPT="zero") as process:
        assert await ended(process, world) == 2
    log = (world.root / "harness.log").read_text()
    assert "BGAGENT_GIT_TOKEN is not set" in log
    assert "BGAGENT_ATTEMPT must be a positive number" in log
    assert world.gateway.requests == []
