"""An installation of its own on the engine of this machine."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from Tests.system.waiting import until

ROOT = Path(__file__).resolve().parents[2]
RESULTS = os.environ.get("BGAGENT_TEST_RESULTS")
# Images are this checkout's own, so that two checkouts on one engine never take each other's.
VERSION = "test-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
KEPT = ("BGAGENT_VENV", "BGAGENT_KEEP")
WORDS = "fix the failing test"

# Times of the product made short, so that a lost thing is found within seconds; every rule stays as it is.
SHORT_TIMES = {
    "BGAGENT_LEASE": "30s",
    "BGAGENT_LEASE_CHECK": "1s",
    "BGAGENT_COMPUTE_PASS": "1s",
    "BGAGENT_INBOX_POLL": "200ms",
    "BGAGENT_AGENT_ENVIRONMENT": "BGAGENT_HEARTBEAT_S=2",
    "BGAGENT_STOP_GRACE": "10s",
    "STRANDED_TIMEOUT_SECONDS": "60s",
    "BGAGENT_STRANDED_CHECK": "2s",
    "BGAGENT_NODE_SILENCE_SECONDS": "15",
    "BGAGENT_DISPATCH_SETTLE": "2s",
    "BGAGENT_DISPATCH_LEASE": "3s",
    "BGAGENT_MODEL_RESERVATION_LIFE": "5s",
}


class Failed(AssertionError):
    """A command ended with an error; the message is all that it said."""


def engine() -> dict[str, str]:
    """The engine's variables; its absence is a failure that says what to do."""
    done = subprocess.run([ROOT / "scripts" / "engine", "env"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"no Docker Engine answers: run scripts/engine start ({done.stderr.strip()})")
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        found[name] = value
    return found


def free_ports(count: int) -> int:
    """The first of so many free ports in a row, below those that outgoing connections take."""
    while True:
        first = 10_240 + secrets.randbelow(20_000)
        held: list[socket.socket] = []
        try:
            for port in range(first, first + count):
                held.append(socket.socket())
                held[-1].bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for one in held:
                one.close()
        return first


class Installation:
    """One installation in a directory of its own; `close` leaves nothing of it, whatever happened."""

    times: ClassVar[dict[str, str]] = SHORT_TIMES

    def __init__(self, name: str, replicas: int = 1, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bgagent-compose-"))
        self.project = f"bg{name}{os.getpid()}"
        self.env_file = self.folder / ".env"
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("BGAGENT_", "COMPOSE_")) or key in KEPT
        }
        self.environment = inherited | engine() | {"COMPOSE_ENV_FILES": str(self.env_file), "NO_COLOR": "1"}
        # Said here too: once .env is gone, nothing else tells scripts/uninstall which one is meant.
        self.environment["COMPOSE_PROJECT_NAME"] = self.project
        self.failed = False
        self.port = free_ports(replicas)
        ports = str(self.port) if replicas == 1 else f"{self.port}-{self.port + replicas - 1}"
        wanted = {
            "COMPOSE_PROJECT_NAME": self.project,
            "BGAGENT_API_PORT": ports,
            "BGAGENT_VERSION": VERSION,
            "BGAGENT_AGENT_IMAGE": f"bgagent-agent:{VERSION}",
        }
        self.write(wanted | self.times | settings)
        if AUTHORITIES.exists():
            # Whatever this machine downloads by, its images download by.
            (self.folder / "secrets").mkdir(mode=0o700)
            kept = self.folder / "secrets" / "ca.crt"
            kept.write_bytes(AUTHORITIES.read_bytes())
            kept.chmod(0o600)

    # --- files

    def write(self, settings: dict[str, str]) -> None:
        """Puts settings into .env, as a person would before first-run."""
        with self.env_file.open("a") as file:
            for name, value in settings.items():
                file.write(f"{name}={value}\n")

    def prebuilt(self) -> None:
        """Takes the binaries that were compiled here, instead of compiling inside Docker."""
        lines = self.run([ROOT / "scripts" / "images", "debug"]).splitlines()
        self.write(dict(line.split("=", 1) for line in lines))

    # --- commands

    def attempt(
        self, command: Sequence[str | Path], seconds: float = 600, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command at the top of the checkout, with this installation's environment."""
        return subprocess.run(
            [str(word) for word in command],
            cwd=ROOT,
            env=self.environment | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )

    def run(self, command: Sequence[str | Path], seconds: float = 600, **more: str) -> str:
        """The same; an error raises with what was said."""
        done = self.attempt(command, seconds, **more)
        if done.returncode != 0:
            words = " ".join(str(word) for word in command)
            raise Failed(f"{words}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return done.stdout

    def block(self, text: str, **more: str) -> str:
        """Runs a shell block of a document."""
        return self.run(["bash", "-euo", "pipefail", "-c", text], 900, **more)

    def compose(self, *words: str, seconds: float = 600) -> str:
        """docker compose."""
        return self.run(["docker", "compose", "--progress", "plain", *words], seconds)

    def docker(self, *words: str) -> str:
        """docker."""
        return self.run(["docker", *words], 120)

    def bgagent(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The command line tool, as people without one call it."""
        done = self.attempt([ROOT / "scripts" / "bgagent", *words])
        if check and done.returncode != 0:
            raise Failed(f"bgagent {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def ask(self, *words: str) -> Any:
        """bgagent's answer as JSON."""
        return json.loads(self.bgagent(*words, "--output", "json").stdout)

    def submit(self, repo: str = "acme/pricing", words: str = WORDS) -> str:
        """Starts a task; returns its id."""
        return str(self.ask("submit", "--repo", repo, words)["task_id"])

    def status(self, task: str) -> dict[str, Any]:
        """A task as the gateway tells it."""
        shown: dict[str, Any] = self.ask("show", task)
        return shown

    # --- what runs

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """What the engine knows of this installation's containers, or of one service's."""
        filters = ["--filter", f"label=com.docker.compose.project={self.project}"]
        if service:
            filters += ["--filter", f"label=com.docker.compose.service={service}"]
        return self._inspect(self.docker("ps", "--all", "--quiet", *filters).split())

    def sandboxes(self) -> list[dict[str, Any]]:
        """The containers of agents."""
        label = f"label=bgagent.installation={self.project}"
        return self._inspect(self.docker("ps", "--all", "--quiet", "--filter", label).split())

    def _inspect(self, names: list[str]) -> list[dict[str, Any]]:
        if not names:
            return []
        # One that ends in between is simply not among them.
        done = self.attempt(["docker", "inspect", *names])
        found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
        return found

    def kill(self, container: str) -> None:
        """Ends all that runs in a container but its init, as a crash would: the engine starts it again."""
        self.attempt(["docker", "exec", container, "bash", "-c", "kill -9 -1"], 60)

    def left(self) -> list[str]:
        """Everything of this installation that the engine still holds."""
        found: list[str] = []
        for kind, form in (("container", "{{.Names}}"), ("network", "{{.Name}}"), ("volume", "{{.Name}}")):
            listing = ["ps", "--all"] if kind == "container" else [kind, "ls"]
            for label in ("com.docker.compose.project", "bgagent.installation"):
                names = self.docker(*listing, "--format", form, "--filter", f"label={label}={self.project}")
                found += [f"{kind} {name}" for name in names.split()]
        return sorted(set(found))

    def checked(self, seconds: float = 90) -> None:
        """Waits until the checker finds nothing lost and nothing doubled."""

        def clean() -> bool:
            done = self.attempt(["docker", "compose", "run", "--rm", "-T", "--no-deps", "rehearsal-check"])
            self.said = done.stdout + done.stderr
            return done.returncode == 0

        self.said = ""
        try:
            until("nothing was lost or doubled", clean, seconds)
        except AssertionError as late:
            raise Failed(self.said) from late

    # --- the end

    def keep_logs(self) -> None:
        """Puts the logs where a failed run's results are."""
        target = Path(RESULTS or tempfile.gettempdir()) / f"{self.project}.log"
        done = self.attempt(["docker", "compose", "logs", "--no-color", "--timestamps"])
        target.write_text(done.stdout + done.stderr)
        for one in self.sandboxes():
            said = self.attempt(["docker", "logs", one["Id"]])
            with target.open("a") as file:
                file.write(f"\n--- {one['Name']}\n{said.stdout}{said.stderr}")
        print(f"the logs of {self.project} are in {target}")

    def close(self) -> None:
        """Removes all of it."""
        self.attempt([ROOT / "scripts" / "uninstall", "--yes"])
        shutil.rmtree(self.folder, ignore_errors=True)
