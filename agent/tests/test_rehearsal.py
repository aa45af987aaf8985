"""The demo's conversations against the real CLI: the model simulator checks that each tool has really run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import BRANCH, World, make_payload, make_remote
from fake_gateway import MODEL, FakeGateway
from program import ended, harness

ROOT = Path(__file__).parents[2]
REPOSITORIES = ROOT / "rehearsal" / "repositories"


@contextmanager
def rehearsed(tmp_path: Path, name: str, prompt: str) -> Iterator[World]:
    """A world with a sample repository and the simulator behind the gateway's model path."""
    folder = REPOSITORIES / name
    files = {
        str(file.relative_to(folder)): file.read_bytes().decode()
        for file in folder.rglob("*")
        if file.is_file()
    }
    repo = f"acme/{name}"
    bare = make_remote(tmp_path / "remote", files, repo)
    payload = make_payload(
        task={"repo": repo, "description": prompt},
        prompt={"user": f"Repository: {repo}\n\n{prompt}", "system": "", "prompt_version": "pv1"},
    )
    command = [
        sys.executable,
        "-m",
        "rehearsal",
        "model",
        "--data",
        str(tmp_path / "model"),
        "--token",
        MODEL,
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        gateway = FakeGateway(tmp_path / "remote", payload)
        gateway.model_url = simulator.stdout.readline().split()[-1]
        gateway.start()
        try:
            yield World(tmp_path, bare, gateway)
        finally:
            gateway.stop()
            simulator.terminate()


async def test_the_pricing_repository_is_green_at_the_first_verification(tmp_path: Path) -> None:
    with rehearsed(tmp_path, "pricing", "fix the failing test") as world:
        async with harness(world) as process:
            assert await ended(process, world) == 0
        assert world.result["outcome"] == "completed", world.result
        assert world.result["verification"]["attempts"] == 1
        assert world.remote("diff", "--name-only", "main", BRANCH) == "pricing/money.py"
        assert "expectation_failed" not in (tmp_path / "model" / "model.jsonl").read_text()


async def test_the_wordcount_repository_is_green_at_the_second(tmp_path: Path) -> None:
    issues = json.loads((REPOSITORIES / "issues.json").read_text())
    with rehearsed(tmp_path, "wordcount", json.dumps(issues, ensure_ascii=False)) as world:
        async with harness(world) as process:
            assert await ended(process, world) == 0
        assert world.result["outcome"] == "completed", world.result
        assert world.result["verification"]["attempts"] == 2
        assert world.remote("diff", "--name-only", "main", BRANCH).split() == [
            "count.c",
            "tests/cases/unterminated.in",
            "tests/cases/unterminated.out",
        ]
