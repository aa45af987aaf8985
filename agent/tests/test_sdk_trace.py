"""What a trace of the real SDK holds, however the run ends; only the words of the model are scripted."""

from __future__ import annotations

import signal
import threading
import uuid
from typing import Any

import pytest
from claude_agent_sdk import HookMatcher, StreamEvent

from bgagent_agent.processes import kill_marked
from bgagent_agent.runner import unrecorded
from bgagent_agent.sdk_recording import SdkRecording
from conftest import GREEN, World
from fake_gateway import GIT, HARNESS, MODEL
from messages_api import assistant_turns
from program import ended, harness, leftovers
from scripted_runner import ScriptedRunner
from waiting import appears

FIX: dict[str, Any] = {"name": "Bash", "input": {"command": "sed -i 's/a - b/a + b/' pricing.py"}}
SECRET = "ghp_" + "a1B2" * 9


@pytest.fixture
def traced(world: World) -> World:
    """A world whose task keeps a trace."""
    world.gateway.payload["trace"] = True
    return world


def hooks(world: World, event: str) -> list[dict[str, Any]]:
    return [line for line in world.gateway.trace.of("hook") if line["event"] == event]


async def test_a_trace_holds_messages_tools_and_hooks_and_no_secret(traced: World) -> None:
    shows = {"name": "Bash", "input": {"command": f"env; echo {SECRET} $(seq 5000)"}}
    fails = {"name": "Bash", "input": {"command": "echo broken >&2; exit 3"}}

    def model(body: dict[str, Any]) -> dict[str, Any]:
        said = assistant_turns(body)
        if said == 0:
            return {"text": "Looking at the code.", "tools": [shows, fails]}
        return {"tools": [FIX]} if said == 1 else {"text": f"Fixed; the key is {SECRET}."}

    traced.gateway.model = model
    async with harness(traced) as process:
        assert await ended(process, traced) == 0
    trace = traced.gateway.trace
    lines = trace.lines()
    assert [lines[0]["type"], lines[-1]["type"]] == ["header", "end"]
    assert (lines[0]["task_id"], lines[0]["attempt"]) == ("01JTASK", 1)
    assert lines[-1]["outcome"] == traced.result["outcome"] == "completed"
    assert trace.final == [len(trace.parts)]
    assert all({"type", "at"} <= set(line) for line in lines)
    kinds = {line["message"]["type"] for line in trace.of("message")}
    assert {"SystemMessage", "AssistantMessage", "UserMessage", "ResultMessage", "StreamEvent"} <= kinds
    assert "Looking at the code." in str(trace.of("message"))
    assert trace.of("message_part") == []
    (brief,) = trace.of("brief")
    assert brief["prompt"].startswith("Fix the failing test.")
    inputs, outputs = trace.of("tool_input"), trace.of("tool_output")
    assert [(line["turn"], line["name"]) for line in inputs] == [(1, "Bash"), (1, "Bash"), (2, "Bash")]
    assert [line["id"] for line in inputs] == [line["id"] for line in outputs]
    assert inputs[2]["input"] == FIX["input"]
    assert [line["is_error"] for line in outputs] == [False, True, False]
    assert "[redacted GitHub token] 1 2 3" in outputs[0]["output"]
    assert outputs[0]["output"].rstrip().endswith("4999 5000")
    before = hooks(traced, "PreToolUse")
    assert [line["tool_use_id"] for line in before] == [line["id"] for line in inputs]
    assert [line["input"]["tool_input"]["command"] for line in before][2] == FIX["input"]["command"]
    assert [line["answer"] for line in before] == [{}, {}, {}]
    after = hooks(traced, "PostToolUse")
    assert "[redacted" in str(after[0]["answer"]["hookSpecificOutput"]["updatedToolOutput"])
    assert len(hooks(traced, "PostToolUseFailure")) == 1
    assert len(hooks(traced, "PostToolBatch")) == 2
    for token in (HARNESS, GIT, MODEL, SECRET):
        assert token not in trace.text()
    requests = traced.gateway.requests
    assert requests.index("POST /session/result") > max(
        index for index, request in enumerate(requests) if request == "POST /session/trace"
    )


