"""One gateway for all that is thrown at it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis.configuration import set_hypothesis_home_dir
from schemathesis.schemas import BaseSchema

from Tests.fuzz.cast import Cast
from Tests.fuzz.world import World

# The generator keeps what it has read of its own sources; not in this checkout.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"bgagent-hypothesis-{os.getuid()}")

SEED = int(os.environ.get("BGAGENT_TEST_SEED", "20261127"))
# Beside the edges of every field, which are always tried.
EXAMPLES = int(os.environ.get("BGAGENT_FUZZ_EXAMPLES", "12"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"BGAGENT_TEST_SEED={SEED} BGAGENT_FUZZ_EXAMPLES={EXAMPLES}")


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The gateway, gone afterwards; it has had nothing to complain of."""
    with World() as made:
        yield made
        complaints = [line for line in made.log.read_text().splitlines() if '"level":"error"' in line]
        assert complaints == []


@pytest.fixture(scope="session")
def cast(world: World) -> Cast:
    """Who and what is there."""
    return Cast(world)


@pytest.fixture(scope="session")
def session() -> Iterator[requests.Session]:
    """One connection that is kept."""
    with requests.Session() as made:
        made.trust_env = False
        yield made


def described(document: dict[str, Any], url: str, modes: str, examples: int, edges: bool) -> BaseSchema:
    """The API for the generator; with `edges`, those of every field are tried too."""
    no_answers = {"extra-data-sources": {"responses": False}}
    config = schemathesis.Config.from_dict(
        {
            "seed": SEED,
            "base-url": url,
            "request-timeout": 30,
            "suppress-health-check": ["all"],
            "generation": {
                "mode": modes,
                "max-examples": examples,
                "database": "none",
                "with-security-parameters": False,
            },
            # With what earlier answers named, a request would not follow from the seed alone.
            "phases": {
                "fuzzing": {**no_answers, "error-feedback": {"enabled": False}},
                "coverage": {**no_answers, "enabled": edges},
                "examples": no_answers,
            },
        }
    )
    return schemathesis.openapi.from_dict(document, config=config)


@pytest.fixture(scope="session")
def document(world: World) -> dict[str, Any]:
    """What the gateway says of itself."""
    return world.description()


@pytest.fixture(scope="session")
def gateway(world: World, document: dict[str, Any]) -> BaseSchema:
    """For the longest test."""
    return described(document, world.url, "all", EXAMPLES, edges=True)


@pytest.fixture(scope="session")
def gateway_in_short(world: World, document: dict[str, Any]) -> BaseSchema:
    """Without the edges."""
    return described(document, world.url, "all", EXAMPLES, edges=False)


@pytest.fixture(scope="session")
def gateway_at_a_glance(world: World, document: dict[str, Any]) -> BaseSchema:
    """A few good requests."""
    return described(document, world.url, "positive", 6, edges=False)


@pytest.fixture(autouse=True)
def named(request: pytest.FixtureRequest) -> None:
    """Schemathesis 4.32 reads and writes a node's name where pytest 9.2 no longer keeps it."""
    request.node._nodeid = request.node.nodeid
