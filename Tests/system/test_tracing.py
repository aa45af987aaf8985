"""One trace per task, from the submit through the agent to each notification, read with OTLP's messages."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from rehearsal import client
from Tests.system.jobs import script
from Tests.system.judge import clean
from Tests.system.spans import Receiver, Told, receiving
from Tests.system.waiting import until
from Tests.system.world import Stack

FIX, NOTHING = script("pricing"), script("no-change")
CALLER = "7c1f0a9be2d34f5a"
TRACE = "3f2e1d0c9b8a79685746352413021100"
UNWANTED = "00112233445566778899aabbccddeeff"
ENDS_WITHIN = 240.0
CHANNELS = ("slack", "github", "email")

# Whose spans a task has when all goes well: `chat` and `execute_tool` end in a model's and a tool's name.
EXPECTED = {
    "gateway": {"POST /v1/tasks", "submit"},
    "bgagent": {"task", "admission", "session", "claim"},
    "orchestrator": {"prepare", "check", "hydrate", "finalize", "verify branch", "open pull request"},
    "compute-adapter": {"start sandbox"},
    "agent": {"agent", "clone", "work", "turn", "execute_tool", "verify", "push"},
    "agent-gateway": {"chat", "git fetch", "git push"},
    "fanout": {"process pr_created", "process task_completed"},
    "dispatch-slack": {"send slack"},
    "dispatch-github": {"send github"},
    "dispatch-email": {"send email"},
}


@dataclass
class Told3:
    """Three finished tasks of one stack, by who began their trace."""

    ours: str
    callers: str
    unwanted: str


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """The reader."""
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def traced(receiver: Receiver) -> Iterator[Stack]:
    """A stack that tells its spans."""
    made = Stack("traced", BGAGENT_OTLP_ENDPOINT=receiver.url, BGAGENT_USER_SLOTS="4")
    try:
        made.up()
        yield made
    except BaseException:
        made.failed = True
        raise
    finally:
        made.close()


def submit(stack: Stack, repo: str, traceparent: str = "", text: str = FIX) -> str:
    """Submits over REST, as a program does that has a trace of its own."""
    body = json.dumps({"repo": repo, "task_description": text}).encode()
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {stack.token('ada')}",
        "Idempotency-Key": uuid4().hex,
    }
    if traceparent:
        headers["traceparent"] = traceparent
    request = urllib.request.Request(f"{stack.exports['BGAGENT_API_URL']}/v1/tasks", body, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def accepted() -> str | None:
        try:
            with opener.open(request, timeout=30) as answer:
                return str(json.loads(answer.read())["data"]["task_id"])
        except urllib.error.HTTPError as error:
            # A busy gateway says so, and the key makes a second try safe.
            if error.code == 503:
                return None
            raise

    return until("the task is accepted", accepted, 60)


def completed(stack: Stack, *tasks: str) -> None:
    """Waits for the ends, and until everybody has been told."""
    for task in tasks:

        def state(task: str = task) -> str | None:
            row = stack.rows("SELECT status FROM tasks WHERE task_id = %s", task)[0]
            return str(row["status"]) if row["status"] in ("COMPLETED", "FAILED", "TIMED_OUT") else None

        assert until(f"the end of {task}", state, ENDS_WITHIN) == "COMPLETED"
        clean(stack, task)


@pytest.fixture(scope="module")
def told(traced: Stack) -> Told3:
    """The tasks, run side by side."""
    for name in ("ours", "callers", "unwanted"):
        traced.onboard(f"acme/{name}")
    made = Told3(
        submit(traced, "acme/ours"),
        submit(traced, "acme/callers", f"00-{TRACE}-{CALLER}-01"),
        submit(traced, "acme/unwanted", f"00-{UNWANTED}-{CALLER}-00"),
    )
    completed(traced, made.ours, made.callers, made.unwanted)
    return made


def trace_id(stack: Stack, task: str) -> str:
    """Of a task's trace."""
    row = stack.rows("SELECT traceparent FROM tasks WHERE task_id = %s", task)[0]
    return str(row["traceparent"]).split("-")[1]


def short(name: str) -> str:
    """A span's name without what changes from task to task."""
    return name.split(" ")[0] if name.startswith(("chat ", "execute_tool ")) else name


def sent(spans: list[Told], channel: str) -> list[str]:
    """The types of the events that `channel` was told of, by the attributes of what it sent."""
    return [str(one.attributes["bgagent.event.type"]) for one in spans if one.name == f"send {channel}"]


def missing(spans: list[Told]) -> dict[str, set[str]]:
    """Expected spans that are not there; a channel has sent more than one, and the last comes last."""
    seen: dict[str, set[str]] = {}
    for one in spans:
        seen.setdefault(one.service, set()).add(short(one.name))
    gone = {
        who: names - seen.get(who, set()) for who, names in EXPECTED.items() if names - seen.get(who, set())
    }
    for channel in CHANNELS:
        if "task_completed" not in sent(spans, channel):
            gone.setdefault(f"dispatch-{channel}", set()).add("send task_completed")
    return gone


