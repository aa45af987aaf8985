"""Each part of the stack killed twenty times at random instants, several tasks under way at a time."""

from __future__ import annotations

import os

import pytest

from Tests.system.kills import VICTIMS, survive
from Tests.system.world import Stack

KILLS = int(os.environ.get("BGAGENT_TEST_KILLS", "20"))
AT_ONCE = 4


@pytest.mark.parametrize("turn", range(1, -(-KILLS // AT_ONCE) + 1))
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_part_that_is_killed_often_only_delays_tasks(stack: Stack, victim: str, turn: int) -> None:
    survive(stack, victim, turn, tasks=AT_ONCE)
