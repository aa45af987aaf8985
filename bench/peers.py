"""Runs the peer beside us: its own environment of pinned packages, its tables in the part's database."""

from __future__ import annotations

import hashlib
import os
import subprocess
import venv
from pathlib import Path

from bench.processes import Failed, Process
from bench.world import ROOT, USERS, World, hashed, token

HOME = ROOT / ".build" / "bench-peer"


def install() -> None:
    """Makes the peer's environment where it is not there yet or was asked for differently."""
    requirements = ROOT / "bench" / "peer" / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = HOME / ".requirements"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    venv.create(HOME, with_pip=True, clear=True)
    command = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += [
        "--no-input",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "-r",
        str(requirements),
    ]
    if subprocess.run(command, check=False).returncode != 0:
        raise Failed("the peer's packages could not be installed")
    stamp.write_text(wanted)


def prepare(world: World) -> None:
    """The peer's tables and users."""
    text = (ROOT / "bench" / "peer" / "app.py").read_text()
    world.db.execute(text.split('SCHEMA = """', 1)[1].split('"""', 1)[0].encode())
    with world.db.cursor() as cursor:
        rows = [(f"bench{n}", hashed(token(n))) for n in range(1, USERS + 1)]
        cursor.executemany("INSERT INTO peer_users (name, token_hash) VALUES (%s, %s)", rows)


def clear(world: World) -> None:
    """Forgets the peer's tasks."""
    world.db.execute("TRUNCATE peer_tasks, peer_events, peer_outbox")


def start(world: World, port: int) -> Process:
    """Starts the peer and waits until it serves."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
        "PEER_POSTGRES_URL": world.postgres_url,
        "PEER_AMQP_URL": world.amqp_url,
        "PYTHONPATH": str(ROOT),
    }
    command = [str(HOME / "bin" / "python"), "-m", "uvicorn", "bench.peer.app:app", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    command += ["--log-level", "warning", "--workers", str(world.settings.peer_workers)]
    process = Process("peer", command, environment, Path(world.files / "peer.log"), (port, "/ready"))
    process.wait_ready()
    return process
