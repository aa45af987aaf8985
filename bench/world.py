"""Where a measurement happens: a fresh database and a fresh virtual host on the benchmark's own servers, migrated,
with users whose tokens are known. Every part of the benchmark has its own, so that none works off what another left.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.processes import Failed, Process, cpu_of_children, free_port, parent_of

ROOT = Path(__file__).resolve().parent.parent
USERS = 1000
REPO = "bench/repo"
SERVICES = (
    "gateway",
    "relay",
    "orchestrator",
    "fanout",
    "compute-adapter",
    "agent-gateway",
    "reconciler",
    "dispatch-slack",
    "dispatch-github",
    "dispatch-email",
)


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    quick: bool = False
    peer_workers: int = 1
    debug_images: bool = False

    @property
    def rounds(self) -> int:
        """Runs that a median is taken of."""
        return 1 if self.quick else 3

    @property
    def seconds(self) -> float:
        """Length of one run."""
        return 3.0 if self.quick else 4.0


def token(user: int) -> str:
    """The API token of the user with this number, from 1."""
    return f"bga_bench{user}"


def hashed(text: str) -> str:
    """As tokens are stored."""
    return hashlib.sha256(text.encode()).hexdigest()


def until(what: str, within: float, holds: Callable[[], bool], pause: float = 0.02) -> None:
    """Waits for a condition; fails when it does not come."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"{what} did not happen within {within:g} s")
        time.sleep(pause)


