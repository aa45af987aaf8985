"""The demo's conversations against the real CLI: the model simulator checks that each tool has really run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgagent_agent.own_tools import full_name
from conftest import BRANCH, World, make_payload, make_remote
from fake_gateway import MODEL, FakeGateway
from program import ended, harness
from test_nudges import nudge

ROOT = Path(__file__).parents[2]
REPOSITORIES = ROOT / "rehearsal" / "repositories"


@contextmanager
def rehearsed(tmp_path: Path, name: str, prompt: str) -> Iterator[World]:
    """A world with a sample repository and the simulator behind the gateway's model path."""
    folder = REPOSITORIES / name
    files = {
        str(file.relative_to(folder)): file.read_bytes().decode()
        for file in folder.rglob("*")
        if file.is_file()
    }
    repo = f"acme/{name}"
    bare = make_remote(tmp_path / "remote", files, repo)
    payload = make_payload(
        task={"repo": repo, "description": prompt},
        prompt={"user": f"Repository: {repo}\n\n{prompt}", "system": "", "prompt_version": "pv1"},
    )
    command = [
        sys.executable,
        "-m",
        "rehearsal",
        "model",
        "--data",
        str(tmp_path / "model"),
        "--token",
        MODEL,
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        gateway = FakeGateway(tmp_path / "remote", payload)
        gateway.model_url = simulator.stdout.readline().split()[-1]
        gateway.start()
        try:
            yield World(tmp_path, bare, gateway)
        finally:
            gateway.stop()
            simulator.terminate()


async def test_the_pricing_repository_is_green_at_the_first_verification(tmp_path: Path) -> None:
    with rehearsed(tmp_path, "pricing", "fix the failing test") as world:
        async with harness(world) as process:
            assert await ended(process, world) == 0
        assert world.result["outcome"] == "completed", world.result
        assert world.result["verification"]["attempts"] == 1
        assert world.remote("diff", "--name-only", "main", BRANCH) == "pricing/money.py"
        assert "expectation_failed" not in (tmp_path / "model" / "model.jsonl").read_text()


async def test_the_wordcount_repository_is_green_at_the_second(tmp_path: Path) -> None:
    issues = json.loads((REPOSITORIES / "issues.json").read_text())
    with rehearsed(tmp_path, "wordcount", json.dumps(issues, ensure_ascii=False)) as world:
        async with harness(world) as process:
            assert await ended(process, world) == 0
        assert world.result["outcome"] == "completed", world.result
        assert world.result["verification"]["attempts"] == 2
        assert world.remote("diff", "--name-only", "main", BRANCH).split() == [
            "count.c",
            "tests/cases/unterminated.in",
            "tests/cases/unterminated.out",
        ]


def carrying(world: World, words: str) -> str:
    """What the first request with these words had that the one before had not."""
    requests = [body for body in world.gateway.model_requests if body.get("tools")]
    at = next(i for i, body in enumerate(requests) if words in json.dumps(body["messages"]))
    return json.dumps(requests[at]["messages"][len(requests[at - 1]["messages"]) :])


def calls(world: World) -> list[str]:
    """The tools that the agent has called, in order."""
    told = [event for event in world.gateway.events if event["event_type"] == "agent_tool_call"]
    return [event["metadata"]["tool_name"] for event in told]


@pytest.mark.parametrize(
    ("mode", "beside"), [("next", "waited"), ("interrupt", "[Request interrupted by user")]
)
async def test_a_person_steers_a_rehearsed_agent(tmp_path: Path, mode: str, beside: str) -> None:
    with rehearsed(tmp_path, "pricing", "Script: steerable") as world:
        async with harness(world) as process:
            await world.gateway.until(lambda: "Bash" in calls(world))
            world.gateway.people.ask("a1", "How far are you?")
            await world.gateway.until(lambda: calls(world)[-2:] == [full_name("answer_question"), "Bash"])
            world.gateway.post(nudge("n1", "Half a cent <b>up</b> & away", mode))
            assert await ended(process, world) == 0
        assert world.result["outcome"] == "completed", world.result
        assert beside in carrying(world, "away")
        assert world.pushed("NOTES") == "Half a cent &lt;b&gt;up&lt;/b&gt; &amp; away\n"
        assert [item for item, _ in world.gateway.delivered()] == ["a1", "n1"]
        (answer,) = world.gateway.people.answers
        assert answer["text"] == "I wait for a direction; nothing is changed yet."


@pytest.mark.parametrize(("answer", "outcome"), [("up", "completed"), (None, "no_change")])
async def test_a_rehearsed_agent_reports_and_asks_a_person(
    tmp_path: Path, answer: str | None, outcome: str
) -> None:
    with rehearsed(tmp_path, "pricing", "Script: asks-people") as world:
        people = world.gateway.people
        people.remaining_s = 300.0 if answer else 0.0
        async with harness(world) as process:
            if answer:
                await world.gateway.until(lambda: people.questions)
                people.answer(answer)
            assert await ended(process, world) == 0
        assert world.result["outcome"] == outcome, world.result
        assert "progress" in world.gateway.milestones()
        (question,) = people.questions
        assert question.startswith("toolu_")
        failures = (tmp_path / "model" / "model.jsonl").read_text()
        assert "expectation_failed" not in failures
