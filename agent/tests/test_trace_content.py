"""Whatever a trace is given becomes a line, and no secret is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bgagent_agent.local.control import LocalControl
from bgagent_agent.plain import plain
from bgagent_agent.redaction import Redactor
from bgagent_agent.trajectory import Limits, Trajectory
from conftest import make_payload
from fake_gateway import HARNESS, FakeGateway
from trace_world import NEVER, Block, quiet, recording

SECRET = "ghp_" + "a1B2" * 9
BARE = "Zk3vQ9xT1mW7rB5n"


class Odd:
    """An object that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


async def test_secrets_are_gone_before_anything_is_serialised(platform: FakeGateway) -> None:
    async with recording(platform, NEVER) as (trajectory, _):
        trajectory.record(
            "message",
            1,
            message=Block(
                f"the key is {SECRET}",
                {
                    "env": [{"name": HARNESS}, (HARNESS, f"A={SECRET}".encode())],
                    SECRET: "as a key",
                    "api_token": BARE,
                    "deep": {"nested": [[{"x": {SECRET}}]]},
                },
            ),
        )
        trajectory.record("tool_input", 1, name="Bash", input={"command": f"curl -H 'X: {SECRET}'"})
        trajectory.record("tool_output", 1, name="Bash", output=f"{SECRET}\n{HARNESS}")
        trajectory.record("hook", 1, input={"tool_response": {"stdout": SECRET}}, answer={"r": [SECRET]})
        trajectory.record("message", 1, message="x" * 1_100_000 + SECRET, odd=Odd())
        await trajectory.close(SECRET, 10.0)
    text = platform.trace.text()
    for secret in (SECRET, SECRET[:12], HARNESS, BARE):
        assert secret not in text
    assert text.count("[redacted GitHub token]") >= 8
    assert platform.trace.of("tool_input")[0]["input"]["command"] == "curl -H 'X: [redacted GitHub token]'"


def test_a_secret_that_lies_across_the_cut_of_a_long_text_leaves_no_half_behind() -> None:
    trajectory = Trajectory(
        LocalControl(make_payload(), print), Redactor(), quiet(), Limits(line_bytes=9_000)
    )
    for before in range(8_970, 9_001):
        assert "ghp_" not in trajectory._text("y" * before + " " + SECRET + "y" * 100)


ODDITIES: dict[str, Any] = {
    "unshowable": Odd(),
    "unshowable key": {Odd(): Odd()},
    "object": object(),
    "not a number": float("nan"),
    "huge": 10**5_000,
    "half a pair": "\ud800 half a pair",
    "bytes": b"\xff\x00",
    "function": json.dumps,
    "iterator": iter([1]),
    "empty": [[[]]] * 3,
    "class": Block,
}


@pytest.mark.parametrize("name", ODDITIES)
async def test_whatever_is_recorded_becomes_a_line(platform: FakeGateway, name: str) -> None:
    async with recording(platform, NEVER) as (trajectory, _):
        trajectory.record("message", 1, message=ODDITIES[name])
        await trajectory.close("completed", 10.0)
    assert [line["type"] for line in platform.trace.lines()] == ["header", "message", "end"]


def test_what_contains_itself_or_has_no_end_is_named_instead() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert plain(ring, str) == ["[list]"]
    wide: list[Any] = []
    for _ in range(100):
        wide = [wide, wide]
    json.dumps(plain(wide, str))


def test_keys_that_redaction_makes_alike_stay_apart() -> None:
    assert plain({SECRET: 1, SECRET[:-1]: 2}, Redactor().text) == {
        "[redacted GitHub token]": 1,
        "[redacted GitHub token]'": 2,
    }
