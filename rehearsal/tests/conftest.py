"""Simulators for the tests, each on its own port with its own directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.github import GitHub
from rehearsal.model import Model
from rehearsal.seed import seed_into
from rehearsal.server import running
from rehearsal.slack import Slack
from rehearsal.smtp import Mail
from rehearsal.smtp.server import MailServer, mail_running
from rehearsal.tests.support import Client


@pytest.fixture
def github(tmp_path: Path) -> Iterator[Client]:
    """GitHub with both samples."""
    simulator = GitHub(tmp_path / "github", "gh-token")
    for repo in ("acme/pricing", "acme/wordcount"):
        seed_into(simulator, repo)
    with running(simulator) as server:
        yield Client(server.url, Authorization="Bearer gh-token")


@pytest.fixture
def slack(tmp_path: Path) -> Iterator[Client]:
    """Slack with its default channel."""
    with running(Slack(tmp_path / "slack", "xoxb-token")) as server:
        yield Client(server.url, Authorization="Bearer xoxb-token")


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Client]:
    """The model with the built-in scripts."""
    with running(Model(tmp_path / "model", "model-key")) as server:
        yield Client(server.url, x_api_key="model-key", anthropic_version="2023-06-01")


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[tuple[MailServer, Client]]:
    """A mail server that wants AUTH, and the address for orders to it."""
    simulator = Mail(tmp_path / "smtp", "user:secret")
    with mail_running(simulator, max_size=100_000) as server, running(simulator) as control:
        yield server, Client(control.url)
