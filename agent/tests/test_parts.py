"""Small parts: settings, payload, commit message, commands, stop and deadline."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from bgagent_agent import message
from bgagent_agent.config import read_settings
from bgagent_agent.errors import ConfigurationError, PayloadUnsupported, Refused
from bgagent_agent.own_tools import NAMES
from bgagent_agent.payload import parse_session
from bgagent_agent.processes import MARK_VARIABLE, kill_marked, marked, run
from bgagent_agent.prompt import system_prompt
from bgagent_agent.stop import Deadline, Stopped, StopSignal
from conftest import make_payload


def test_every_missing_variable_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings({"BGAGENT_ATTEMPT": "x", "BGAGENT_HEARTBEAT_S": "-1"})
    text = str(caught.value)
    for name in (
        "WORKSPACE",
        "AGENT_GATEWAY_URL",
        "SESSION",
        "TASK_ID",
        "HARNESS_TOKEN",
        "GIT_TOKEN",
        "MODEL_TOKEN",
    ):
        assert f"BGAGENT_{name} is not set" in text
    assert "BGAGENT_ATTEMPT must be a positive number" in text
    assert "BGAGENT_HEARTBEAT_S must be a positive number" in text


def test_tokens_are_not_in_what_tools_inherit_nor_in_the_representation(tmp_path: Path) -> None:
    environment = {
        "BGAGENT_WORKSPACE": str(tmp_path),
        "HOME": str(tmp_path),
        "PATH": "/bin",
        "BGAGENT_AGENT_GATEWAY_URL": "http://gateway/",
        "BGAGENT_SESSION": "s",
        "BGAGENT_TASK_ID": "t",
        "BGAGENT_ATTEMPT": "2",
        "BGAGENT_HARNESS_TOKEN": "one-secret",
        "BGAGENT_GIT_TOKEN": "two-secret",
        "BGAGENT_MODEL_TOKEN": "three-secret",
        "CLAUDE_CODE_SIMPLE": "1",
        "HTTP_PROXY": "http://elsewhere",
    }
    settings = read_settings(environment)
    assert settings.environment == {"PATH": "/bin", "HOME": str(tmp_path)}
    assert settings.gateway_url == "http://gateway"
    assert settings.attempt == 2
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_payload_of_another_version_is_refused(version: Any) -> None:
    with pytest.raises(PayloadUnsupported):
        parse_session(make_payload(payload_version=version))


@pytest.mark.parametrize("field", ["task", "prompt", "limits", "model"])
def test_a_malformed_payload_names_what_is_wrong(field: str) -> None:
    payload = make_payload()
    del payload[field]
    with pytest.raises(Refused, match=field):
        parse_session(payload)


def test_the_built_in_system_prompt_is_used_only_when_the_platform_sent_none() -> None:
    assert system_prompt(parse_session(make_payload())).startswith("Be brief.\n\n---\nPeople can speak")
    payload = make_payload(prompt={"user": "x", "system": "", "prompt_version": ""})
    text = system_prompt(parse_session(payload))
    assert "acme/pricing" in text
    assert "bgagent/01JTASK" in text
    assert all(name in text for name in NAMES)


@pytest.mark.parametrize(
    ("description", "summary", "subject"),
    [
        ("fix the failing test", "I did it.", "Fix the failing test"),
        ("", "## Summary\n\nDone", "Summary"),
        ("", "- **Round** half up. More follows.", "Round half up"),
        ("\n\n", "", "Change what the task asks for"),
        ("Use e.g. rounding in `total`", "", "Use e.g. rounding in total"),
        ("Repair the parser. It fails on empty input", "", "Repair the parser"),
    ],
)
def test_the_subject_is_a_line_of_the_task_or_of_the_summary(
    description: str, summary: str, subject: str
) -> None:
    assert message.subject(description, summary) == subject


def test_a_long_subject_ends_at_a_word() -> None:
    subject = message.subject("make the very long import of all the historic price lists " * 3, "")
    assert len(subject) <= 72
    assert subject.endswith(" …")


def test_the_body_is_wrapped_but_code_keeps_its_shape() -> None:
    body = message.body("word " * 40 + "\n\n    code " + "x" * 90)
    lines = body.splitlines()
    assert all(len(line) <= 76 for line in lines[:3])
    assert lines[-1] == "    code " + "x" * 90


async def test_a_command_that_leaves_a_daemon_behind_returns_at_once(tmp_path: Path) -> None:
    finished = await run(
        ["/bin/sh", "-c", "sleep 600 & echo done"], cwd=tmp_path, env=dict(os.environ), timeout=20
    )
    assert (finished.code, finished.stdout, finished.timed_out) == (0, "done\n", False)


async def test_a_command_past_its_deadline_dies_with_its_children(tmp_path: Path) -> None:
    env = {**os.environ, MARK_VARIABLE: "deadline-test"}
    finished = await run(["/bin/sh", "-c", "sleep 600 | cat"], cwd=tmp_path, env=env, timeout=0.05)
    assert finished.timed_out
    assert not finished.ok
    assert marked("deadline-test") == []


async def test_endless_output_keeps_its_end(tmp_path: Path) -> None:
    finished = await run(
        ["/bin/sh", "-c", "seq 1 200000"], cwd=tmp_path, env=dict(os.environ), timeout=20, tail_bytes=1000
    )
    assert len(finished.stdout) == 1000
    assert finished.stdout.endswith("199999\n200000\n")


async def test_a_missing_program_is_an_answer(tmp_path: Path) -> None:
    finished = await run(["no-such-program"], cwd=tmp_path, env={}, timeout=5)
    assert finished.code == 127


async def test_processes_in_sessions_of_their_own_are_found_by_their_mark(tmp_path: Path) -> None:
    env = {**os.environ, MARK_VARIABLE: "mark-test"}
    command = "setsid -f sh -c 'touch up; sleep 600; true'; until [ -e up ]; do sleep 0.01; done"
    await run(["/bin/sh", "-c", command], cwd=tmp_path, env=env, timeout=20)
    assert await kill_marked("mark-test") >= 1
    assert marked("mark-test") == []


async def test_a_stop_cancels_the_step_and_waits_for_its_end() -> None:
    stop = StopSignal()
    ended = []

    async def step() -> None:
        try:
            stop.request("cancelled")
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(Stopped) as caught:
        await stop.guard(step())
    assert caught.value.reason == "cancelled"
    assert ended == [True]
    stop.request("time_up")
    with pytest.raises(Stopped) as again:
        await stop.guard(step())
    assert again.value.reason == "cancelled"


async def test_a_step_that_ends_first_keeps_its_value_and_its_error() -> None:
    async def value() -> int:
        return 3

    async def error() -> int:
        raise LookupError("own")

    stop = StopSignal()
    assert await stop.guard(value()) == 3
    with pytest.raises(LookupError):
        await stop.guard(error())


async def test_a_deadline_follows_the_platforms_clock() -> None:
    deadline = Deadline(1000)
    waiting = asyncio.create_task(deadline.wait())
    await asyncio.sleep(0)
    deadline.correct(0.01)
    async with asyncio.timeout(10):
        await waiting
    assert deadline.remaining_s == 0
