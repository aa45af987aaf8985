"""What the harness sends is what docs/schemas says; other tests hold the platform to the same files."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from bgagent_agent.gate import Verdict
from bgagent_agent.reporter import gap
from bgagent_agent.runner import QueryDone, ToolCall
from conftest import GREEN, WIP, World, make_payload
from scripted_runner import ScriptedRunner
from test_gates import POLICIES, governed
from test_nudges import nudge

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
ULID = "01JZ0000000000000000000003"
REGISTRY: Registry[Any] = Registry().with_resources(
    (path.as_uri(), Resource.from_contents(json.loads(path.read_text()))) for path in SCHEMAS.rglob("*.json")
)


def breaches(name: str, value: Any, pointer: str = "") -> list[str]:
    """What is wrong with a value by the schema of that name."""
    address = (SCHEMAS / f"{name}.json").as_uri()
    validator = Draft202012Validator({"$ref": f"{address}#{pointer}"}, registry=REGISTRY)
    return [f"{name}: {error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def told(world: World) -> list[str]:
    """Every breach in everything that the gateway was told."""
    gateway = world.gateway
    found = breaches("session/events.request", {"attempt": gateway.attempt, "events": gateway.events[:100]})
    for event in gateway.events:
        found += breaches(f"events/{event['event_type']}", event["metadata"], "/properties/metadata")
    bodies = {
        "heartbeat": gateway.heartbeats,
        "checkpoint": gateway.checkpoints,
        "result": gateway.results,
        "receipt": gateway.receipt_bodies,
    }
    for call, sent in bodies.items():
        found += [breach for body in sent for breach in breaches(f"session/{call}.request", body)]
    for call, body in gateway.people.bodies:
        found += breaches(f"session/{call}.request", body)
    # What the tests' own platform says is held to the same files.
    for call, reply in gateway.people.replies:
        known = {name: ULID for name in ("question_id", "request_id") if name in reply}
        found += breaches(f"session/{call}", {**reply, **known})
    return found


async def test_everything_the_harness_sends_fits_its_schema(world: World) -> None:
    async def wrong(run: ScriptedRunner) -> None:
        await run.write("pricing.py", "def total(a, b):\n    return a * b\n")
        await world.gateway.until(lambda: world.gateway.checkpoints)

    async def right(run: ScriptedRunner) -> QueryDone:
        await run.write("pricing.py", GREEN)
        return QueryDone("completed", "Fixed the sign.")

    world.gateway.payload["commands"]["setup"] = "true"
    assert await world.run(wrong, right) == 0
    assert world.has_ref(WIP)
    assert world.gateway.heartbeats
    assert world.result["outcome"] == "completed"
    assert told(world) == []


@pytest.mark.parametrize("reason", ["api_error", "max_turns", "budget", "crashed"])
async def test_every_way_to_end_fits_its_schema(world: World, reason: Any) -> None:
    async def end(run: ScriptedRunner) -> QueryDone:
        await run.write("pricing.py", GREEN)
        return QueryDone(reason, "", 500, "it went wrong")

    assert await world.run(end) == 0
    assert told(world) == []


async def test_everything_about_people_fits_its_schema(world: World) -> None:
    people = world.gateway.people
    shown: list[dict[str, Any]] = []
    post = world.gateway.post

    def kept(*items: dict[str, Any]) -> None:
        shown.extend(items)
        post(*items)

    people.post = kept
    calls: list[Verdict] = []

    async def work(run: ScriptedRunner) -> None:
        await governed(world, calls)(run)
        kept(nudge("n1", "mind the date", "steer"))
        people.ask("a1", "How far are you?")
        await world.gateway.until(lambda: len(world.gateway.delivered()) == 2)
        await run.call("answer_question", ask_id="a1", text="Half way.")
        await run.call("report_progress", done=["this"], todo=[{"text": "that", "state": "open"}])
        await run.call("ask_human", question="Which?", options=["one", "other"])
        people.remaining_s = 0.0
        await run.call("ask_human", question="Really?")
        calls.append(await run.gate.judge(ToolCall("call-9", "Bash", {"command": "x" * 9_000})))

    async def attend() -> None:
        await world.gateway.until(lambda: people.approvals)
        people.decide("denied", reason="no")
        await world.gateway.until(lambda: people.questions)
        people.answer("one")

    governed(world, calls)
    attending = asyncio.create_task(attend())
    assert await world.run(work) == 0
    await attending
    assert [verdict.allow for verdict in calls] == [False, False]
    assert {name for name, _ in people.bodies} == {
        "ask-answer",
        "question",
        "question-expire",
        "approval",
        "approval-expire",
    }
    assert told(world) == []
    known = {"id": ULID, "question_id": ULID, "request_id": ULID}
    items = [{name: known.get(name, value) for name, value in item.items()} for item in shown]
    assert {item["kind"] for item in items} == {"nudge", "ask", "answer", "decision"}
    assert breaches("session/inbox", {"items": items}) == []


def test_payloads_with_and_without_policies_fit_their_schema() -> None:
    task = {"task_id": ULID, "title": ""}
    plain = make_payload(task=task)
    assert breaches("session/session", plain) == []
    assert breaches("session/session", {**plain, "policies": POLICIES, "allowances": ["rule:push"]}) == []
    parking = {"unanswered_question": "park", "trace": True}
    assert breaches("session/session", {**plain, "rules": POLICIES, **parking}) == []
    assert breaches("session/session", {**plain, "policies": ["forbid"]}) != []
    assert breaches("session/session", {**plain, "unanswered_question": "guess"}) != []


def test_what_is_parked_and_what_was_dropped_fit_their_schema() -> None:
    parked = {"attempt": 1, "outcome": "parked", "commit": None, "error": None}
    assert breaches("session/result", {**parked, "parked_on": {"kind": "question", "id": ULID}}) == []
    assert breaches("session/result", {**parked, "parked_on": {"kind": "mood", "id": ULID}}) != []
    assert breaches("events/agent_blocked", gap(7), "/properties/metadata") == []
