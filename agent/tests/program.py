"""The harness as the compute adapter starts it: a process of its own with an environment of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from conftest import World
from fake_gateway import GIT, HARNESS, MODEL

SOURCE = Path(__file__).parent.parent / "src"


@asynccontextmanager
async def harness(world: World, **extra: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program as the compute adapter starts it."""
    home, workspace = world.root / "home", world.root / "workspace"
    home.mkdir()
    workspace.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TMPDIR": str(world.root),
        "HOME": str(home),
        "PYTHONPATH": str(SOURCE),
        "BGAGENT_AGENT_GATEWAY_URL": world.gateway.url,
        "BGAGENT_SESSION": f"bgagent-{uuid.uuid4().hex}-1",
        "BGAGENT_TASK_ID": "01JTASK",
        "BGAGENT_ATTEMPT": "1",
        "BGAGENT_HARNESS_TOKEN": HARNESS,
        "BGAGENT_GIT_TOKEN": GIT,
        "BGAGENT_MODEL_TOKEN": MODEL,
        "BGAGENT_WORKSPACE": str(workspace),
        "TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        **extra,
    }
    log = (world.root / "harness.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bgagent_agent", env=environment, stdout=log, stderr=log
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        log.close()


async def ended(process: asyncio.subprocess.Process, world: World) -> int:
    try:
        async with asyncio.timeout(60):
            return await process.wait()
    except TimeoutError:
        raise AssertionError((world.root / "harness.log").read_text()) from None


def leftovers(world: World) -> list[str]:
    """Processes that still work in this world's directories."""
    return leftovers_below(world.root)


def leftovers_below(folder: Path) -> list[str]:
    """Processes that work below a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str(folder) in os.readlink(entry / "cwd"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found
