"""How a trace travels, and where it ends."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import io
import json
import random

from bgagent_agent.local.control import LocalControl
from bgagent_agent.logs import Log
from bgagent_agent.redaction import Redactor
from bgagent_agent.trajectory import Limits, Trajectory
from conftest import make_payload
from fake_gateway import FakeGateway
from fake_trace import one_member
from trace_world import AT_ONCE, NEVER, SESSION, Block, quiet, recording


async def stored(platform: FakeGateway, parts: int) -> None:
    await platform.until(lambda: len(platform.trace.parts) == parts)


async def test_the_first_line_says_whose_it_is_and_the_last_how_it_ended(platform: FakeGateway) -> None:
    async with recording(platform, NEVER) as (trajectory, _):
        trajectory.record("message", 3, message=Block("hello"))
        await trajectory.close("completed", 10.0)
        trajectory.record("message", 4, message=Block("too late"))
        await trajectory.close("failed", 10.0)
    header, message, end = platform.trace.lines()
    assert {key: header[key] for key in ("type", "version", "task_id", "attempt", "model")} == {
        "type": "header",
        "version": 1,
        "task_id": "01JTASK",
        "attempt": 1,
        "model": "claude-sonnet-4-5",
    }
    assert header["started_at"].endswith("Z")
    assert message == {
        "type": "message",
        "at": message["at"],
        "turn": 3,
        "message": {"type": "Block", "text": "hello"},
    }
    assert (end["type"], end["outcome"]) == ("end", "completed")
    assert platform.trace.final == [1]


async def test_parts_are_whole_gzip_members_in_order_and_only_the_last_is_final(
    platform: FakeGateway,
) -> None:
    async with recording(platform) as (trajectory, _):
        for number in range(3):
            await stored(platform, number + 1)
            trajectory.record("message", number, text=f"line {number}")
        await trajectory.close("completed", 10.0)
    assert all(map(one_member, platform.trace.parts))
    assert [line.get("text") for line in platform.trace.of("message")] == ["line 0", "line 1", "line 2"]
    assert platform.trace.final == [len(platform.trace.parts)]
    assert platform.trace.truncated == []


async def test_a_part_leaves_when_it_is_large_without_waiting_for_its_time(platform: FakeGateway) -> None:
    async with recording(platform, dataclasses.replace(NEVER, part_bytes=2_000)) as (trajectory, _):
        trajectory.record("message", text="x" * 2_000)
        await platform.until(lambda: platform.trace.parts)
        assert [line["type"] for line in platform.trace.lines()] == ["header", "message"]


async def test_a_line_that_is_too_long_has_its_long_texts_cut_with_a_mark(platform: FakeGateway) -> None:
    async with recording(platform, NEVER) as (trajectory, _):
        trajectory.record("tool_output", 1, name="Read", output="words and " * 100_000, extra=["z" * 900_000])
        trajectory.record("tool_output", 2, parts=["ab" * 50] * 20_000)
        await trajectory.close("completed", 10.0)
    first, second = platform.trace.of("tool_output")
    assert first["name"] == "Read"
    assert first["output"].startswith("words and words")
    assert "characters cut]" in first["output"]
    assert second["left_out"].endswith(" bytes")
    assert max(len(json.dumps(line)) for line in platform.trace.lines()) <= 1024 * 1024


async def test_at_its_limit_the_trace_says_so_and_takes_nothing_but_the_end(platform: FakeGateway) -> None:
    async with recording(platform, dataclasses.replace(NEVER, total_bytes=20_000)) as (trajectory, log):
        for number in range(100):
            trajectory.record("message", number, text="word " * 100)
        await trajectory.close("completed", 10.0)
    lines = platform.trace.lines()
    assert 10 < len(lines) < 50
    assert [line["type"] for line in lines[-2:]] == ["truncated", "end"]
    assert lines[-2]["limit_bytes"] == 20_000
    assert len(platform.trace.text().encode()) <= 20_000
    assert platform.trace.truncated == platform.trace.final == [1]
    assert log.getvalue().count("the trace is full") == 1


async def test_a_platform_that_is_full_ends_the_recording_and_not_the_run(platform: FakeGateway) -> None:
    platform.trace.full_at = 2
    async with recording(platform) as (trajectory, log):
        await platform.until(lambda: platform.trace.parts)
        trajectory.record("message", text="no room")
        await platform.until(lambda: platform.trace.refused)
        await trajectory.close("completed", 10.0)
    assert platform.trace.refused == ["TRACE_FULL"]
    assert len(platform.trace.parts) == 1
    assert "TRACE_FULL" in log.getvalue()


async def test_a_platform_that_wants_no_trace_is_asked_once(platform: FakeGateway) -> None:
    platform.payload["trace"] = False
    async with recording(platform) as (trajectory, _):
        await platform.until(lambda: platform.trace.refused)
        trajectory.record("message", text="unwanted")
        await trajectory.close("completed", 10.0)
    assert platform.trace.refused == ["TRACE_NOT_ENABLED"]


async def test_a_gap_that_nobody_can_fill_ends_the_recording(platform: FakeGateway) -> None:
    async with recording(platform) as (trajectory, log):
        await platform.until(lambda: platform.trace.parts)
        platform.note(platform.trace.parts.clear)
        trajectory.record("message", text="after the loss")
        await platform.until(lambda: platform.trace.refused)
        await trajectory.close("completed", 10.0)
    assert platform.trace.refused == ["TRACE_GAP"]
    assert "parts of it were lost" in log.getvalue()


async def test_an_attempt_that_is_over_uploads_nothing_and_raises_nothing(platform: FakeGateway) -> None:
    platform.stale = True
    async with recording(platform) as (trajectory, _):
        await platform.until(lambda: "POST /session/trace" in platform.requests)
        await trajectory.close("completed", 10.0)
    assert platform.trace.parts == []
    assert platform.requests.count("POST /session/trace") == 1


async def test_parts_outlive_a_restart_of_the_platform(platform: FakeGateway) -> None:
    async with recording(platform) as (trajectory, _):
        await platform.until(lambda: platform.trace.parts)
        platform.stop()
        trajectory.record("message", text="said meanwhile")
        platform.start()
        await trajectory.close("completed", 30.0)
    assert [line["type"] for line in platform.trace.lines()] == ["header", "message", "end"]


async def test_a_part_is_sent_again_after_the_patience_of_a_call(platform: FakeGateway) -> None:
    platform.trace.away = True
    async with recording(platform, patience_s=0.0) as (trajectory, _):
        await platform.until(lambda: len(platform.trace.refused) >= 3)
        platform.note(lambda: setattr(platform.trace, "away", False))
        await trajectory.close("completed", 30.0)
    assert [line["type"] for line in platform.trace.lines()] == ["header", "end"]


async def test_a_platform_that_is_away_delays_the_end_no_longer_than_allowed(platform: FakeGateway) -> None:
    platform.stop()
    async with recording(platform) as (trajectory, log):
        trajectory.record("message", text="never read")
        async with asyncio.timeout(20):
            await trajectory.close("cancelled", 0.1)
    assert "the end of the trace could not be uploaded" in log.getvalue()


class Away(LocalControl):
    """Takes no part until a test says so."""

    def __init__(self) -> None:
        super().__init__(make_payload(), lambda line: None)
        self.here = asyncio.Event()
        self.asked = asyncio.Event()
        self.taken: list[tuple[int, bytes, bool, bool]] = []

    async def upload_trace(self, part: int, body: bytes, *, final: bool, truncated: bool) -> None:
        self.asked.set()
        await self.here.wait()
        self.taken.append((part, body, final, truncated))


async def test_what_waits_is_bounded_and_what_was_numbered_is_not_lost() -> None:
    control, stream = Away(), io.StringIO()
    log = Log(Redactor(), stream)
    limits = Limits(part_bytes=20_000, waiting_bytes=100_000, part_s=0.0)
    trajectory = Trajectory(control, Redactor(), log, limits)
    trajectory.begin(SESSION)
    await control.asked.wait()
    noise = random.Random(4711)
    for number in range(200):
        trajectory.record("message", number, words=noise.randbytes(2_500).hex(" "))
        assert sum(len(part.body) for part in trajectory._waiting) <= limits.waiting_bytes
    control.here.set()
    await trajectory.close("completed", 10.0)
    assert [part for part, _, _, _ in control.taken] == list(range(1, len(control.taken) + 1))
    lines = [
        json.loads(line)
        for line in gzip.decompress(b"".join(body for _, body, _, _ in control.taken)).splitlines()
    ]
    assert [line["turn"] for line in lines if line["type"] == "message"] == list(range(len(lines) - 3))
    assert [line["type"] for line in lines[-2:]] == ["truncated", "end"]
    assert len(lines) < 150
    assert [final for _, _, final, _ in control.taken][-1]
    assert [truncated for _, _, _, truncated in control.taken][-2:] == [False, True]
    assert stream.getvalue().count("the trace ends early") == 1


async def test_a_trace_is_not_waited_for_while_the_work_goes_on() -> None:
    control = Away()
    trajectory = Trajectory(control, Redactor(), quiet(), AT_ONCE)
    trajectory.begin(SESSION)
    await control.asked.wait()
    for number in range(50):
        trajectory.record("message", number)
    assert control.taken == []
    await trajectory.close("terminated", 0.0)
