"""A GitHub and a model on loopback, and `agent/run.sh` against them as a person would type it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
GITHUB_TOKEN, MODEL_KEY = "local-github-token-4711", "local-model-key-4711"
_PATIENCE_S = 600.0


class Running:
    """A run under way; its output is read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output = ""
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.output += line
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def says(self, text: str) -> None:
        """Waits until the text was printed."""
        with self._changed:
            self._changed.wait_for(lambda: text in self.output or self._ended, timeout=_PATIENCE_S)
            assert text in self.output, self.output

    def ends(self) -> int:
        """The exit code."""
        code = self.process.wait(timeout=_PATIENCE_S)
        self._reader.join(timeout=_PATIENCE_S)
        return code


@dataclass
class LocalWorld:
    """Simulators with their data, and a directory in which runs make theirs."""

    root: Path
    github: str
    model: str
    environment: dict[str, str] = field(default_factory=dict)

    def order(self, url: str, path: str, body: Any = None) -> Any:
        """One order to a simulator."""
        request = urllib.request.Request(url + path, None if body is None else json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or b"null")

    def seed(self, repo: str, **changes: Any) -> None:
        """Makes a sample repository with its issues; `changes` are further fields of the order."""
        samples = ROOT / "rehearsal" / "repositories"
        issues = json.loads((samples / "issues.json").read_text())[repo]
        order = {"repo": repo, "bundle_or_dir": str(samples / repo.split("/")[1]), "issues": issues}
        self.order(self.github, "/__seed", order | changes)

    def fault(self, url: str, **fault: Any) -> None:
        """Makes a simulator fail."""
        self.order(url, "/__faults", fault)

    def heal(self) -> None:
        """Withdraws all faults of GitHub."""
        request = urllib.request.Request(f"{self.github}/__faults", method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()

    @contextmanager
    def start(self, *arguments: str, **environment: str) -> Iterator[Running]:
        """`agent/run.sh` with these arguments; what is empty in `environment` is not set at all."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.root / "tmp"),
            "BGAGENT_VENV": str(Path(sys.executable).parents[1]),
            "BGAGENT_ENGINE": "none",
            "GITHUB_TOKEN": GITHUB_TOKEN,
            "ANTHROPIC_API_KEY": MODEL_KEY,
            "GITHUB_API_URL": self.github,
            "GITHUB_SERVER_URL": f"{self.github}/git",
            "ANTHROPIC_BASE_URL": self.model,
            **self.environment,
            **environment,
        }
        process = subprocess.Popen(
            [str(ROOT / "agent" / "run.sh"), *arguments],
            env={name: value for name, value in variables.items() if value},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield Running(process)
        finally:
            if process.poll() is None:
                # Twice is how a person makes it give up.
                for _ in range(2):
                    process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=30)
            if process.poll() is None:
                process.kill()
                process.wait()

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Runs to the end: the exit code and everything that was printed."""
        with self.start(*arguments, **environment) as running:
            return running.ends(), running.output

    def branches(self, repo: str) -> list[str]:
        """The branches at GitHub, except the first one."""
        names = self.git(repo, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()
        return [name for name in names if name != "main"]

    def git(self, repo: str, *args: str) -> str:
        """Git in the repository at GitHub."""
        bare = self.root / "github" / "repos" / f"{repo}.git"
        command = ["git", "-c", "safe.directory=*", *args]
        return subprocess.run(command, cwd=bare, capture_output=True, text=True, check=True).stdout

    def asked(self) -> int:
        """How many requests the model has had."""
        log = self.root / "model" / "model.jsonl"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def folders(self) -> list[Path]:
        """What runs have left below their temporary directory."""
        return list((self.root / "tmp").iterdir())


@contextmanager
def simulator(name: str, data: Path, token: str) -> Iterator[str]:
    """One simulator until the block ends; gives its address."""
    command = [sys.executable, "-m", "rehearsal", name, "--data", str(data), "--token", token]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@contextmanager
def local_world(root: Path) -> Iterator[LocalWorld]:
    """GitHub with both sample repositories, and the model."""
    (root / "tmp").mkdir()
    with (
        simulator("github", root / "github", GITHUB_TOKEN) as github,
        simulator("model", root / "model", MODEL_KEY) as model,
    ):
        world = LocalWorld(root, github, model)
        for repo in ("acme/pricing", "acme/wordcount"):
            world.seed(repo)
        yield world
