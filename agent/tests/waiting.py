"""Waiting for what no callback tells: files that another process makes."""

from __future__ import annotations

import asyncio
from pathlib import Path


async def appears(path: Path, seconds: float = 30.0) -> None:
    """Returns once the file exists; fails after the deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not _exists(path):
        assert loop.time() < deadline, f"{path} never appeared"
        await asyncio.sleep(0.02)


def _exists(path: Path) -> bool:
    return path.exists()
