"""Worlds for tests: a bare repository with a failing test, a payload, a gateway and a harness over them."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bgagent_agent.gateway import GatewayControl
from bgagent_agent.harness import Harness, Seams
from bgagent_agent.logs import Log
from bgagent_agent.people import PolicyFactory
from bgagent_agent.redaction import Redactor
from bgagent_agent.stop import StopSignal
from bgagent_agent.tools import Remote
from bgagent_agent.workspace import Workspace
from fake_gateway import GIT, HARNESS, FakeGateway
from messages_api import assistant_turns
from scripted_runner import Query, ScriptedRunner

TASK = "01JTASK"
BRANCH = f"bgagent/{TASK}/fix-the-failing-test"
WIP = f"refs/bgagent/{TASK}/wip"
RED = "def total(a, b):\n    return a - b\n"
GREEN = "def total(a, b):\n    return a + b\n"
FILES = {
    "pricing.py": RED,
    "test_pricing.py": (
        "import unittest\nfrom pricing import total\n\n\n"
        "class Total(unittest.TestCase):\n    def test_sum(self):\n        self.assertEqual(total(1, 2), 3)\n"
    ),
    ".gitignore": "ignored/\n",
}


def git(directory: Path, *args: str) -> str:
    """Runs git with a world of its own; returns the output without the last newline."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Owner",
        "GIT_AUTHOR_EMAIL": "owner@localhost",
        "GIT_COMMITTER_NAME": "Owner",
        "GIT_COMMITTER_EMAIL": "owner@localhost",
    }
    done = subprocess.run(["git", *args], cwd=directory, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def make_remote(root: Path, files: dict[str, str], repo: str = "acme/pricing") -> Path:
    """A bare repository with one commit on main."""
    bare = root / f"{repo}.git"
    bare.mkdir(parents=True)
    git(bare, "init", "-q", "--bare", "-b", "main")
    git(bare, "config", "http.receivepack", "true")
    work = root / "seed"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    for name, content in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content.encode())
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "Initial state")
    git(work, "push", "-q", str(bare), "main")
    return bare


def make_payload(**changes: Any) -> dict[str, Any]:
    """A session payload of version 1; `limits`, `commands` and `task` are merged, the rest is replaced."""
    payload: dict[str, Any] = {
        "payload_version": 1,
        "task": {
            "task_id": TASK,
            "attempt": 1,
            "repo": "acme/pricing",
            "branch": BRANCH,
            "base_branch": "main",
            "issue_number": None,
            "description": "fix the failing test",
        },
        "prompt": {"user": "Fix the failing test.", "system": "Be brief.", "prompt_version": "pv1"},
        "limits": {"max_turns": 20, "max_budget_usd": None, "remaining_s": 600, "verify_attempts": 3},
        "model": {"name": "claude-sonnet-4-5"},
        "commands": {"setup": None, "build": None, "test": None, "lint": None},
        "commit": {"name": "bgagent", "email": "bgagent@localhost"},
        "checkpoint": None,
        "turns_used": 0,
        "trace": False,
        "cancel_requested": False,
        "last_client_seq": 0,
        "policies": [],
        "pre_approvals": [],
        "tools": ["Bash", "Read", "Write", "Edit", "Grep", "Glob"],
    }
    for key, value in changes.items():
        if key in ("task", "limits", "commands"):
            payload[key] = {**payload[key], **value}
        else:
            payload[key] = value
    return payload


@dataclass
class World:
    """One task with everything around it."""

    root: Path
    bare: Path
    gateway: FakeGateway
    stop: StopSignal = field(default_factory=StopSignal)
    runner: ScriptedRunner | None = None
    log: io.StringIO = field(default_factory=io.StringIO)
    policy: PolicyFactory | None = None

    @property
    def result(self) -> dict[str, Any]:
        """The one result that was reported."""
        assert len(self.gateway.results) == 1, self.log.getvalue()
        return self.gateway.results[0]

    def remote(self, *args: str) -> str:
        return git(self.bare, *args)

    def pushed(self, name: str = "pricing.py", ref: str = BRANCH) -> str:
        """A file as it stands on the pushed branch."""
        return git(self.bare, "show", f"{ref}:{name}") + "\n"

    def has_ref(self, ref: str) -> bool:
        return bool(git(self.bare, "for-each-ref", ref))

    async def run(self, *queries: Query, heartbeat_s: float = 15.0) -> int:
        """Runs the harness with a scripted runner, in this process."""
        private, workspace = self.root / "home" / ".bgagent", self.root / "workspace"
        workspace.mkdir(exist_ok=True)
        redactor = Redactor([HARNESS, GIT])
        log = Log(redactor, self.log)
        control = GatewayControl(self.gateway.url, HARNESS, self.gateway.attempt, log, patience_s=20)
        remote = Remote(f"{self.gateway.url}/git/acme/pricing.git", "bgagent", GIT)
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.root / "home"), "LANG": "C.UTF-8"}
        tools = Workspace(workspace, private, remote, environment, uuid.uuid4().hex)
        self.runner = ScriptedRunner(*queries)
        runner = self.runner
        seams = Seams(control, tools, lambda gate: runner.behind(gate), redactor, log, self.policy)
        try:
            session = await control.session()
            async with asyncio.timeout(60):
                return await Harness(seams, self.stop, heartbeat_s).run(session)
        finally:
            await control.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world whose repository has one red test."""
    bare = make_remote(tmp_path / "remote", FILES)
    gateway = FakeGateway(tmp_path / "remote", make_payload())
    gateway.start()
    yield World(tmp_path, bare, gateway)
    gateway.stop()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[FakeGateway]:
    """A gateway whose model calls one tool and then ends."""
    touch = {"name": "Bash", "input": {"command": "touch made.txt"}}
    gateway = FakeGateway(tmp_path, make_payload())
    gateway.model = lambda body: {"tools": [touch]} if assistant_turns(body) == 0 else {"text": "Over."}
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[FakeGateway]:
    """A gateway that takes traces."""
    gateway = FakeGateway(tmp_path, make_payload(trace=True))
    gateway.start()
    yield gateway
    gateway.stop()
