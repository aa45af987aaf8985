"""All that one task needs, as processes of this benchmark: services, the process backend, and simulators of GitHub and
the model.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rehearsal import client
from rehearsal.seed import order

from bench.processes import Failed, Process, free_port
from bench.timeline import Gateway
from bench.world import REPO, ROOT, World, token

SERVICES = ("gateway", "relay", "orchestrator", "fanout", "reconciler", "agent-gateway", "compute-adapter")
SECRET = "bench"
SAMPLE = "acme/pricing"


class Rehearsed:
    """Where its parts answer."""

    def __init__(self, world: World, github: int, model: int) -> None:
        self.world = world
        self.gateway = Gateway(f"http://127.0.0.1:{world.gateway_port}", token(1))
        self.github, self.model = f"http://127.0.0.1:{github}", f"http://127.0.0.1:{model}"

    def sql(self, query: str) -> str:
        """The one value that a query answers."""
        row = self.world.db.execute(query.encode()).fetchone()
        return str(row[0]) if row is not None else ""

    def journal(self) -> list[dict[str, Any]]:
        """Every exchange of the model's simulator."""
        lines: list[dict[str, Any]] = order_of(self.model, "/__log")
        return lines


def agent_files() -> list[Path]:
    """What an agent is made of: the harness, its packages, and the CLI among them."""
    return [ROOT / "agent" / "src", Path(sys.prefix)]


@contextmanager
def running(world: World) -> Iterator[Rehearsed]:
    """All of it, until the block ends."""
    made = Rehearsed(world, free_port(), free_port())
    agent = world.files / "agent"
    source = shlex.quote(f"{ROOT / 'agent' / 'src'}:{ROOT / 'services' / 'policy' / 'src'}")
    agent.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={source} PYTHONUNBUFFERED=1\n"
        f"exec {shlex.quote(sys.executable)} -m bgagent_agent\n"
    )
    agent.chmod(0o700)
    settings = {
        "BGAGENT_AGENT_COMMAND": str(agent),
        "BGAGENT_GITHUB_API_URL": made.github,
        "BGAGENT_GITHUB_URL": f"{made.github}/git",
        "BGAGENT_GITHUB_TOKEN": SECRET,
        "BGAGENT_MODEL_URL": made.model,
        "BGAGENT_MODEL_API_KEY": SECRET,
    }
    with ExitStack() as stack:
        stack.callback(_end_agents, f"http://127.0.0.1:{world.agent_gateway_port}")
        for name, url in (("github", made.github), ("model", made.model)):
            stack.enter_context(_simulator(world, name, int(url.rpartition(":")[2])))
        order_of(made.github, "/__seed", order(SAMPLE, REPO))
        services = [stack.enter_context(world.service(name, **settings)) for name in SERVICES]
        for service in services:
            service.wait_ready()
        yield made


def order_of(simulator: str, path: str, body: Any = None) -> Any:
    """What a simulator answers to an order."""
    try:
        return client.call(simulator, path, body)
    except client.Unreachable as error:
        raise Failed(str(error)) from error


def _simulator(world: World, name: str, port: int) -> Process:
    command = [sys.executable, "-m", "rehearsal", name, "--port", str(port), "--token", SECRET]
    command += ["--data", str(world.files / "rehearsal")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = Process(name, command, env, world.files / f"{name}.log", (port, "/__state"))
    process.wait_ready()
    return process


def _end_agents(agent_gateway: str) -> None:
    """Agents outlive their adapter by design; those that know no other gateway than ours go with it."""
    wanted = f"BGAGENT_AGENT_GATEWAY_URL={agent_gateway}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = (entry / "environ").read_bytes().split(b"\0")
            if wanted in variables and any(one.startswith(b"BGAGENT_SESSION=bgagent-") for one in variables):
                os.kill(int(entry.name), signal.SIGKILL)
