"""The stack script, with stand-ins for the services: what is promised of the supervisor and of `down`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Instance, eventually

SERVICES = ("gateway", "relay", "relay.2")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Instance]:
    """A stack of stand-ins that needs no servers."""
    fake = Path(__file__).with_name("fake_service.py")
    for name in ("bgagent-migrate", "gateway", "relay"):
        (tmp_path / name).symlink_to(fake)
    instance = Instance(
        "stack",
        BGAGENT_BIN_DIR=str(tmp_path),
        BGAGENT_SERVICES=" ".join(SERVICES),
        BGAGENT_POSTGRES_URL="postgres://nowhere/none",
        BGAGENT_AMQP_URL="amqp://nowhere/",
    )
    try:
        instance.run("stack", "up")
        yield instance
    finally:
        instance.close()


def pid(stack: Instance, service: str) -> int:
    """The pid of a service, 0 while it has none."""
    return int(stack.run("stack", "pid", service, check=False) or 0)


def test_a_killed_service_is_back_within_a_second(stack: Instance) -> None:
    for service in SERVICES:
        before = pid(stack, service)
        stack.run("stack", "kill", service)
        killed = time.monotonic()
        path = stack.directory() / "pids" / service

        def replaced(path: Path = path, old: str = str(before)) -> bool:
            return path.read_text().strip() not in ("", old)

        eventually(replaced)
        assert time.monotonic() - killed < 1


def test_a_service_that_was_just_killed_is_killed_again(stack: Instance) -> None:
    before: set[str] = set()
    for _ in range(6):
        # Each hits a process of its own, though the one before is only being taken away.
        path = stack.directory() / "pids" / SERVICES[0]
        stack.run("stack", "kill", SERVICES[0])
        before.add(path.read_text().strip())
    eventually(lambda: pid(stack, SERVICES[0]) != 0)
    assert len(before) >= 3


def test_stopping_the_stack_leaves_nothing_running(stack: Instance) -> None:
    data = stack.directory() / "data"
    agent = subprocess.Popen(["sleep", "600"], cwd=data, start_new_session=True)
    stack.run("stack", "freeze", "relay")
    stack.run("stack", "down")
    assert agent.wait(timeout=5) == -signal.SIGKILL
    eventually(lambda: stack.processes() == [])


def test_a_stack_keeps_its_ports_over_a_restart(stack: Instance) -> None:
    before = stack.exports("stack")
    stack.run("stack", "down")
    stack.run("stack", "up")
    assert stack.exports("stack") == before
    assert before["BGAGENT_API_URL"].startswith("http://127.0.0.1:")


def test_starting_twice_changes_nothing(stack: Instance) -> None:
    before = {service: pid(stack, service) for service in SERVICES}
    stack.run("stack", "up")
    assert {service: pid(stack, service) for service in SERVICES} == before
    assert all(before.values())
    os.kill(before["gateway"], 0)
