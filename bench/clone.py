"""A clone through the agent gateway's git beside the same clone from `git http-backend` under lighttpd."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import repository, sandbox
from bench.processes import Failed, Process, cpu_of, free_port
from bench.report import Figure, at_least
from bench.statistics import median
from bench.webservers import folder_of_nobody, hand_over, lighttpd
from bench.world import REPO, World

MEGABYTES = 200
PATIENCE = 300.0


@dataclass
class Way:
    """A place to clone from, and what was measured there."""

    url: str
    server: Process
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def clone(self, world: World, files: int) -> None:
        """One clone with its checkout, as an agent makes it."""
        target = world.files / "clone"
        # Of the server alone: what it starts has ended by the second look, and differs in nothing.
        before = cpu_of([self.server.pid])
        began = time.monotonic()
        _git(world, "clone", "--quiet", self.url, str(target))
        self.seconds.append(time.monotonic() - began)
        self.cpu.append(cpu_of([self.server.pid]) - before)
        found = sum(1 for one in target.rglob("file*") if one.is_file())
        shutil.rmtree(target)
        if found != files:
            raise Failed(f"a clone has {found} of {files} files")


def measure(world: World) -> list[Figure]:
    """The web server is the forge, too: what the gateway serves, it has fetched from there before the first clone."""
    port = free_port()
    session = sandbox.running(world)
    with folder_of_nobody(world, "forge") as folder:
        root = folder / "repositories"
        files = repository.make(root / f"{REPO}.git", MEGABYTES * 1_000_000)
        hand_over(root)
        forge = f"http://127.0.0.1:{port}/git"
        with (
            lighttpd(world, folder, port, root, _backend()) as server,
            world.ready("agent-gateway", BGAGENT_GITHUB_URL=forge) as gateway,
        ):
            ours = Way(sandbox.clone_url(world, session), gateway)
            theirs = Way(f"{forge}/{REPO}.git", server)
            began = time.monotonic()
            _git(world, "ls-remote", ours.url)
            first = time.monotonic() - began
            ways = [theirs, ours]
            for _ in range(world.settings.rounds):
                for way in ways:
                    way.clone(world, files)
                ways.reverse()
    part = f"git clone of {MEGABYTES} MB"
    shares = [other / one * 100 for one, other in zip(ours.seconds, theirs.seconds, strict=True)]
    rates = [MEGABYTES / one for one in ours.seconds]
    note = f"{files} files"
    return [
        Figure(part, "until the gateway has fetched it from the forge", first, "s"),
        Figure(part, "git http-backend under lighttpd", median(theirs.seconds), "s", note=note, samples=theirs.seconds),
        Figure(part, "through the agent gateway", median(ours.seconds), "s", samples=ours.seconds),
        Figure(part, "its rate", median(rates), "MB/s", samples=rates),
        Figure(part, "share of the peer's rate", median(shares), "%", at_least(80), samples=shares),
        Figure(part, "lighttpd's CPU, without git's", median(theirs.cpu), "s", samples=theirs.cpu),
        Figure(part, "the gateway's CPU, without git's", median(ours.cpu), "s", samples=ours.cpu),
    ]


def _backend() -> Path:
    """The program that serves git over HTTP, of the git that is on PATH."""
    found = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    return Path(found) / "git-http-backend"


def _git(world: World, *words: str) -> None:
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(world.files),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
    }
    done = subprocess.run(["git", *words], env=env, capture_output=True, text=True, check=False, timeout=PATIENCE)
    if done.returncode != 0:
        raise Failed(f"git {words[0]} ended with {done.returncode}: {done.stderr[-500:]}")
