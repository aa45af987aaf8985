"""Waiting for a condition, with a deadline; the one place of the system tests that pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE = 0.05


class Late(AssertionError):
    """What was waited for did not come in time."""


def until(what: str, look: Callable[[], T | None], seconds: float) -> T:
    """The first value but None and False. Raises Late after `seconds`, with what was missing."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise Late(f"not within {seconds:g} s: {what}")
        time.sleep(PAUSE)


def instant(at: float, over: Callable[[], bool]) -> None:
    """Returns at a time of time.monotonic(), or as soon as `over` holds."""
    while time.monotonic() < at and not over():
        time.sleep(min(PAUSE, max(0.0, at - time.monotonic())))
