"""`agent/run.sh` in a container on a real engine, and what the agent's image holds."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.tests.local_world import GITHUB_TOKEN, MODEL_KEY, LocalWorld, local_world
from Tests.container.conftest import docker, engine_url

CONTAINER = "bgagent-run"
CONFINED = (
    "--init", "--read-only", "--tmpfs", "/tmp:exec", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--network", "none",
)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, image: str) -> Iterator[LocalWorld]:
    """Simulators on the host's loopback, which a container on the host's network can reach."""
    with local_world(tmp_path) as world:
        world.environment = {
            "BGAGENT_ENGINE": "docker",
            "DOCKER_HOST": engine_url(),
            "BGAGENT_AGENT_IMAGE": image,
            "BGAGENT_RUN_NETWORK": "host",
        }
        yield world
        left = docker("ps", "-aq", "--filter", f"name=^{CONTAINER}$").stdout
        docker("rm", "-f", "-v", CONTAINER)
        assert left == ""


def test_a_local_run_in_a_container_is_confined_and_ends_in_a_pushed_branch(world: LocalWorld) -> None:
    looks = (
        "env > SEEN; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' >> SEEN; id -u >> SEEN; "
        "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status >> SEEN; touch /made 2>> SEEN; pwd >> SEEN; "
        "stat -c %a $HOME >> SEEN; node --version >> SEEN; true"
    )
    step = {
        "text": "I look.",
        "tools": [{"name": "Bash", "input": {"command": looks, "description": "Look"}}],
    }
    steps = [step, {"text": "I looked around."}]
    script = {"name": "look", "repository": "acme/pricing", "by_name": True, "steps": steps}
    world.order(world.model, "/__seed", {"scripts": [script]})
    with world.start("acme/pricing", "Script: look", TEST_COMMAND="true") as running:
        running.says("repo_cloned")
        limits = json.loads(docker("inspect", CONTAINER).stdout)[0]["HostConfig"]
        assert running.ends() == 0, running.output
    assert (limits["NanoCpus"], limits["Memory"], limits["MemorySwap"]) == (2_000_000_000, 8 << 30, 8 << 30)
    assert limits["ReadonlyRootfs"]
    assert limits["CapDrop"] == ["ALL"]
    [branch] = world.branches("acme/pricing")
    seen = world.git("acme/pricing", "show", f"{branch}:SEEN")
    assert GITHUB_TOKEN not in seen
    assert MODEL_KEY not in seen
    assert re.search(r"^10001$", seen, re.M)
    assert re.search(r"^CapEff:\s0+$", seen, re.M)
    assert re.search(r"^NoNewPrivs:\s1$", seen, re.M)
    assert "Read-only file system" in seen
    assert re.search(r"^/workspace/pricing$", seen, re.M)
    assert re.search(r"^700$", seen, re.M)
    assert re.search(r"^v(2[0-9]|[3-9][0-9])\.", seen, re.M)
    assert f"/compare/main...{branch}?expand=1" in running.output


def test_unpushed_work_is_copied_out_of_the_container(world: LocalWorld) -> None:
    world.fault(world.github, action="status", match={"path_regex": "git-receive-pack$"}, status=403, times=0)
    with world.start("acme/pricing", "Script: waits") as running:
        running.says("timeout 590")
        second = world.run("acme/pricing", "fix it")
        running.process.send_signal(signal.SIGINT)
        assert running.ends() == 7, running.output
    assert second[0] == 2
    assert f"There is a container {CONTAINER} already" in second[1]
    found = re.search(r"^It is in (\S+): push it from there", running.output, re.M)
    assert found, running.output
    assert (Path(found[1]) / "NOTES").read_text() == "note\n"


def test_an_image_that_is_not_there_is_named(world: LocalWorld) -> None:
    code, output = world.run("acme/pricing", "fix it", BGAGENT_AGENT_IMAGE="bgagent-no-such-image")
    assert code == 2
    assert "There is no image bgagent-no-such-image" in output


def test_the_image_passes_its_self_test_confined_and_without_a_network(image: str) -> None:
    done = docker("run", "--rm", *CONFINED, image, "selftest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nok ") == 7


def test_the_harness_in_the_image_asks_for_its_settings(image: str) -> None:
    done = docker("run", "--rm", *CONFINED, image)
    assert done.returncode == 2
    assert "BGAGENT_HARNESS_TOKEN is not set" in done.stderr


def test_the_image_can_build_and_test(image: str) -> None:
    programs = "cc c++ make pkg-config git curl jq rg unzip zip ps python3 pip pytest node npm npx"
    done = docker("run", "--rm", *CONFINED, image, "sh", "-c", f"for p in {programs}; do command -v $p; done")
    assert len(done.stdout.split()) == len(programs.split()), done.stdout
    importing = docker("run", "--rm", *CONFINED, image, "python3", "-c", "import bgagent_agent")
    assert "No module named 'bgagent_agent'" in importing.stderr
