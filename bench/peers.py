"""Runs the peers beside us: their own environment of pinned packages, their tables in the part's database."""

from __future__ import annotations

import hashlib
import os
import subprocess
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.processes import Failed, Process
from bench.world import ROOT, USERS, World, hashed, token, until

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


def _environment(world: World) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
        "PEER_POSTGRES_URL": world.postgres_url,
        "PEER_AMQP_URL": world.amqp_url,
        "PYTHONPATH": str(ROOT),
    }


def start(world: World, port: int) -> Process:
    """Starts the peer and waits until it serves."""
    environment = _environment(world)
    command = [str(HOME / "bin" / "python"), "-m", "uvicorn", "bench.peer.app:app", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    command += ["--log-level", "warning", "--workers", str(world.settings.peer_workers)]
    process = Process("peer", command, environment, Path(world.files / "peer.log"), (port, "/ready"))
    process.wait_ready()
    return process


def queue_sends(world: World, count: int, port: int) -> None:
    """Queues sends for Celery workers, to whoever listens on the port."""
    command = [str(HOME / "bin" / "python"), "-m", "bench.peer.sends", str(count), f"http://127.0.0.1:{port}"]
    done = subprocess.run(command, env=_environment(world), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"the sends could not be queued: {done.stderr[-500:]}")


@contextmanager
def senders(world: World, count: int) -> Iterator[None]:
    """So many Celery workers, each with as many threads as a dispatcher has lanes; waits until all take work."""
    with ExitStack() as stack:
        marks = []
        for number in range(count):
            mark = world.files / f"celery-{number}-ready"
            mark.unlink(missing_ok=True)
            marks.append(mark)
            command = [str(HOME / "bin" / "celery"), "-A", "bench.peer.sends", "worker", "--pool", "threads"]
            command += ["--concurrency", "16", "--without-gossip", "--without-mingle", "--without-heartbeat"]
            command += ["--loglevel", "WARNING", "-n", f"peer{number}@localhost"]
            environment = {**_environment(world), "PEER_READY": str(mark)}
            stack.enter_context(Process("celery", command, environment, world.files / "celery.log"))
        until("the Celery workers to start", 30, lambda: all(mark.exists() for mark in marks))
        yield
