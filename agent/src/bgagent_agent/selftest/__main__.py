"""Runs all checks, says how each went, and ends with 1 when one failed."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from .checks import CHECKS, Place


async def run(environment: Mapping[str, str]) -> list[str]:
    """The failures, by the sentences of their checks; `environment` is given to the CLI beside its own."""
    # A machine that builds images is a busy one; without this the SDK gives the CLI a minute to start.
    os.environ["CLAUDE_CODE_STREAM_CLOSE_TIMEOUT"] = "300000"
    failures = []
    with tempfile.TemporaryDirectory(prefix="bgagent-selftest-") as folder:
        for check in CHECKS:
            said = (check.__doc__ or check.__name__).strip()
            try:
                await check(Place(Path(folder) / check.__name__, environment))
            except Exception as error:
                failures.append(said)
                print(f"FAILED  {said}\n        {type(error).__name__}: {error}", flush=True)
            else:
                print(f"ok      {said}", flush=True)
    return failures


def main() -> int:
    """0 when the agent may be trusted to run here."""
    print(f"claude-agent-sdk {version('claude-agent-sdk')}")
    return 1 if asyncio.run(run({})) else 0


if __name__ == "__main__":
    sys.exit(main())