def whole(stack: Stack, receiver: Receiver, task: str) -> list[Told]:
    """The spans of a task's trace, once none of the expected ones is missing."""
    trace = trace_id(stack, task)
    # Who waits finds out what is missing from the last look.
    seen: dict[str, set[str]] = {}

    def look() -> bool:
        nonlocal seen
        seen = missing(receiver.trace(trace))
        return not seen

    try:
        until(f"the whole trace of {task}", look, 30)
    except AssertionError as error:
        raise AssertionError(f"{error}; missing {seen}") from error
    return receiver.trace(trace)


def test_one_trace_from_the_submit_through_the_agent_to_each_notification(
    traced: Stack, receiver: Receiver, told: Told3
) -> None:
    assert trace_id(traced, told.ours) != trace_id(traced, told.callers) == TRACE
    for task, caller in ((told.ours, ""), (told.callers, CALLER)):
        spans = whole(traced, receiver, task)
        by_id = {one.id: one for one in spans}
        assert len(by_id) == len(spans), "two spans have one id"
        roots = [one for one in spans if one.parent not in by_id]
        assert [(one.service, one.name, one.parent) for one in roots] == [
            ("gateway", "POST /v1/tasks", caller)
        ]
        for one in spans:
            assert 0 < one.span.start_time_unix_nano <= one.span.end_time_unix_nano, one.name
            if one.parent in by_id:
                parent = by_id[one.parent]
                assert one.span.start_time_unix_nano >= parent.span.start_time_unix_nano, (
                    one.name,
                    parent.name,
                )
            assert not one.failed or one.name.startswith("execute_tool") or one.name == "verify", one
            named = one.attributes.get("bgagent.task.id", task)
            assert named == task, (one.name, named)

        def parents(name: str, spans: list[Told] = spans, by_id: dict[str, Told] = by_id) -> set[str]:
            return {by_id[one.parent].name for one in spans if short(one.name) == name}

        assert parents("task") == {"POST /v1/tasks"}
        assert parents("prepare") == parents("session") == parents("finalize") == {"task"}
        assert parents("start sandbox") == parents("chat") == parents("git push") == {"session"}
        assert parents("agent") == {"session"}
        assert parents("clone") == parents("push") == {"agent"}
        assert parents("execute_tool") == {"turn"}
        # Each channel was told of the end, as a part of the decision about that event.
        for channel in CHANNELS:
            assert "task_completed" in sent(spans, channel)
            for one in spans:
                if one.name == f"send {channel}":
                    decision = by_id[one.parent]
                    assert decision.service == "fanout"
                    assert decision.attributes["bgagent.event.type"] == one.attributes["bgagent.event.type"]
        chats = [one for one in spans if short(one.name) == "chat"]
        assert all(one.attributes["gen_ai.usage.output_tokens"] > 0 for one in chats)
        assert len(chats) >= len([one for one in spans if one.name == "turn"]) > 1
    assert not receiver.problems


def test_a_trace_that_its_caller_does_not_want_is_not_told(
    traced: Stack, receiver: Receiver, told: Told3
) -> None:
    assert trace_id(traced, told.unwanted) == UNWANTED
    # Everything of the tasks beside it has come.
    whole(traced, receiver, told.ours)
    assert receiver.trace(UNWANTED) == []


def test_no_secret_and_no_text_of_a_task_is_in_any_span(
    traced: Stack, receiver: Receiver, told: Told3
) -> None:
    whole(traced, receiver, told.ours)
    everything = b"".join(receiver.raw).decode()
    for secret in (
        traced.exports["BGAGENT_REHEARSAL_TOKEN"],
        traced.token(""),
        traced.token("ada"),
        "bgh_",
        "bgm_",
    ):
        assert secret not in everything
    assert FIX.splitlines()[0] not in everything


@pytest.mark.parametrize("mode", ["hang", "fail", "away"])
def test_a_receiver_that_fails_changes_nothing_for_a_task(
    traced: Stack, receiver: Receiver, told: Told3, mode: str
) -> None:
    before, receiver.mode = receiver.refused, mode
    try:
        traced.onboard(f"acme/{mode}")
        completed(traced, submit(traced, f"acme/{mode}", text=NOTHING))
        assert receiver.refused > before
        traced.all_ready()
        page = client.call(traced.exports["BGAGENT_HEALTH_FANOUT"], "/metrics")
        assert re.search(r'^bgagent_spans_total\{result="sent"\} [1-9]', page, re.M), page
    finally:
        receiver.over.set()
        receiver.mode = "take"
        receiver.over.clear()
