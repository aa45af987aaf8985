"""A clone through the agent gateway's git beside the same clone from `git http-backend` under lighttpd."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from bench import repository, sandbox
from bench.processes import Failed, free_port
from bench.report import Figure, at_least
from bench.statistics import median
from bench.webservers import folder_of_nobody, hand_over, lighttpd
from bench.world import REPO, World

MEGABYTES, QUICK_MEGABYTES = 200, 50
PATIENCE = 300.0


def measure(world: World) -> list[Figure]:
    """The web server is the forge, too: what the gateway serves, it has fetched from there before the first clone."""
    settings = world.settings
    size = QUICK_MEGABYTES if settings.quick else MEGABYTES
    port = free_port()
    session = sandbox.running(world)
    ours: list[float] = []
    theirs: list[float] = []
    with folder_of_nobody(world, "forge") as folder:
        root = folder / "repositories"
        files = repository.make(root / f"{REPO}.git", size * 1_000_000)
        hand_over(root)
        forge = f"http://127.0.0.1:{port}/git"
        with (
            lighttpd(world, folder, port, root, _backend()),
            world.ready("agent-gateway", BGAGENT_GITHUB_URL=forge),
        ):
            began = time.monotonic()
            _git(world, "ls-remote", sandbox.clone_url(world, session))
            first = time.monotonic() - began
            for _ in range(settings.rounds):
                theirs.append(_clone(world, f"{forge}/{REPO}.git", files))
                ours.append(_clone(world, sandbox.clone_url(world, session), files))
    part = f"git clone of {size} MB"
    shares = [other / one * 100 for one, other in zip(ours, theirs, strict=True)]
    note = f"{files} files"
    return [
        Figure(part, "until the gateway has fetched it from the forge", first, "s"),
        Figure(part, "git http-backend under lighttpd", median(theirs), "s", note=note, samples=theirs),
        Figure(part, "through the agent gateway", median(ours), "s", samples=ours),
        Figure(part, "its rate", size / median(ours), "MB/s", samples=[size / one for one in ours]),
        Figure(part, "share of the peer's rate", median(shares), "%", at_least(80), samples=shares),
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
        raise Failed(f"git {words[0]}: {done.stderr[-500:]}")


def _clone(world: World, url: str, files: int) -> float:
    """Seconds of one clone, its checkout included, as an agent makes it."""
    target = world.files / "clone"
    began = time.monotonic()
    _git(world, "clone", "--quiet", url, str(target))
    took = time.monotonic() - began
    found = sum(1 for one in target.rglob("file*") if one.is_file())
    shutil.rmtree(target)
    if found != files:
        raise Failed(f"a clone has {found} of {files} files")
    return took
