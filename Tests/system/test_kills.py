"""Each part of the stack killed once at a random instant of a task: it only delays."""

from __future__ import annotations

import pytest

from Tests.system.kills import VICTIMS, survive
from Tests.system.world import Stack


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_part_that_is_killed_only_delays_a_task(stack: Stack, victim: str) -> None:
    survive(stack, victim, turn=0)
