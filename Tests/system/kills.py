"""Killing one part of the stack at a random instant of a task's life, and what must be true afterwards."""

from __future__ import annotations

import os
import random
import secrets
import time

from Tests.system.jobs import Job, script
from Tests.system.judge import clean
from Tests.system.waiting import instant
from Tests.system.world import PEOPLE, SERVICES, Stack

VICTIMS = (*SERVICES, "postgres", "rabbitmq")
SEED = os.environ.get("BGAGENT_TEST_SEED") or secrets.token_hex(4)
REPO = "acme/kills"
# A little less than a task takes: every kill hits it while it lives.
LIFE = 5.0


def onboard(stack: Stack) -> None:
    """Makes the repository that the tasks work on, once."""
    if REPO not in stack.onboarded:
        stack.onboard(REPO)


def survive(stack: Stack, victim: str, turn: int, tasks: int = 1) -> None:
    """Some tasks, the victim killed as often while they run: all end well, nothing is lost or doubled."""
    onboard(stack)
    stack.all_ready()
    chance = random.Random(f"{SEED}/{victim}/{turn}")
    jobs = [Job(stack, REPO, script("pricing"), user=PEOPLE[number % len(PEOPLE)]) for number in range(tasks)]
    begun = time.monotonic()
    moments = sorted(chance.uniform(0, LIFE + 2 * (tasks - 1)) for _ in range(tasks))
    print(f"BGAGENT_TEST_SEED={SEED}: {victim}, turn {turn}: {', '.join(f'{at:.2f} s' for at in moments)}")
    try:
        for at in moments:
            instant(begun + at, lambda: all(job.over for job in jobs))
            stack.kill(victim)
        for job in jobs:
            end = job.end()
            assert (end.code, *end.how) == (0, "COMPLETED", "pull_request"), (end.task, end.complaint)
        clean(stack)
    finally:
        for job in jobs:
            job.close()
