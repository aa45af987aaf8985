"""A gateway with a database of its own, and scenes in it: somebody, their repository and a task of theirs."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.processes import Process, free_port

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "four green herons"
# Where a token that came from a login does what another does not.
FOR_LOGINS = ("/v1/logout", "/v1/me/password")
STATES = (
    "SUBMITTED",
    "QUEUED",
    "RUNNING",
    "AWAITING_APPROVAL",
    "PARKED",
    "FINALIZING",
    "COMPLETED",
    "FAILED",
    "TIMED_OUT",
)


@dataclass(frozen=True)
class Scene:
    """One call of scene.sql: names of what it made, and the two tokens of its person."""

    names: dict[str, str]
    token: str
    login: str


def binary(name: str) -> str:
    """A program of this build."""
    folder = os.environ.get("BGAGENT_BIN_DIR") or ROOT / ".build" / os.environ.get("BGAGENT_BUILD", "debug")
    return str(Path(folder) / name)


def hashed(token: str) -> str:
    """As tokens are stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def password_hash(password: str) -> str:
    """As passwords are stored, at the least cost that the gateway reads."""
    salt = b"a salt of a test"
    key = hashlib.scrypt(password.encode(), salt=salt, n=2, r=1, p=1, dklen=32)
    parts = (base64.b64encode(part).decode().rstrip("=") for part in (salt, key))
    return f"$scrypt$ln=1,r=1,p=1${'$'.join(parts)}"


class World:
    """Use as a context: the end of the block leaves no process, no database and no file."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bgagent-fuzz-")))
        self._server = os.environ["BGAGENT_TEST_POSTGRES_URL"]
        self._broker_api = os.environ["BGAGENT_TEST_AMQP_API_URL"]
        self._database = f"fuzz_{os.getpid()}"
        self._serial = itertools.count(1)
        self._password = password_hash(PASSWORD)
        port, self._policy_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._ready = (port, "/v1/openapi.json")
        self.log = self._folder / "gateway.log"
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
            "BGAGENT_POSTGRES_URL": f"{self._server.rsplit('/', 1)[0]}/{self._database}",
            "BGAGENT_AMQP_URL": f"{os.environ['BGAGENT_TEST_AMQP_URL'].rstrip('/')}/{self._database}",
            "BGAGENT_AMQP_API_URL": self._broker_api,
            "BGAGENT_DATA": str(self._folder / "data"),
            "BGAGENT_GATEWAY_PORT": str(port),
            "BGAGENT_POLICY_PORT": str(self._policy_port),
            "BGAGENT_POLICY_URL": f"http://127.0.0.1:{self._policy_port}",
            "BGAGENT_RATE_PER_USER": "0",
            "BGAGENT_RATE_PER_ADDRESS": "0",
            "BGAGENT_LOGIN_RATE": "0",
            "BGAGENT_MAX_QUEUED_PER_USER": "0",
            "BGAGENT_LOG_LEVEL": "warning",
        }

    def __enter__(self) -> World:
        try:
            self._make()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _make(self) -> None:
        (self._folder / "data").mkdir(mode=0o700)
        admin = self._stack.enter_context(psycopg.connect(self._server, autocommit=True))
        admin.execute(f"CREATE DATABASE {self._database}")
        self._stack.callback(admin.execute, f"DROP DATABASE IF EXISTS {self._database} WITH (FORCE)")
        self._broker("PUT", "vhosts")
        self._stack.callback(self._broker, "DELETE", "vhosts")
        self._broker("PUT", "permissions", "/guest")
        done = subprocess.run(
            [binary("bgagent-migrate")],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        self.db: psycopg.Connection[Any] = self._stack.enter_context(
            psycopg.connect(self._environment["BGAGENT_POSTGRES_URL"], autocommit=True)
        )
        self.db.execute("SET synchronous_commit = off")
        self.db.execute((Path(__file__).parent / "scene.sql").read_text().encode())
        self.db.execute("INSERT INTO compute_nodes (node, backend, capacity) VALUES ('node', 'process', 4)")
        health = free_port()
        source = {"PYTHONPATH": str(ROOT / "services" / "policy" / "src"), "BGAGENT_HEALTH_PORT": str(health)}
        command = [sys.executable, "-m", "bgagent_policy.service"]
        log = self._folder / "policy.log"
        policy = Process("policy", command, {**self._environment, **source}, log, (health, "/ready"))
        self._stack.enter_context(policy).wait_ready()
        gateway = Process("gateway", [binary("gateway")], self._environment, self.log, self._ready)
        self._stack.enter_context(gateway).wait_ready()

    def _broker(self, method: str, what: str, whose: str = "") -> None:
        """Makes and removes the virtual host, with everything in it."""
        url = f"{self._broker_api}/{what}/{self._database}{whose}"
        body = b'{"configure":".*","write":".*","read":".*"}' if whose else b"{}"
        request = urllib.request.Request(url, data=body, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        urllib.request.urlopen(request, timeout=20).close()

    def scene(self, role: str, state: str) -> Scene:
        """Makes one; the password of every third is good for one login."""
        number = next(self._serial)
        token, login = (f"bga_fuzz-{kind}-{number}" for kind in ("api", "login"))
        row = self.db.execute(
            "SELECT fuzz_scene(%s, %s, %s, %s, %s, %s)",
            (role, state, hashed(token), hashed(login), self._password, number % 3 == 0),
        ).fetchone()
        assert row is not None
        return Scene(row[0], token, login)

    def description(self) -> dict[str, Any]:
        """What the gateway says of itself."""
        with urllib.request.urlopen(f"{self.url}/v1/openapi.json", timeout=10) as answer:
            document: dict[str, Any] = json.load(answer)
        return document
