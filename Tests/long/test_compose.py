"""Installations with several replicas: killed part by part under load, upgraded, restored from a backup."""

from __future__ import annotations

import json
import os
import random
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from Tests.compose import document
from Tests.compose.installation import Installation
from Tests.system.waiting import until

BLOCKS = document.blocks()
SEED = os.environ.get("BGAGENT_TEST_SEED") or secrets.token_hex(4)
BROKERS = ("rabbitmq:3.10", "rabbitmq:4")
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
KILLED = (
    "gateway",
    "policy",
    "orchestrator",
    "relay",
    "fanout",
    "compute-adapter",
    "engine-proxy",
    "agent-gateway",
    "reconciler",
    "dispatch-slack",
    "dispatch-github",
    "dispatch-email",
)
ENDS_WITHIN = 420.0


@pytest.fixture(scope="module", params=BROKERS)
def installation(request: pytest.FixtureRequest) -> Iterator[Installation]:
    """A rehearsal with the replicas of the operations page, on one version of the broker."""
    made = Installation(
        f"long{BROKERS.index(request.param)}",
        replicas=2,
        BGAGENT_RABBITMQ_IMAGE=request.param,
        BGAGENT_CAPACITY="4",
        BGAGENT_USER_SLOTS="4",
    )
    try:
        made.run([Path("scripts") / "engine", "images", request.param])
        made.prebuilt()
        made.block(BLOCKS["first-run"])
        made.compose("--profile", "*", "build", "--quiet", seconds=1200)
        made.block(BLOCKS["up"])
        made.block(BLOCKS["scale"])
        yield made
    except BaseException:
        made.failed = True
        raise
    finally:
        if made.failed or request.session.testsfailed:
            made.keep_logs()
        made.close()
        assert made.left() == []


def submit(installation: Installation, count: int) -> list[str]:
    """Starts so many tasks at once."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: installation.submit(), range(count)))


def end_well(installation: Installation, tasks: list[str]) -> None:
    """Waits for their ends: a pull request each, nothing lost, nothing doubled."""
    for task in tasks:
        until(f"task {task} ends", partial(over, installation, task), ENDS_WITHIN)
        shown = installation.status(task)
        assert (shown["status"], shown["outcome"]) == ("COMPLETED", "pull_request"), shown
    installation.checked()


def over(installation: Installation, task: str) -> bool:
    """Whether a task has ended; a gateway that is away for a moment says nothing."""
    done = installation.bgagent("show", task, "--output", "json", check=False)
    return done.returncode == 0 and json.loads(done.stdout)["status"] in FINAL


def healthy(installation: Installation, service: str) -> bool:
    """Whether all of a service's containers are."""
    states = [one["State"] for one in installation.containers(service)]
    return all(state.get("Health", {}).get("Status") == "healthy" for state in states)


def rules_are_read(installation: Installation) -> bool:
    """Whether a question about rules is answered, which only the policy service can do."""
    done = installation.bgagent("policies", "list", "acme/pricing", "--output", "json", check=False)
    return done.returncode == 0 and bool(json.loads(done.stdout)["hard"])


def test_every_replica_of_the_operations_page_runs(installation: Installation) -> None:
    wanted = {"gateway": 2, "orchestrator": 2, "fanout": 2, "dispatch-slack": 3}
    assert {name: len(installation.containers(name)) for name in wanted} == wanted
    assert all(healthy(installation, name) for name in wanted)


@pytest.mark.parametrize("service", KILLED)
def test_killed_containers_only_delay_tasks(installation: Installation, service: str) -> None:
    chance = random.Random(f"{SEED}/{service}")
    print(f"BGAGENT_TEST_SEED={SEED}")
    tasks = submit(installation, 2)
    until("an agent is at work", lambda: installation.sandboxes() or over(installation, tasks[0]), 120)
    victims = installation.containers(service)
    chance.shuffle(victims)
    for victim in victims:
        installation.kill(victim["Id"])
    until(f"{service} is back", lambda: healthy(installation, service), 60)
    end_well(installation, tasks)
    # No task of these asks the policy service, so it is asked here: the gateways have found it again.
    until("rules are read", lambda: rules_are_read(installation), 60)


@pytest.mark.parametrize("server", ["rabbitmq", "postgres"])
def test_a_restarted_server_only_delays_tasks(installation: Installation, server: str) -> None:
    tasks = submit(installation, 2)
    until("an agent is at work", lambda: installation.sandboxes() or over(installation, tasks[0]), 120)
    installation.compose("restart", server)
    until(f"{server} is back", lambda: healthy(installation, server), 120)
    end_well(installation, tasks)


def test_an_upgrade_behind_a_drain_meets_no_agent_and_loses_no_task(installation: Installation) -> None:
    before = submit(installation, 2)
    until("an agent is at work", lambda: installation.sandboxes() or over(installation, before[0]), 120)
    installation.block(BLOCKS["drain"])
    try:
        shown = installation.ask("admin", "state")
        assert shown["tasks_at_work"] == 0
        assert [(one["scope"], one["reason"]) for one in shown["pauses"]] == [("*", "upgrade")]
        # The drain has waited for what was at work; what had no place yet waits like what comes now.
        meanwhile = submit(installation, 1)
        installation.block(BLOCKS["upgrade"])
        assert all(healthy(installation, name) for name in KILLED)
        assert installation.status(meanwhile[0])["status"] in ("SUBMITTED", "QUEUED")
        assert installation.ask("admin", "state")["tasks_at_work"] == 0
        until("no agent is left", lambda: not installation.sandboxes(), 30)
    finally:
        installation.block(BLOCKS["resume"])
    assert installation.ask("admin", "state")["pauses"] == []
    end_well(installation, before + meanwhile)


def test_agents_outlive_a_stop_and_an_upgrade(installation: Installation) -> None:
    tasks = submit(installation, 1)
    until("an agent is at work", lambda: installation.sandboxes() or over(installation, tasks[0]), 120)
    installation.block(BLOCKS["upgrade"])
    installation.block(BLOCKS["stop"])
    end_well(installation, tasks)


def test_a_backup_made_under_load_is_restored_and_gone_on_from(installation: Installation) -> None:
    backup = str(installation.folder / "bgagent.dump")
    tasks = submit(installation, 2)
    until("an agent is at work", lambda: installation.sandboxes() or over(installation, tasks[0]), 120)
    installation.block(BLOCKS["backup"], BACKUP=backup)
    for task in tasks:
        until(f"task {task} ends", partial(over, installation, task), ENDS_WITHIN)
    later = installation.submit()
    until("the lost task ends", lambda: over(installation, later), ENDS_WITHIN)
    installation.block(BLOCKS["restore"], BACKUP=backup)
    for task in tasks:
        until(f"task {task} ends again", partial(over, installation, task), ENDS_WITHIN)
        shown = installation.status(task)
        assert (shown["status"], shown["outcome"]) == ("COMPLETED", "pull_request"), shown
    assert installation.bgagent("show", later, check=False).returncode != 0
    look = installation.block(BLOCKS["look"])
    for task in tasks:
        assert look.count(f"bgagent/{task}/") >= 1
