"""Needs a container engine, and says so where there is none; builds the agent's image from this checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "bgagent-agent-under-test"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def docker(*arguments: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
    """One call of the engine's client; the caller looks at how it ended."""
    environment = os.environ | {"DOCKER_HOST": engine_url()}
    return subprocess.run(
        ["docker", *arguments], env=environment, capture_output=True, text=True, timeout=timeout
    )


def engine_url() -> str:
    """Where the engine is."""
    url = os.environ.get("BGAGENT_TEST_ENGINE_URL", "")
    if not url:
        pytest.fail(
            "BGAGENT_TEST_ENGINE_URL is not set: start an engine and export its URL, as in unix:///path"
        )
    return url


@pytest.fixture(scope="session")
def image() -> str:
    """The agent's image with this checkout's harness; its layers are cached by the engine."""
    secret = ["--secret", f"id=ca,src={AUTHORITIES}"] if AUTHORITIES.exists() else []
    built = docker("build", "--tag", IMAGE, *secret, "--file", str(ROOT / "agent" / "Dockerfile"), str(ROOT))
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
    return IMAGE
