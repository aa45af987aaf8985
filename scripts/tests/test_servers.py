"""The throw-away servers: they come back after a crash with ports and data, and go without a trace."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from support import Instance, eventually


@pytest.fixture(scope="module")
def servers() -> Iterator[Instance]:
    """Servers of this file alone, started once: the tests below run in order, and the last one stops them."""
    instance = Instance("servers")
    try:
        instance.run("servers", "start")
        yield instance
    finally:
        instance.close()


def psql(servers: Instance, statement: str) -> str:
    """What one statement answers."""
    exports = servers.exports("servers")
    binary = exports["PATH"].split(":")[0] + "/psql"
    command = [binary, "-XAtqc", statement, exports["BGAGENT_TEST_POSTGRES_URL"]]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_killed_servers_come_back_on_their_ports_with_their_data(servers: Instance) -> None:
    before = servers.exports("servers")
    psql(servers, "CREATE TABLE kept AS SELECT 7 AS seven")
    servers.run("servers", "kill", "postgres")
    servers.run("servers", "kill", "rabbitmq")
    assert "stopped" in servers.run("servers", "status")
    servers.run("servers", "start")
    assert servers.exports("servers") == before
    assert psql(servers, "SELECT seven FROM kept") == "7"


def test_stopped_servers_leave_nothing_running_and_nothing_on_disk(servers: Instance) -> None:
    directory = servers.directory()
    assert servers.processes() != []
    servers.run("servers", "stop")
    eventually(lambda: servers.processes() == [])
    servers.run("servers", "stop", "--wipe")
    assert not directory.exists()
    assert not servers.link.is_symlink()
