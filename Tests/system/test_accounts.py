"""People with passwords, by the real command line: in, to work, and out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from Tests.system.world import Stack

PASSWORD = "three green herons"
OTHER = "four grey herons"


class Person:
    """Somebody with a settings folder of their own and no token but the one that a login gives."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack, self.name = stack, name
        self.home: Path = stack.link.resolve() / f"cli-{name}"
        self.home.mkdir(mode=0o700)

    def run(self, *words: str, typed: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs bgagent with lines on its standard input."""
        program, variables = self.stack.bgagent()
        del variables["BGAGENT_TOKEN"], variables["BGAGENT_API_URL"]
        variables |= {"HOME": str(self.home), "BGAGENT_CONFIG_DIR": str(self.home)}
        done = subprocess.run(
            [*program, *words],
            env=variables,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"bgagent {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def ask(self, *words: str) -> Any:
        """Runs bgagent and reads the JSON that it prints."""
        return json.loads(self.run(*words, "--output", "json").stdout)

    def login(self, *lines: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Logs in with these lines as a pipe's."""
        url = self.stack.exports["BGAGENT_API_URL"]
        return self.run("login", self.name, "--api-url", url, typed="\n".join(lines) + "\n", check=check)


def test_a_person_logs_in_works_and_logs_out(stack: Stack) -> None:
    once = stack.ask("user", "add", "lise", "--email", "lise@localhost")["one_time_password"]
    lise = Person(stack, "lise")
    refused = lise.login(once, check=False)
    assert refused.returncode == 1
    assert "new password" in refused.stderr
    lise.login(once, PASSWORD)
    assert lise.ask("whoami")["name"] == "lise"
    stack.onboard("acme/accounts-open")
    task = lise.ask("submit", "--repo", "acme/accounts-open", "look and touch nothing")
    assert lise.ask("status", task["task_id"])["task_id"] == task["task_id"]
    lise.run("cancel", task["task_id"], "--wait")
    lise.run("passwd", typed=f"{PASSWORD}\n{OTHER}\n")
    assert lise.ask("whoami")["name"] == "lise"
    assert lise.login(PASSWORD, check=False).returncode == 1
    lise.run("logout")
    left = lise.run("whoami", check=False)
    assert left.returncode == 1
    assert "bgagent login" in left.stderr
    lise.login(OTHER)
    stack.cli("user", "disable", "lise")
    ended = lise.run("whoami", check=False)
    assert ended.returncode == 1
    assert "UNAUTHORIZED" in ended.stderr


def test_a_restricted_repository_is_there_for_those_with_a_grant(stack: Stack) -> None:
    once = stack.ask("user", "add", "emmy")["one_time_password"]
    emmy = Person(stack, "emmy")
    emmy.login(once, PASSWORD)
    stack.onboard("acme/accounts-closed", "--access", "restricted")
    task = stack.ask("submit", "--repo", "acme/accounts-closed", "look and touch nothing")["task_id"]
    words = ("submit", "--repo", "acme/accounts-closed", "try")
    assert "REPO_NOT_ONBOARDED" in emmy.run(*words, check=False).stderr
    assert emmy.run("status", task, check=False).returncode == 1
    assert "acme/accounts-closed" not in emmy.run("repo", "list").stdout
    stack.cli("repo", "grant", "acme/accounts-closed", "emmy", "read")
    assert emmy.ask("status", task)["task_id"] == task
    assert [one["task_id"] for one in emmy.ask("list")] == [task]
    assert "FORBIDDEN" in emmy.run(*words, check=False).stderr
    assert "FORBIDDEN" in emmy.run("cancel", task, check=False).stderr
    stack.cli("repo", "grant", "acme/accounts-closed", "emmy", "steer")
    emmy.run("cancel", task, "--wait")
    stack.cli("repo", "revoke", "acme/accounts-closed", "emmy")
    assert emmy.run("status", task, check=False).returncode == 1