class World:
    """One part's database, virtual host, files and processes."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        self._stack = ExitStack()
        self.run = Path(os.environ["BGAGENT_RUN"])
        self.files = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-", dir=self.run)))
        self._bin = Path(os.environ["BGAGENT_BIN_DIR"])
        admin = os.environ["BGAGENT_TEST_POSTGRES_URL"]
        self._admin = admin
        self.database = f"bench_{name}"
        self.postgres_url = f"{admin.rsplit('/', 1)[0]}/{self.database}"
        self.amqp_url = f"{os.environ['BGAGENT_TEST_AMQP_URL'].rstrip('/')}/{self.database}"
        self.ports = {service: free_port() for service in SERVICES}
        self.gateway_port, self.agent_gateway_port = free_port(), free_port()

    def __enter__(self) -> World:
        try:
            with psycopg.connect(self._admin, autocommit=True) as admin:
                admin.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")
                admin.execute(f"CREATE DATABASE {self.database}")
            self._broker("DELETE", f"/vhosts/{self.database}", missing_is_fine=True)
            self._broker("PUT", f"/vhosts/{self.database}")
            self._broker("PUT", f"/permissions/{self.database}/guest", b'{"configure":".*","write":".*","read":".*"}')
            self._migrate()
            self.db: psycopg.Connection[Any] = self._stack.enter_context(
                psycopg.connect(self.postgres_url, autocommit=True)
            )
            self._seed()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        with psycopg.connect(self._admin, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")
        self._broker("DELETE", f"/vhosts/{self.database}", missing_is_fine=True)

    def _broker(self, method: str, path: str, body: bytes = b"{}", missing_is_fine: bool = False) -> None:
        request = urllib.request.Request(os.environ["BGAGENT_TEST_AMQP_API_URL"] + path, data=body, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        try:
            urllib.request.urlopen(request, timeout=20).close()
        except urllib.error.HTTPError as error:
            if not (missing_is_fine and error.code == 404):
                raise Failed(f"{method} {path}: the broker says {error.code}") from error

    def _migrate(self) -> None:
        done = subprocess.run(
            [self._bin / "bgagent-migrate"],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"the migration failed: {done.stderr[-500:]}")

    def _seed(self) -> None:
        """Users with a token each, and one repository."""
        with self.db.cursor() as cursor:
            cursor.execute("INSERT INTO users (name) SELECT 'bench' || n FROM generate_series(1, %s) AS n", (USERS,))
            cursor.execute("INSERT INTO repos (repo, default_branch) VALUES (%s, 'main')", (REPO,))
            cursor.execute(
                "INSERT INTO api_tokens (user_id, name, token_hash) SELECT user_id, 'bench', "
                "encode(sha256(convert_to('bga_' || name, 'UTF8')), 'hex') FROM users WHERE name LIKE 'bench%'"
            )
            cursor.execute("ANALYZE")

    def environment(self, service: str = "") -> dict[str, str]:
        """What a service is told: no limits of rate, and an outside world in which nobody answers."""
        nowhere = "http://127.0.0.1:9"
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
            "BGAGENT_POSTGRES_URL": self.postgres_url,
            "BGAGENT_AMQP_URL": self.amqp_url,
            "BGAGENT_AMQP_API_URL": os.environ["BGAGENT_TEST_AMQP_API_URL"],
            "BGAGENT_HEALTH_HOST": "127.0.0.1",
            "BGAGENT_DATA": str(self.files / "data"),
            "BGAGENT_SECRETS_DIR": str(self.files / "secrets"),
            "BGAGENT_GATEWAY_HOST": "127.0.0.1",
            "BGAGENT_GATEWAY_PORT": str(self.gateway_port),
            "BGAGENT_RATE_PER_USER": "0",
            "BGAGENT_RATE_PER_ADDRESS": "0",
            "BGAGENT_MAX_QUEUED_PER_USER": "0",
            "BGAGENT_AGENT_GATEWAY_HOST": "127.0.0.1",
            "BGAGENT_AGENT_GATEWAY_PORT": str(self.agent_gateway_port),
            "BGAGENT_AGENT_GATEWAY_URL": f"http://127.0.0.1:{self.agent_gateway_port}",
            "BGAGENT_NODE": "bench",
            "BGAGENT_COMPUTE_BACKEND": "process",
            "BGAGENT_AGENT_COMMAND": "/bin/false",
            "BGAGENT_GITHUB_API_URL": nowhere,
            "BGAGENT_GITHUB_URL": f"{nowhere}/git",
            "BGAGENT_GITHUB_TOKEN": "bench",
            "BGAGENT_SLACK_API_URL": nowhere,
            "BGAGENT_SLACK_TOKEN": "bench",
            "BGAGENT_SMTP_URL": "smtp://127.0.0.1:9",
            "BGAGENT_SMTP_FROM": "bgagent@localhost",
            "BGAGENT_MODEL_URL": nowhere,
            "BGAGENT_MODEL_API_KEY": "bench",
            "BGAGENT_LOG_LEVEL": "warning",
        }
        if service:
            environment["BGAGENT_HEALTH_PORT"] = str(self.ports[service])
        return environment

    def service(self, name: str, **settings: str) -> Process:
        """Starts a service; does not wait until it is ready."""
        for folder in ("data", "secrets"):
            (self.files / folder).mkdir(mode=0o700, exist_ok=True)
        env = {**self.environment(name), **settings}
        port = int(env["BGAGENT_HEALTH_PORT"])
        return Process(name, [str(self._bin / name)], env, self.files / f"{name}.log", (port, "/ready"))

    def ready(self, name: str, **settings: str) -> Process:
        """Starts a service and waits until it can work."""
        process = self.service(name, **settings)
        process.wait_ready()
        return process

    def tasks(self, count: int, notifications: str = "'{}'::jsonb") -> None:
        """Makes tasks, spread over the users, and table `bench_tasks` which numbers them from 1; replaces those that
        were there. `notifications` is SQL in which `n` is the task's number.
        """
        self.clear()
        self.db.execute(
            f"""
            DROP TABLE IF EXISTS bench_tasks;
            CREATE TABLE bench_tasks AS
                SELECT n, new_ulid(now_ms()) AS task_id, (n - 1) % {USERS} + 1 AS user_number
                FROM generate_series(1, {count}) AS n;
            CREATE UNIQUE INDEX ON bench_tasks (n);
            INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model, max_turns,
                max_duration_s, traceparent, notifications)
            SELECT task_id, user_id, '{REPO}', 'mend the failing test', 'bgagent/' || task_id, 'model', 100, 28800,
                '00-' || md5(task_id) || '-0000000000000001-01', {notifications}
            FROM bench_tasks JOIN users ON name = 'bench' || user_number;
            INSERT INTO task_heads (task_id, user_id, repo, traceparent)
            SELECT task_id, user_id, repo, traceparent FROM tasks;
            ANALYZE tasks, task_heads, bench_tasks
            """
        )

    def task_ids(self) -> list[tuple[str, int]]:
        """The tasks in the order of their numbers, each with the number of its user."""
        return self.db.execute("SELECT task_id, user_number FROM bench_tasks ORDER BY n").fetchall()

    def append(self, event_type: str, metadata: str = "'{}'::jsonb", each: int = 1) -> None:
        """Appends so many events to every task, in one transaction. `metadata` and `event_type` are SQL in which `s`
        counts the events of a task from 1.
        """
        self.db.execute(
            f"""
            SELECT count(*) FROM (
                SELECT append_event(task_id, 1, {event_type}, {metadata})
                FROM generate_series(1, {each}) AS s CROSS JOIN bench_tasks ORDER BY s) AS appended
            """
        )

    def number(self, query: str) -> float:
        """The one number that a query answers."""
        row = self.db.execute(query).fetchone()
        return float(row[0]) if row is not None and row[0] is not None else float("nan")

    def clear(self) -> None:
        """Forgets all tasks and what waits to be published of them."""
        # What the timeline and the commands hold has no key to its task, so that nothing cascades there.
        self.db.execute("TRUNCATE tasks, task_events, task_commands, outbox, consumer_positions, stream_heads CASCADE")

    def postgres_cpu(self) -> float:
        """Seconds of CPU that the database's processes have used so far, those that ended included."""
        row = self.db.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return cpu_of_children(parent_of(int(row[0])))
