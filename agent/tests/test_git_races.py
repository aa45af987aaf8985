"""Pushes that meet themselves, or nobody: what is no verdict is tried again."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from bgagent_agent.git import Git
from bgagent_agent.tools import PushRefused, Remote

BRANCH = "refs/heads/bgagent/task/work"
ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
NAMED = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def git(directory: Path, *words: str) -> str:
    """Git as a person runs it."""
    done = subprocess.run(
        ["git", *words], cwd=directory, env=ENV | NAMED, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def hook(remote: Path, script: str) -> None:
    """What the remote does before it updates a ref, once."""
    file = remote / "hooks" / "pre-receive"
    file.write_text(
        f"#!/bin/sh\nread -r old new ref\nrm -f hooks/pre-receive\nunset GIT_QUARANTINE_PATH\n{script}\n"
    )
    file.chmod(0o755)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A bare remote and a workspace with two commits, the first of which the remote has."""
    remote, work = tmp_path / "remote.git", tmp_path / "work"
    git(tmp_path, "init", "-q", "--bare", str(remote))
    (remote / "hooks").mkdir(exist_ok=True)
    git(tmp_path, "init", "-q", "-b", "main", str(work))
    git(work, "commit", "-q", "--allow-empty", "-m", "one")
    git(work, "push", "-q", str(remote), "main")
    git(work, "commit", "-q", "--allow-empty", "-m", "two")
    # The objects of the push that is still being received are there already.
    git(work, "push", "-q", str(remote), "main:refs/kept/two")
    return remote, work


async def pusher(remote: Path, work: Path) -> Git:
    harness = Git(work, work.parent / "private", Remote(str(remote), "agent", "token"), ENV)
    await harness.install()
    return harness


def deadline() -> float:
    return asyncio.get_running_loop().time() + 30


async def test_a_push_that_meets_its_own_earlier_one_succeeds(places: tuple[Path, Path]) -> None:
    remote, work = places
    head = git(work, "rev-parse", "HEAD")
    harness = await pusher(remote, work)
    hook(remote, 'git update-ref "$ref" "$new"')
    await harness.push(head, BRANCH, deadline())
    assert git(remote, "rev-parse", BRANCH) == head


async def test_a_push_that_meets_its_own_earlier_update_succeeds(places: tuple[Path, Path]) -> None:
    remote, work = places
    head = git(work, "rev-parse", "HEAD")
    harness = await pusher(remote, work)
    git(remote, "update-ref", BRANCH, git(work, "rev-parse", "HEAD~1"))
    hook(remote, 'git update-ref "$ref" "$new"')
    await harness.push(head, BRANCH, deadline())
    assert git(remote, "rev-parse", BRANCH) == head


async def test_a_push_that_meets_somebody_elses_is_refused(places: tuple[Path, Path]) -> None:
    remote, work = places
    head = git(work, "rev-parse", "HEAD")
    git(work, "checkout", "-q", "-b", "other", "HEAD~1")
    git(work, "commit", "-q", "--allow-empty", "-m", "other")
    other = git(work, "rev-parse", "HEAD")
    git(work, "push", "-q", str(remote), "other:refs/kept/other")
    harness = await pusher(remote, work)
    hook(remote, f'git update-ref "$ref" {other}')
    with pytest.raises(PushRefused):
        await harness.push(head, BRANCH, deadline())
    assert git(remote, "rev-parse", BRANCH) == other


async def test_a_push_that_nobody_could_look_at_is_made_again(places: tuple[Path, Path]) -> None:
    remote, work = places
    head = git(work, "rev-parse", "HEAD")
    harness = await pusher(remote, work)
    hook(remote, "echo 'bgagent: the platform cannot take the push now: no database' >&2; exit 1")
    await harness.push(head, BRANCH, deadline())
    assert git(remote, "rev-parse", BRANCH) == head


async def test_a_push_that_the_hook_refuses_is_refused_at_once(places: tuple[Path, Path]) -> None:
    remote, work = places
    harness = await pusher(remote, work)
    hook(remote, "echo 'bgagent: this branch is not yours' >&2; exit 1")
    with pytest.raises(PushRefused, match="this branch is not yours"):
        await harness.push(git(work, "rev-parse", "HEAD"), BRANCH, deadline())


async def test_a_name_that_cannot_be_is_refused_at_once(places: tuple[Path, Path]) -> None:
    remote, work = places
    harness = await pusher(remote, work)
    git(remote, "update-ref", "refs/heads/bgagent/task", "refs/heads/main")
    with pytest.raises(PushRefused):
        await harness.push(git(work, "rev-parse", "HEAD"), BRANCH, deadline())