@pytest.mark.parametrize(("kind", "outcome"), [("cancel", "cancelled"), ("time_up", "timed_out")])
async def test_a_run_that_is_stopped_leaves_what_was_recorded(traced: World, kind: str, outcome: str) -> None:
    speaks = threading.Event()

    def model(body: dict[str, Any]) -> dict[str, Any]:
        if assistant_turns(body) == 0:
            return {
                "tools": [{"name": "Bash", "input": {"command": "touch started; exec tail -f /dev/null"}}]
            }
        speaks.wait(60)
        return {"text": "Never heard."}

    traced.gateway.model = model
    async with harness(traced) as process:
        await appears(traced.root / "workspace" / "pricing" / "started", 120.0)
        traced.gateway.post({"id": "c1", "kind": kind})
        assert await ended(process, traced) == 0
    speaks.set()
    assert traced.result["outcome"] == outcome
    trace = traced.gateway.trace
    assert [line["name"] for line in trace.of("tool_input")] == ["Bash"]
    assert trace.lines()[-1]["outcome"] == outcome
    assert trace.final == [len(trace.parts)]


async def test_a_killed_cli_leaves_what_was_recorded(traced: World) -> None:
    traced.gateway.model = lambda body: {
        "tools": [{"name": "Bash", "input": {"command": "kill -9 $PPID; exec tail -f /dev/null"}}]
    }
    async with harness(traced) as process:
        assert await ended(process, traced) == 0
    assert traced.result["error"]["code"] == "agent_crashed"
    trace = traced.gateway.trace
    assert [line["input"]["command"][:7] for line in trace.of("tool_input")] == ["kill -9"]
    assert [line["event"] for line in trace.of("hook")] == ["UserPromptSubmit", "PreToolUse"]
    assert trace.lines()[-1]["outcome"] == "failed"
    assert not leftovers(traced)


async def test_a_terminated_run_leaves_what_was_recorded(traced: World) -> None:
    traced.gateway.model = lambda body: {
        "tools": [{"name": "Bash", "input": {"command": "touch started; exec tail -f /dev/null"}}]
    }
    async with harness(traced) as process:
        await appears(traced.root / "workspace" / "pricing" / "started", 120.0)
        process.send_signal(signal.SIGTERM)
        assert await ended(process, traced) == 8
    assert traced.gateway.results == []
    assert [line["name"] for line in traced.gateway.trace.of("tool_input")] == ["Bash"]
    assert traced.gateway.trace.lines()[-1]["outcome"] == "terminated"


async def test_a_killed_harness_loses_only_what_was_not_sent_yet(traced: World) -> None:
    def model(body: dict[str, Any]) -> dict[str, Any]:
        if assistant_turns(body) == 1:
            return {
                "tools": [{"name": "Bash", "input": {"command": "touch started; exec tail -f /dev/null"}}]
            }
        return {"tools": [FIX]}

    traced.gateway.model = model
    mark = f"bgagent-{uuid.uuid4().hex}-1"
    try:
        async with harness(traced, BGAGENT_SESSION=mark) as process:
            await traced.gateway.until(lambda: traced.gateway.trace.of("tool_output"))
            process.kill()
            await process.wait()
    finally:
        # Where it runs for real its container goes with it.
        await kill_marked(mark)
    assert traced.gateway.trace.of("tool_output")[0]["name"] == "Bash"
    assert traced.gateway.trace.final == []


def delta(text: str, index: int = 0) -> StreamEvent:
    event = {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}
    return StreamEvent("u", "s", event)


def other(kind: str, index: int = 0) -> StreamEvent:
    return StreamEvent("u", "s", {"type": kind, "index": index})


def test_what_the_model_had_said_when_its_stream_broke_off_is_one_whole() -> None:
    lines: list[tuple[str, Any]] = []

    def record(kind: str, turn: int | None = None, /, **fields: Any) -> None:
        lines.append((kind, fields.get("text")))

    recording = SdkRecording(record, lambda: 1)
    stream = [other("message_start"), delta("who"), delta("le"), other("content_block_stop")]
    for message in [*stream, delta("The key is ghp_", 1), delta("a1B2" * 9, 1), other("ping"), delta("!", 1)]:
        recording.message(message)
    assert lines == [("message", None)] * 3
    recording.broken_off()
    assert lines[3:] == [("message_part", f"The key is {SECRET}!")]
    recording.broken_off()
    assert len(lines) == 4


def test_without_a_recorder_the_hooks_are_those_of_the_runner_and_nothing_is_kept() -> None:
    async def hook(data: Any, tool_use_id: str | None, context: Any) -> Any:
        return {}

    matcher = HookMatcher(hooks=[hook])
    off = SdkRecording(unrecorded, lambda: 1)
    off.message(delta("x"))
    assert off.hooks({"PreToolUse": [matcher]}) == {"PreToolUse": [matcher]}
    assert not off._pieces


async def test_a_run_without_a_trace_uploads_nothing(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        assert run.brief is not None
        assert run.brief.record is unrecorded
        await run.write("pricing.py", GREEN)

    assert await world.run(work) == 0
    assert "POST /session/trace" not in world.gateway.requests
