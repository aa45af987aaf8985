"""A whole stack of its own for the system tests: servers, services, simulators, users."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from rehearsal import client
from rehearsal.seed import order
from Tests.system.waiting import until

ROOT = Path(__file__).resolve().parents[2]
SERVICES = (
    "gateway",
    "policy",
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

# Times of the product made short, so that a lost thing is found within seconds; every rule stays as it is.
SETTINGS = {
    "BGAGENT_LEASE": "30s",
    "BGAGENT_LEASE_CHECK": "1s",
    "BGAGENT_COMPUTE_PASS": "1s",
    "BGAGENT_INBOX_POLL": "200ms",
    "BGAGENT_QUESTION_PATIENCE": "30s",
    "BGAGENT_AGENT_ENVIRONMENT": "BGAGENT_HEARTBEAT_S=2",
    "BGAGENT_STOP_GRACE": "10s",
    "BGAGENT_GRACE_SECONDS": "20",
    "BGAGENT_CANCEL_GRACE_SECONDS": "20",
    "STRANDED_TIMEOUT_SECONDS": "45s",
    "BGAGENT_STRANDED_CHECK": "2s",
    "BGAGENT_NODE_SILENCE_SECONDS": "15",
    "BGAGENT_DISPATCH_SETTLE": "2s",
    "BGAGENT_DISPATCH_LEASE": "3s",
    "BGAGENT_MODEL_RESERVATION_LIFE": "5s",
    "BGAGENT_REPORT_EVERY": "2s",
    "BGAGENT_CHECK_EVERY": "2s",
    "BGAGENT_USER_SLOTS": "2",
    "BGAGENT_CAPACITY": "4",
    "BGAGENT_LOGIN_RATE": "100",
}
USER_SLOTS, CAPACITY = int(SETTINGS["BGAGENT_USER_SLOTS"]), int(SETTINGS["BGAGENT_CAPACITY"])
PEOPLE = ("ada", "grace", "alan")
KEPT = ("BGAGENT_VENV", "BGAGENT_BIN_DIR", "BGAGENT_BUILD", "BGAGENT_KEEP")


class Stack:
    """One instance of scripts/stack with a rehearsal; `close` leaves nothing running."""

    def __init__(self, name: str, **settings: str) -> None:
        self.environment = {
            key: value for key, value in os.environ.items() if not key.startswith("BGAGENT_") or key in KEPT
        }
        self.environment.setdefault("BGAGENT_VENV", sys.prefix)
        self.environment |= SETTINGS | settings
        self.environment |= {"BGAGENT_INSTANCE": f"{name}-{os.getpid()}", "BGAGENT_QUIET": "1"}
        self.link = ROOT / f".run-{self.environment['BGAGENT_INSTANCE']}"
        self.tokens: dict[str, str] = {}
        self.failed = False
        self.known: set[str] = set()
        self.forgiven: list[str] = []
        self.onboarded: set[str] = set()

    # --- the stack itself

    def script(self, name: str, *arguments: str, check: bool = True) -> str:
        """Runs one of our scripts; a failure raises with what it complained of."""
        done = subprocess.run(
            [ROOT / "scripts" / name, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{name} {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def up(self, *services: str) -> None:
        """Starts all services, or those named; waits until they are ready."""
        self.environment["BGAGENT_SERVICES"] = " ".join(services)
        self.script("stack", "up", "--rehearsal")
        self.__dict__.pop("exports", None)

    def down(self) -> None:
        """Stops services, simulators, servers and agents; data stays."""
        self.script("stack", "down", "--quiet")

    def close(self) -> None:
        """Stops everything; the logs stay where something failed."""
        keep = self.failed or "BGAGENT_KEEP" in self.environment
        self.script("stack", "down", "--quiet", *([] if keep else ["--wipe"]), check=False)
        self.script("servers", "stop", *([] if keep else ["--wipe"]), check=False)
        if keep:
            print(f"\nthe logs of this stack are in {self.link.resolve()}/log", file=sys.stderr)

    @cached_property
    def exports(self) -> dict[str, str]:
        """Its addresses by the names that `stack env` gives them."""
        lines = self.script("stack", "env").splitlines()
        # As a shell reads them: an address with a query is quoted.
        words = (shlex.split(line.removeprefix("export "))[0] for line in lines if line)
        return dict(word.split("=", 1) for word in words)

    @property
    def urls(self) -> dict[str, str]:
        """The simulators by name."""
        return {
            name: self.exports[f"BGAGENT_REHEARSAL_{name}_URL"]
            for name in ("GITHUB", "SLACK", "SMTP", "MODEL")
        }

    @property
    def data(self) -> Path:
        """Where the simulators keep what they hold."""
        return Path(self.exports["BGAGENT_REHEARSAL_DATA"])

    def pid(self, service: str) -> int | None:
        """Its process, while there is one."""
        with contextlib.suppress(AssertionError):
            return int(self.script("stack", "pid", service))
        return None

    def ready(self, service: str) -> bool:
        """Whether a service answers that it is."""
        url = self.exports[f"BGAGENT_HEALTH_{service.upper().replace('-', '_')}"]
        try:
            client.call(url, "/ready", timeout=2)
        except client.Unreachable:
            return False
        return True

    def all_ready(self) -> None:
        """Waits until every service says that it is ready."""
        for service in SERVICES:
            until(f"{service} is ready", partial(self.ready, service), 60)

    def kill(self, victim: str) -> None:
        """kill -9, as a crash would. The supervisor starts a service again; a server is started here."""
        if victim in ("postgres", "rabbitmq"):
            self.script("servers", "kill", victim)
            self.script("servers", "start")
        else:
            self.script("stack", "kill", victim)

    # --- the database

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """What a query finds."""
        with psycopg.connect(self.exports["BGAGENT_POSTGRES_URL"], row_factory=dict_row) as connection:
            return connection.execute(query, values).fetchall()

    # --- the command line

    def bgagent(self, user: str = "") -> tuple[list[str], dict[str, str]]:
        """The program and the environment in which it is somebody's."""
        home = self.link.resolve() / "cli"
        home.mkdir(exist_ok=True, mode=0o700)
        variables = {
            "PATH": self.environment["PATH"],
            "HOME": str(home),
            "BGAGENT_CONFIG_DIR": str(home),
            "BGAGENT_API_URL": self.exports["BGAGENT_API_URL"],
            "BGAGENT_TOKEN": self.token(user),
            "NO_COLOR": "1",
        }
        return [str(Path(self.exports["BGAGENT_BIN_DIR"]) / "bgagent")], variables

    def cli(self, *words: str, user: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs bgagent to its end."""
        program, variables = self.bgagent(user)
        done = self.run(program + list(words), variables)
        if check and done.returncode != 0:
            raise AssertionError(f"bgagent {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    @staticmethod
    def run(command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end, whatever that is."""
        return subprocess.run(
            command, env=variables, capture_output=True, text=True, check=False, timeout=300
        )

    def ask(self, *words: str, user: str = "") -> Any:
        """Runs bgagent and reads the JSON that it prints."""
        return json.loads(self.cli(*words, "--output", "json", user=user).stdout)

    def token(self, user: str) -> str:
        """A person's API token; made when first asked for. Nobody by name is the first administrator."""
        if not user:
            return self.exports["BGAGENT_TOKEN"]
        if user not in self.tokens:
            made = self.ask("user", "add", user, "--email", f"{user}@localhost")
            self.tokens[user] = self.ask("token", "add", made["user_id"])["token"]
        return self.tokens[user]

    # --- the simulators

    def onboard(
        self, repo: str, *options: str, sample: str = "acme/pricing", **seed: Any
    ) -> subprocess.CompletedProcess[str]:
        """Makes a sample repository at GitHub under a name and lets tasks work on it."""
        client.call(self.urls["GITHUB"], "/__seed", order(sample, repo) | seed)
        done = self.cli("repo", "add", repo, *options)
        self.onboarded.add(repo)
        return done

    def session_logs(self, task_id: str) -> list[str]:
        """All lines that a task's sandboxes have written, as the node keeps them, attempt by attempt."""
        folders = sorted((self.link.resolve() / "data" / "sessions").glob(f"bgagent-{task_id}-*"))
        return [line for one in folders for line in (one / "log").read_text().splitlines() if line]

    def bare(self, repo: str) -> Path:
        """The bare repository behind a name."""
        return Path(client.state(self.urls["GITHUB"])["repos"][repo]["git_dir"])

    def fault(self, simulator: str, action: str, match: dict[str, str], **order: Any) -> int:
        """Orders a simulator to misbehave; returns the order's number."""
        placed = client.call(self.urls[simulator], "/__faults", {"action": action, "match": match, **order})
        return int(placed["id"])

    def hits(self, simulator: str, fault: int) -> int:
        """How often an order was carried out."""
        listed = client.call(self.urls[simulator], "/__faults")
        return next(int(one["hits"]) for one in listed if one["id"] == fault)

    def calm(self) -> None:
        """Withdraws all orders."""
        for url in self.urls.values():
            client.call(url, "/__faults", method="DELETE")

    def keep_logs(self, folder: Path) -> None:
        """Copies the logs, for a test that failed."""
        shutil.copytree(self.link.resolve() / "log", folder, dirs_exist_ok=True)
