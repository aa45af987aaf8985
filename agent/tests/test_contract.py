"""What the harness sends is what docs/schemas says; other tests hold the platform to the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from bgagent_agent.runner import QueryDone
from conftest import GREEN, WIP, World
from scripted_runner import ScriptedRunner

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
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
        "receipt": [{"attempt": gateway.attempt, "status": status} for _, status in gateway.receipts],
    }
    for call, sent in bodies.items():
        found += [breach for body in sent for breach in breaches(f"session/{call}.request", body)]
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
