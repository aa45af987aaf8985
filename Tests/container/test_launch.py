"""What the launcher does about a container's end, with a stand-in that ends as it is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from Tests.container.conftest import ROOT, docker, engine_url

STAND_IN = "bgagent-stand-in"
DOCKERFILE = """\
FROM debian:bookworm-slim
COPY entry /entry
VOLUME /workspace
ENTRYPOINT ["/bin/sh", "/entry"]
"""
# The setting that is passed on says how to end.
ENTRY = """\
read -r secrets
echo "secrets: ${#secrets} characters, in the environment: $(env | grep -c 4711)"
mkdir /workspace/pricing
echo note >/workspace/pricing/NOTES
exit "$MAX_TURNS"
"""


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image whose container leaves a note and an exit code."""
    folder = tmp_path_factory.mktemp("stand-in")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "entry").write_text(ENTRY)
    built = docker("build", "--quiet", "--tag", STAND_IN, str(folder))
    assert built.returncode == 0, built.stderr
    return STAND_IN


def launch(tmp_path: Path, image: str, **more: str) -> tuple[int, str]:
    """Runs `agent/run.sh` to its end: exit code and output."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "BGAGENT_VENV": str(Path(sys.executable).parents[1]),
        "DOCKER_HOST": engine_url(),
        "BGAGENT_ENGINE": "docker",
        "BGAGENT_AGENT_IMAGE": image,
        "GITHUB_TOKEN": "token-4711",
        "ANTHROPIC_API_KEY": "key-4711",
        **more,
    }
    command = [str(ROOT / "agent" / "run.sh"), "acme/pricing", "fix it"]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
    )
    left = docker("ps", "-aq", "--filter", "name=^bgagent-run$").stdout
    assert left == "", done.stdout
    return done.returncode, done.stdout


@pytest.mark.parametrize(("code", "kept"), [(1, False), (7, True), (137, True)])
def test_work_in_a_container_is_copied_out_whatever_ended_it(
    tmp_path: Path, stand_in: str, code: int, kept: bool
) -> None:
    ended, output = launch(tmp_path, stand_in, MAX_TURNS=str(code))
    assert ended == code
    assert "in the environment: 0" in output
    found = re.search(r"^It is in (\S+): push it from there", output, re.M)
    assert bool(found) == kept, output
    if found:
        assert (Path(found[1]) / "NOTES").read_text() == "note\n"
    assert ("ended unexpectedly, with exit code 137" in output) == (code == 137)


def test_a_container_that_cannot_start_leaves_nothing(tmp_path: Path, stand_in: str) -> None:
    code, output = launch(tmp_path, stand_in, BGAGENT_RUN_NETWORK="bgagent-no-such-network")
    assert code == 2
    assert "bgagent-no-such-network" in output
