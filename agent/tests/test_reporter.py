"""Events: numbered densely, sent in batches, sent again with the same numbers; facts are never dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bgagent_agent.control import Event
from bgagent_agent.errors import SequenceGap
from bgagent_agent.logs import Log
from bgagent_agent.redaction import Redactor
from bgagent_agent.reporter import Reporter


class Platform:
    """The receiving side: keeps what it accepts, and fails as it was told."""

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self.seen: list[Event] = []
        self.batches: list[int] = []
        self.gaps: list[int] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send_events(self, events: Sequence[Event]) -> int:
        await self.open.wait()
        self.batches.append(len(events))
        if self.gaps:
            self.last = self.gaps.pop() - 1
            self.seen = [event for event in self.seen if event.client_seq <= self.last]
            raise SequenceGap(self.last + 1)
        for event in events:
            if event.client_seq <= self.last:
                continue
            assert event.client_seq == self.last + 1
            self.last = event.client_seq
            self.seen.append(event)
        return self.last


@asynccontextmanager
async def reporting(platform: Platform, **options: Any) -> Any:
    """A reporter that sends for the length of the block."""
    redactor = Redactor()
    reporter = Reporter(platform, redactor, Log(redactor), flush_interval_s=0.001, **options)  # type: ignore[arg-type]
    task = asyncio.create_task(reporter.run())
    try:
        async with asyncio.timeout(20):
            yield reporter
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_numbers_are_dense_and_go_on_from_the_last_one() -> None:
    platform = Platform(last=7)
    async with reporting(platform, last_seq=7) as reporter:
        for number in range(120):
            await reporter.milestone(f"progress {number}")
        await reporter.drain()
    assert [event.client_seq for event in platform.seen] == list(range(8, 128))
    assert max(platform.batches) <= 50


async def test_a_full_queue_drops_sights_keeps_facts_and_recovers_by_itself() -> None:
    platform = Platform()
    platform.open.clear()
    async with reporting(platform, queue=5) as reporter:
        # Nobody waits: with the platform away all of it returns.
        await fill(reporter, 7)
        for number in range(3):
            await reporter.emit("agent_tool_call", tool_name="Bash", tool_input_preview=f"call {number}")
            await reporter.emit("agent_tool_result", tool_name="Bash", content_preview=f"result {number}")
        await reporter.milestone("7")
        await reporter.emit("agent_error", message="told")
        assert reporter.events_dropped == 6
        platform.open.set()
        await reporter.drain()
        await reporter.emit("agent_tool_call", tool_name="Bash", tool_input_preview="later")
        await reporter.drain()
    told = [event.metadata for event in platform.seen if event.event_type == "agent_milestone"]
    assert [fields["milestone"] for fields in told] == [str(n) for n in range(8)]
    kinds = [event.event_type for event in platform.seen]
    assert kinds.count("agent_error") == 1
    assert [event.client_seq for event in platform.seen] == list(range(1, len(kinds) + 1))
    gaps = [event.metadata for event in platform.seen if event.event_type == "agent_blocked"]
    assert [(gap["kind"], gap["events_dropped"]) for gap in gaps] == [("events_dropped", 6)]
    assert kinds[-1] == "agent_tool_call"


async def test_events_of_tools_are_shown_while_there_is_room() -> None:
    platform = Platform()
    platform.open.clear()
    async with reporting(platform, queue=5) as reporter:
        for number in range(6):
            await reporter.emit("agent_tool_call", tool_name="Bash", tool_input_preview=str(number))
        platform.open.set()
        await reporter.drain()
    shown = [event.metadata.get("tool_input_preview") for event in platform.seen]
    assert [text for text in shown if text is not None] == ["0", "1", "2", "3", "4"]
    assert reporter.events_dropped == 1


async def fill(reporter: Reporter, count: int) -> None:
    for number in range(count):
        await reporter.milestone(str(number))


async def test_events_the_platform_lost_again_are_sent_again_with_their_numbers() -> None:
    platform = Platform()
    async with reporting(platform) as reporter:
        await fill(reporter, 10)
        await reporter.drain()
        platform.gaps.append(4)
        await fill(reporter, 3)
        await reporter.drain()
    assert [event.client_seq for event in platform.seen] == list(range(1, 14))


async def test_a_platform_that_is_ahead_is_believed() -> None:
    platform = Platform()
    async with reporting(platform) as reporter:
        platform.gaps.append(4)
        await fill(reporter, 5)
        await reporter.drain()
    assert [event.client_seq for event in platform.seen] == [4, 5]


async def test_a_platform_that_wants_what_is_gone_is_a_defect() -> None:
    platform = Platform(last=700)
    redactor = Redactor()
    reporter = Reporter(platform, redactor, Log(redactor), last_seq=700, flush_interval_s=0.001)  # type: ignore[arg-type]
    platform.gaps.append(2)
    await reporter.milestone("one")
    with pytest.raises(LookupError):
        async with asyncio.timeout(20):
            await reporter.run()


async def test_metadata_is_redacted_and_previews_follow_trace() -> None:
    platform = Platform()
    async with reporting(platform, trace=True) as reporter:
        await reporter.emit(
            "agent_turn", text_preview=reporter.preview("z" * 5000), detail="ghp_" + "a1B2" * 9
        )
        await reporter.drain()
    metadata = platform.seen[0].metadata
    assert len(metadata["text_preview"]) == 4096
    assert metadata["detail"] == "[redacted GitHub token]"
