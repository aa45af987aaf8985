"""The images as people without Swift get them: compiled inside Docker, small, over one base layer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from Tests.compose.installation import ROOT, VERSION, Installation

MOST_BYTES = 60_000_000
SWIFT = "swift:6.3-bookworm"


@pytest.fixture(scope="module")
def compiled() -> Iterator[Installation]:
    """An installation that compiles inside Docker, built and never started."""
    made = Installation("images", BGAGENT_BINARIES="build", BGAGENT_VERSION=f"{VERSION}-built")
    try:
        made.run([Path("scripts") / "engine", "images", SWIFT], 900)
        made.run([Path("scripts") / "first-run", "--rehearsal"])
        made.compose("--profile", "*", "build", "--quiet", seconds=3600)
        yield made
    finally:
        made.run([ROOT / "scripts" / "uninstall", "--yes", "--images"])
        made.close()


def layers(installation: Installation, image: str) -> list[str]:
    """The layers of an image, lowest first."""
    shown = json.loads(installation.docker("image", "inspect", image))
    found: list[str] = shown[0]["RootFS"]["Layers"]
    return found


def size(installation: Installation, image: str) -> int:
    """All of its layers, in bytes."""
    return int(json.loads(installation.docker("image", "inspect", image))[0]["Size"])


def test_services_compiled_in_docker_are_small_over_one_base(compiled: Installation) -> None:
    base = compiled.run(["docker", "build", "--quiet", "--target", "runtime", "."]).strip()
    below, all_of_it = layers(compiled, base), size(compiled, base)
    config = json.loads(compiled.compose("--profile", "*", "config", "--format", "json"))
    built = {
        name: service["image"]
        for name, service in config["services"].items()
        if service.get("build", {}).get("target") in ("service", "git-service", "cli")
    }
    assert len(built) >= 13
    for name, image in built.items():
        assert layers(compiled, image)[: len(below)] == below, name
        own = size(compiled, image) - all_of_it
        print(f"{name}: {own / 1e6:.1f} MB over a base of {all_of_it / 1e6:.1f} MB")
        assert own <= MOST_BYTES, name


def test_what_was_compiled_in_docker_starts(compiled: Installation) -> None:
    for image in (f"bgagent-gateway:{VERSION}-built", f"bgagent-agent-gateway:{VERSION}-built"):
        done = compiled.attempt(["docker", "run", "--rm", "--network", "none", "--read-only", image])
        assert done.returncode == 64, done.stderr
        assert "BGAGENT_POSTGRES_URL is not set" in done.stderr
