"""Waiting for a condition, with a deadline; the one place of these tests that pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE = 0.2


def until(what: str, look: Callable[[], T | None], seconds: float) -> T:
    """The first value but None and False. Fails after `seconds`, with what was missing."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(PAUSE)
